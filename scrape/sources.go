package scrape

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
)

// Source is where a stored series comes from. It and [Target] are what package tsdb calls so; neither package imports
// the other, and who wires them converts.
type Source struct {
	Target *Target
	// Exposed tells the series of a target apart as the target exposes them, before its labels and metric
	// relabelling.
	Exposed uint64
	// First is the time of the first sample since this Manager was made. Since is since when series of that
	// name have been collected from the target: First, or before it for a series that is new itself.
	First, Since time.Time
}

// Target is what is scraped, at some moment. It does not change.
type Target struct {
	// ID tells targets apart by their URLs: those with the same URL have the same ID, whatever their labels. It is
	// another one in each process.
	ID uint64
	// Rank orders targets by when they were first scraped.
	Rank uint64
	// Interval is the time between scrapes.
	Interval time.Duration
	// LastScrape is the time of the last scrape that succeeded, FailingSince that of the first one after it
	// that failed. Ended is when the target was taken away. Each is zero where there was none.
	LastScrape, FailingSince, Ended time.Time
	// Changes are the last times, the latest one last, at which so many targets of the job came or went, or became
	// ready or ceased to be, that the load of the others is another since.
	Changes []time.Time
}

// maxChanges is how many changes of a job are remembered: they matter until all its targets have been scraped
// twice since.
const maxChanges = 8

// keepEnded is for how long sources of targets that were taken away are known at least.
const keepEnded = 2 * time.Minute

// sources knows where each stored series comes from.
type sources struct {
	seed  maphash.Seed
	ranks atomic.Uint64

	mu sync.RWMutex
	by map[uint64]*source // by hash of the labels
	// ended are the series of targets that were taken away, by when.
	ended []endedTarget
}

// source is what is known of a series. Several targets may write the same one.
type source struct {
	of           *origin
	exposed      uint64
	first, since int64 // ms
	next         *source
}

// origin is a target as its series know it, from when it is taken up until it is taken away.
type origin struct {
	now       atomic.Pointer[Target]
	goodSince atomic.Int64 // ms: since when scrapes have succeeded without a long gap, 0: never

	mu sync.Mutex // of those who change it
}

// change replaces what is known of the target now.
func (o *origin) change(how func(*Target)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	next := *o.now.Load()
	how(&next)
	o.now.Store(&next)
}

type endedTarget struct {
	of     *origin
	series []uint64
}

func newSources() *sources {
	return &sources{seed: maphash.MakeSeed(), by: map[uint64]*source{}}
}

func (s *sources) origin(j *job, url string, interval time.Duration) *origin {
	o := &origin{}
	o.now.Store(&Target{ID: maphash.String(s.seed, url), Rank: s.ranks.Add(1), Interval: interval, Changes: j.changes})
	return o
}

func (s *sources) hash(series labels.Labels) uint64 {
	var buf [1 << 10]byte
	return maphash.Bytes(s.seed, series.Bytes(buf[:0]))
}

// add notes a series of a target. It may have been that of the target before, which it takes over from.
func (s *sources) add(series labels.Labels, of, before *origin, exposed uint64, first, since int64) {
	id := s.hash(series)
	s.mu.Lock()
	defer s.mu.Unlock()
	for known := s.by[id]; known != nil; known = known.next {
		if known.of == of || known.of == before {
			known.of, known.exposed = of, exposed
			return
		}
	}
	s.by[id] = &source{of: of, exposed: exposed, first: first, since: since, next: s.by[id]}
}

// remove forgets a series of a target.
func (s *sources) remove(series labels.Labels, of *origin) {
	id := s.hash(series)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(id, of)
}

// drop forgets a series of a target. s.mu is held.
func (s *sources) drop(id uint64, of *origin) {
	first := s.by[id]
	if first == nil {
		return
	}
	for at := &first; *at != nil; at = &(*at).next {
		if (*at).of == of {
			*at = (*at).next
			break
		}
	}
	if first == nil {
		delete(s.by, id)
	} else {
		s.by[id] = first
	}
}

// end notes that a target was taken away. Its series are known for a while.
func (s *sources) end(of *origin, series []labels.Labels) {
	now := time.Now()
	of.change(func(t *Target) { t.Ended = now })
	ended := endedTarget{of: of, series: make([]uint64, len(series))}
	for i, one := range series {
		ended.series[i] = s.hash(one)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetEnded(now)
	s.ended = append(s.ended, ended)
}

// forgetEnded makes room. s.mu is held.
func (s *sources) forgetEnded(now time.Time) {
	kept := 0
	for _, e := range s.ended {
		if now.Sub(e.of.now.Load().Ended) < keepEnded {
			s.ended[kept] = e
			kept++
			continue
		}
		for _, id := range e.series {
			s.drop(id, e.of)
		}
	}
	clear(s.ended[kept:])
	s.ended = s.ended[:kept]
}

// change notes that enough targets have come or gone. Those who look at the job's loops are held off.
func (j *job) change(now time.Time) {
	j.changes = append(slices.Clone(j.changes[max(0, len(j.changes)-maxChanges+1):]), now)
	for _, l := range j.loops {
		l.origin.change(func(t *Target) { t.Changes = j.changes })
	}
}

// good notes a scrape that succeeded, once its samples are stored.
func (o *origin) good(at int64) {
	o.change(func(t *Target) { t.LastScrape, t.FailingSince = timestamp.Time(at), time.Time{} })
}

// bad notes a scrape that failed, before the stale markers are stored.
func (o *origin) bad(at int64) {
	o.change(func(t *Target) {
		if t.FailingSince.IsZero() {
			t.FailingSince = timestamp.Time(at)
		}
	})
}

// Source returns where a series comes from that is stored, or was until its target was taken away a moment
// ago; false where it is not known: nothing that is scraped holds it.
func (m *Manager) Source(series labels.Labels) (Source, bool) {
	id := m.sources.hash(series)
	m.sources.mu.RLock()
	defer m.sources.mu.RUnlock()
	known := m.sources.by[id]
	if known == nil {
		return Source{}, false
	}
	target := known.of.now.Load()
	for next := known.next; next != nil && !target.Ended.IsZero(); next = next.next {
		known, target = next, next.of.now.Load()
	}
	return Source{Target: target, Exposed: known.exposed, First: when(known.first), Since: when(known.since)}, true
}

// Observation is since when the scrapes of a target have succeeded, without more than two intervals between,
// and when the last has. Both are zero before the first.
type Observation struct{ Since, Last time.Time }

// Observed gives the observation of the targets that TargetsActive gives.
func (m *Manager) Observed() map[*promscrape.Target]Observation {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[*promscrape.Target]Observation{}
	for _, j := range m.jobs {
		for _, l := range j.loops {
			all[l.target] = Observation{Since: when(l.origin.goodSince.Load()), Last: l.origin.now.Load().LastScrape}
		}
	}
	return all
}

// when is zero for 0.
func when(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return timestamp.Time(ms)
}
