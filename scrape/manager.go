package scrape

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// Manager runs the scrape loops of a set of jobs. Its methods may be called at
// any time and from any goroutine.
type Manager struct {
	opts    Options
	metrics *metrics
	bodies  *bodies
	gzips   *sync.Pool
	filters *filters
	sources *sources

	catalogVersion atomic.Uint64
	refused        [needs]atomic.Int64 // series in the last scrapes of all loops

	// applyMu is held while the set of loops changes, which may have to wait for
	// loops to end. Those who only look at the set hold mu instead, so that they
	// need not wait as well.
	applyMu sync.Mutex
	stopped bool
	demand  *demand
	mu      sync.Mutex
	jobs    map[string]*job // written with both held; so are job.loops
}

// NewManager makes a Manager without jobs. It fails if Options.Appendable is nil
// or the metrics cannot be registered. The caller stops it.
func NewManager(opts Options) (*Manager, error) {
	if opts.Appendable == nil {
		return nil, errors.New("scrape: Options.Appendable is nil")
	}
	m := &Manager{opts: opts.withDefaults(), gzips: &sync.Pool{}, filters: &filters{}, sources: newSources(), demand: newDemand(Demand{}, nil), jobs: map[string]*job{}}
	var err error
	if m.metrics, err = newMetrics(opts.Registerer, m); err != nil {
		return nil, fmt.Errorf("register scrape metrics: %w", err)
	}
	m.bodies = newBodies(m.opts.BodyMemory, m.metrics.bodies)
	return m, nil
}

// Apply makes the running loops match a full set of jobs. cfgs holds one entry
// per job, groups the target groups by job name. Apply may be called at any time
// with any set. It does not change what it is given, and neither may the caller
// afterwards.
//
// A job whose configuration and groups are the same pointers as before is left
// alone, and of a group that is the same pointer the targets are not made again. A
// target whose labels, URL and settings did not change keeps its loop. All loops
// that go have ended, and written their stale markers, before new ones start; a
// loop that takes over from one with the same public labels writes the markers
// itself, on its first scrape, for what is no longer there. Scrapes in flight are
// cut short, so that Apply waits for no target.
//
// The error joins all that is wrong with this set, whether it is new or not, each
// part naming its job. A job with bad settings has no loops; a target that cannot
// be made has none. The rest runs. After Stop it is ErrStopped.
func (m *Manager) Apply(cfgs []*config.ScrapeConfig, groups map[string][]*targetgroup.Group) error {
	m.applyMu.Lock()
	defer m.applyMu.Unlock()
	if m.stopped {
		return ErrStopped
	}
	next := make(map[string]*job, len(cfgs))
	seen := make(map[string]bool, len(cfgs))
	var ch change
	var errs []error
	for i, cfg := range cfgs {
		switch {
		case cfg == nil || cfg.JobName == "":
			errs = append(errs, fmt.Errorf("job %d has no name", i))
			continue
		case seen[cfg.JobName]:
			errs = append(errs, fmt.Errorf("job %q: given twice, the first counts", cfg.JobName))
			continue
		}
		seen[cfg.JobName] = true
		j, err := m.applyJob(cfg, groups[cfg.JobName], &ch)
		if err != nil {
			errs = append(errs, fmt.Errorf("job %q: %w", cfg.JobName, err))
		}
		if j != nil {
			next[cfg.JobName] = j
		}
	}
	for name, j := range m.jobs {
		if next[name] == nil {
			ch.dropJob(j)
		}
	}
	m.carryOut(&ch, next)
	return errors.Join(errs...)
}

// change is what an Apply does to the set of loops.
type change struct {
	old     []*loop // to stop
	fresh   []*loop // to start
	turned  []*loop // that go on, and have become ready or ceased to be
	clients []*http.Client
}

func (ch *change) dropJob(j *job) {
	for _, l := range j.loops {
		ch.old = append(ch.old, l)
	}
	ch.clients = append(ch.clients, j.fetch.client)
}

// applyJob brings one job to its new settings and targets, except that loops are
// only noted in ch. Without a job the settings are bad. With one, the error is
// about some of its targets.
func (m *Manager) applyJob(cfg *config.ScrapeConfig, groups []*targetgroup.Group, ch *change) (*job, error) {
	j := m.jobs[cfg.JobName]
	if j != nil && j.unchanged(cfg, groups) {
		return j, j.err
	}
	p, err := m.planJob(j, cfg, groups)
	if err != nil {
		return nil, err
	}
	if j == nil {
		j = &job{loops: map[uint64]*loop{}}
	} else if j.settings != p.settings {
		ch.clients = append(ch.clients, j.fetch.client)
	}
	old := j.obsolete(p)
	ch.old = append(ch.old, old...)
	ch.fresh = append(ch.fresh, m.missing(j, p, old)...)
	ch.turned = append(ch.turned, p.turned...)
	m.mu.Lock() // Catalog reads it.
	j.adopt(p)
	m.mu.Unlock()
	return j, j.err
}

// carryOut stops the old loops, waits for them, and starts the fresh ones.
func (m *Manager) carryOut(ch *change, next map[string]*job) {
	for _, l := range ch.fresh {
		if l.heirOf != nil {
			l.heirOf.bequeath = true
			l.heirOf.countsOn = l.settings == l.heirOf.settings
		}
	}
	others := ch.affected(next)
	stopAll(ch.old)
	for _, l := range ch.fresh {
		l.inherit()
	}
	for _, c := range ch.clients {
		c.CloseIdleConnections()
	}

	m.mu.Lock()
	for _, l := range ch.old {
		delete(l.job.loops, l.key)
	}
	for _, l := range ch.fresh {
		l.job.loops[l.key] = l
	}
	m.jobs = next
	m.mu.Unlock()

	for i, l := range ch.fresh {
		l.origin.change(func(t *Target) { t.Changes = l.job.changes })
		l.start(spread(i))
	}
	for i, l := range others {
		l.hurry(spread(i))
	}
}

// significant is for how many targets of a job one that comes or goes makes no difference.
const significant = 20

// affected gives the loops that go on of jobs of which enough targets come or go, or begin or cease to get
// requests, that the load of the others is another now: they are to be scraped soon, so that their rates say so.
func (ch *change) affected(next map[string]*job) (others []*loop) {
	changes := map[*job]int{}
	touched := make(map[*loop]bool, len(ch.old)+len(ch.fresh))
	for _, l := range ch.old {
		touched[l] = true
		if !l.bequeath {
			changes[l.job]++
		}
	}
	for _, l := range ch.fresh {
		touched[l] = true
		if l.heirOf == nil {
			changes[l.job]++
		}
	}
	for _, l := range ch.turned {
		changes[l.job]++
	}
	for _, j := range next {
		if n := changes[j]; n == 0 || n*significant < len(j.loops) {
			continue
		}
		j.change(time.Now())
		if !j.names.read() {
			continue
		}
		for _, l := range j.loops {
			if !touched[l] {
				others = append(others, l)
			}
		}
	}
	return others
}

// stopAll ends the loops and waits until they have written what they have to.
func stopAll(loops []*loop) {
	var idle []*loop
	for _, l := range loops {
		if l.stop() {
			idle = append(idle, l)
		}
	}
	for _, l := range idle {
		l.conclude()
	}
	for _, l := range loops {
		<-l.done
	}
}

// Samples counts those of a scrape: in the body, and those of them that were stored.
type Samples struct{ Seen, Stored int }

// LastSamples gives those of the last scrapes of the targets that TargetsActive gives.
// A target that has not been scraped yet has none.
func (m *Manager) LastSamples() map[*promscrape.Target]Samples {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[*promscrape.Target]Samples{}
	for _, j := range m.jobs {
		for _, l := range j.loops {
			if last := l.lastSamples.Load(); last != nil {
				all[l.target] = *last
			}
		}
	}
	return all
}

// TargetsActive gives, by job name, the targets that have a loop, in no order. The
// targets are live: their health changes with every scrape.
func (m *Manager) TargetsActive() map[string][]*promscrape.Target {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[string][]*promscrape.Target, len(m.jobs))
	for name, j := range m.jobs {
		out[name] = j.targets()
	}
	return out
}

func (m *Manager) countTargets() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, j := range m.jobs {
		n += len(j.loops)
	}
	return float64(n)
}

// Stop ends all loops and waits for them. Scrapes in flight are cut short, those
// being stored are stored. No stale markers are written: after a restart the
// series go on where they were. Stopping twice is fine.
func (m *Manager) Stop() {
	m.applyMu.Lock()
	defer m.applyMu.Unlock()
	if m.stopped {
		return
	}
	m.stopped = true
	var ch change
	for _, j := range m.jobs {
		ch.dropJob(j)
	}
	for _, l := range ch.old {
		l.bequeath = true
	}
	m.carryOut(&ch, map[string]*job{})
	m.metrics.unregister()
}
