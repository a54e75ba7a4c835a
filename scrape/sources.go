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

// Source is where a stored series comes from.
type Source struct {
	// Target tells targets apart by their URLs: those with the same URL have the same Target, whatever their
	// labels. It is another one in each process.
	Target uint64
	// Exposed tells the series of a target apart as the target exposes them, before its labels and metric
	// relabelling.
	Exposed uint64
	// Rank orders targets by when they were first scraped.
	Rank uint64
	// Interval is the time between scrapes.
	Interval time.Duration
	// First is the time of the first sample since this Manager was made. Since is since when series of that
	// name have been collected from the target: First, or before it for a series that is new itself.
	First, Since time.Time
	// Changes are the last times, the latest one last, at which so many targets of the job came or went that the
	// load of the others is another since. They are not to be written to.
	Changes []time.Time
	// LastScrape is the time of the last scrape that succeeded, FailingSince that of the first one after it
	// that failed. Ended is when the target was taken away. Each is zero where there was none.
	LastScrape, FailingSince, Ended time.Time
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

// origin is a target as its series know it.
type origin struct {
	target, rank uint64
	interval     time.Duration
	job          *job
	// In milliseconds, 0: never. One goroutine writes them at a time. goodSince is since when scrapes have
	// succeeded without a long gap.
	goodSince, lastScrape, failingSince, ended atomic.Int64
}

type endedTarget struct {
	of     *origin
	series []uint64
}

func newSources() *sources {
	return &sources{seed: maphash.MakeSeed(), by: map[uint64]*source{}}
}

func (s *sources) origin(j *job, url string, interval time.Duration) *origin {
	return &origin{target: maphash.String(s.seed, url), rank: s.ranks.Add(1), interval: interval, job: j}
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
	of.ended.Store(now.UnixMilli())
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
		if now.Sub(timestamp.Time(e.of.ended.Load())) < keepEnded {
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

// change notes that enough targets have come or gone.
func (j *job) change(now time.Time) {
	last := j.lastChanges()
	next := append(slices.Clone(last[max(0, len(last)-maxChanges+1):]), now)
	j.changes.Store(&next)
}

func (j *job) lastChanges() []time.Time {
	if last := j.changes.Load(); last != nil {
		return *last
	}
	return nil
}

// good notes a scrape that succeeded, once its samples are stored.
func (o *origin) good(at int64) {
	o.lastScrape.Store(at)
	o.failingSince.Store(0)
}

// bad notes a scrape that failed, before the stale markers are stored.
func (o *origin) bad(at int64) { o.failingSince.CompareAndSwap(0, at) }

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
	for next := known.next; next != nil && known.of.ended.Load() != 0; next = next.next {
		known = next
	}
	of := known.of
	return Source{
		Target: of.target, Exposed: known.exposed, Rank: of.rank, Interval: of.interval,
		First: when(known.first), Since: when(known.since), Changes: of.job.lastChanges(),
		LastScrape: when(of.lastScrape.Load()), FailingSince: when(of.failingSince.Load()), Ended: when(of.ended.Load()),
	}, true
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
			all[l.target] = Observation{Since: when(l.origin.goodSince.Load()), Last: when(l.origin.lastScrape.Load())}
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
