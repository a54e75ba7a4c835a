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

// Source is where a stored series comes from. Package tsdb has a Source and a [Target] of
// its own: neither package imports the other, and adapter/embedded converts.
type Source struct {
	Target *Target
	// Exposed is a hash of the series as the target exposes it, before the target's labels and metric
	// relabelling.
	Exposed uint64
	// First is the time of the first sample since this Manager was made. Since is the time from which series of
	// that name have been collected from the target: First, or earlier if the series is new itself.
	First, Since time.Time
}

// Target is the state of a target at some moment. It does not change.
type Target struct {
	// ID is a hash of the URL: targets with the same URL have the same ID, whatever their labels. It differs from
	// process to process.
	ID uint64
	// Rank orders targets by when they were first scraped.
	Rank uint64
	// Job is the name of its job, and Namespace what Options.Namespace returns for it.
	Job, Namespace string
	// Interval is the time between scrapes.
	Interval time.Duration
	// Begun is when scraping of the target's job began: in this process, or in an earlier one from which the job goes on.
	// Samples from before that are those of an earlier process, if it was scraped then.
	Begun time.Time
	// LastScrape is the time of the last scrape that succeeded, FailingSince that of the first one after it
	// that failed. Ended is when the target was removed. Each is zero if that has not happened.
	LastScrape, FailingSince, Ended time.Time
	// Changes are the last times, in order, at which so many targets of the job came or went, or became ready or
	// unready, that the load of the other targets changed.
	Changes []time.Time
}

// maxChanges is how many changes of a job are remembered. A change matters until all targets have been scraped
// twice after it.
const maxChanges = 8

// keepEnded is how long the sources of removed targets are kept at least.
const keepEnded = 2 * time.Minute

// sources knows where each stored series comes from.
type sources struct {
	now   func() time.Time
	seed  maphash.Seed
	ranks atomic.Uint64

	mu sync.RWMutex
	by map[uint64]*source // by hash of the labels
	// ended are the series of removed targets, in order of time.
	ended []endedTarget
}

// source is what is known of a series. Several targets may write the same series: next is that of another one.
type source struct {
	of           *origin
	exposed      uint64
	first, since int64 // ms
	next         *source
}

// origin is the target that series come from, from when it is added until it is removed.
type origin struct {
	now       atomic.Pointer[Target]
	goodSince atomic.Int64 // ms: since when scrapes have succeeded without a long gap, 0: never

	mu sync.Mutex // held by update
}

// update replaces the target's state.
func (o *origin) update(change func(*Target)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	next := *o.now.Load()
	change(&next)
	o.now.Store(&next)
}

type endedTarget struct {
	of     *origin
	series []uint64
}

func newSources(now func() time.Time) *sources {
	return &sources{now: now, seed: maphash.MakeSeed(), by: map[uint64]*source{}}
}

// clear forgets all series.
func (s *sources) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.by, s.ended = map[uint64]*source{}, nil
}

// origin makes the origin of the series of a target of the job.
func (s *sources) origin(j *job, of *settings, t discovered) *origin {
	o := &origin{}
	o.now.Store(&Target{
		ID: maphash.String(s.seed, t.url), Rank: s.ranks.Add(1), Job: of.jobName, Namespace: of.namespace.namespace,
		Interval: t.settings.interval, Begun: j.begun, Changes: j.changes,
	})
	return o
}

func (s *sources) hash(series labels.Labels) uint64 {
	var buf [1 << 10]byte
	return maphash.Bytes(s.seed, series.Bytes(buf[:0]))
}

// add notes a series of a target. before is the target that it replaces, nil for none: the series may have been
// that one's.
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

// end notes that a target was removed. Its series are kept for a while.
func (s *sources) end(of *origin, series []labels.Labels) {
	now := s.now()
	of.update(func(t *Target) { t.Ended = now })
	ended := endedTarget{of: of, series: make([]uint64, len(series))}
	for i, one := range series {
		ended.series[i] = s.hash(one)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetEnded(now)
	s.ended = append(s.ended, ended)
}

// forgetEnded forgets the series of targets that were removed long ago. s.mu is held.
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

// noteChange notes that enough targets have come or gone. The caller holds what guards the job's loops.
func (j *job) noteChange(now time.Time) {
	j.changes = append(slices.Clone(j.changes[max(0, len(j.changes)-maxChanges+1):]), now)
	for _, l := range j.loops {
		l.origin.update(func(t *Target) { t.Changes = j.changes })
	}
}

// succeeded notes a scrape that succeeded, once its samples are stored.
func (o *origin) succeeded(at int64) {
	o.update(func(t *Target) { t.LastScrape, t.FailingSince = timestamp.Time(at), time.Time{} })
}

// failed notes a scrape that failed, before the stale markers are stored.
func (o *origin) failed(at int64) {
	o.update(func(t *Target) {
		if t.FailingSince.IsZero() {
			t.FailingSince = timestamp.Time(at)
		}
	})
}

// Source returns where a stored series comes from. It returns false if no target exposes the series, unless the
// target was removed within the last two minutes.
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
	return Source{Target: target, Exposed: known.exposed, First: timeOf(known.first), Since: timeOf(known.since)}, true
}

// Observation is what scrapes have given of a target.
type Observation struct {
	// Since is the time since which the scrapes have succeeded, without a gap of more than two intervals, and Last
	// the time of the last one. Both are zero before the first success.
	Since, Last time.Time
	// Target is the target's [Target.ID], and Stored how many samples the last scrape has stored.
	Target uint64
	Stored int
	// Resumed: the target was scraped by an earlier process, too; see Options.HistoryFile.
	Resumed bool
}

// Observed returns the observations of the targets that TargetsActive returns.
func (m *Manager) Observed() map[*promscrape.Target]Observation {
	all := map[*promscrape.Target]Observation{}
	m.eachLoop(func(l *loop) {
		now := l.origin.now.Load()
		o := Observation{Since: timeOf(l.origin.goodSince.Load()), Last: now.LastScrape, Target: now.ID, Resumed: l.resumed}
		if last := l.lastSamples.Load(); last != nil {
			o.Stored = last.Stored
		}
		all[l.target] = o
	})
	return all
}

// timeOf is the time of a timestamp, zero for 0.
func timeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return timestamp.Time(ms)
}
