package scrape

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"

	"github.com/promlet/promlet/scrape/internal/body"
	"github.com/promlet/promlet/scrape/internal/budget"
	"github.com/promlet/promlet/scrape/internal/history"
	"github.com/promlet/promlet/scrape/internal/names"
	"github.com/promlet/promlet/scrape/internal/reason"
)

// Manager runs the scrape loops of a set of jobs. Its methods may be called at
// any time and from any goroutine. The caller stops it before the Appendable is closed.
type Manager struct {
	opts    Options
	metrics *metrics
	pools   *body.Pools
	names   *budget.Budget
	parsing chan struct{} // holds one for each body that is parsed and stored
	workers *workers
	sources *sources

	catalogVersion atomic.Uint64
	refused        [names.Needs]atomic.Int64 // series in the last scrapes of all loops

	// applyMu is held while the set of loops changes, which may have to wait for loops to
	// end. Readers of the set hold mu instead, so that they do not wait as well.
	applyMu sync.Mutex
	stopped bool
	demand  atomic.Pointer[names.Demand] // written with applyMu held
	mu      sync.Mutex
	jobs    map[string]*job // written with both held; so are job.loops
	// reported is the last result of reportCounts. mu guards it.
	reported map[string]int

	// applyMu guards these. earlier is what Options.HistoryFile held at the start, nil after the first Apply.
	file    history.File
	earlier map[string]history.Job
	unsaved bool // the last attempt to save the file has failed
}

// smallNames is how much a job may hold of Options.NameMemory and be a small one: about 100
// names.
const smallNames = 128 << 10

// NewManager makes a Manager without jobs. It returns an error if Options.Appendable is
// nil or the metrics cannot be registered. The caller stops the Manager.
func NewManager(opts Options) (*Manager, error) {
	if opts.Appendable == nil {
		return nil, errors.New("scrape: Options.Appendable is nil")
	}
	opts = opts.withDefaults()
	m := &Manager{opts: opts, sources: newSources(opts.Now), jobs: map[string]*job{}}
	m.demand.Store(names.NewDemand(nil, nil, nil))
	m.parsing = make(chan struct{}, 2*runtime.GOMAXPROCS(0))
	m.workers = newWorkers(2 * runtime.GOMAXPROCS(0))
	var err error
	if m.metrics, err = newMetrics(opts.Registerer, m); err != nil {
		return nil, fmt.Errorf("register scrape metrics: %w", err)
	}
	m.pools = body.NewPools(m.opts.ScrapeMemory, m.metrics.scrapeMemory)
	m.names = budget.New(m.opts.NameMemory, smallNames, m.metrics.nameMemory)
	m.file.Path = opts.HistoryFile
	if m.earlier, err = m.file.Load(); err != nil {
		opts.Logger.Warn("could not read the history of the targets; all count as new", "err", err)
	}
	return m, nil
}

// borrower returns who is charged for the memory of a job's targets in a group.
func (m *Manager) borrower(job string, group model.LabelSet) string {
	if m.opts.Owner == nil {
		return job
	}
	return cmp.Or(m.opts.Owner(job, group), job)
}

// Apply makes the running loops match a full set of jobs. cfgs holds one entry per
// job, groups the target groups by job name. Apply may be called at any time with any
// set. It does not change its arguments, and the caller must not change them afterwards.
//
// A job whose configuration and groups are the same pointers as before is left alone.
// The targets of a group that is the same pointer are not made again. A target whose
// labels, URL and settings did not change keeps its loop.
//
// All removed loops have ended, and written their stale markers, before new ones start.
// A loop that replaces one with the same public labels writes the markers itself, on its
// first scrape, for the series that are gone. Scrapes in flight are cut short, so Apply
// waits for no target.
//
// The error joins everything that is wrong with this set, whether it is new or not, and
// each part names its job: what is wrong with one is a JobError. A job with invalid settings has no loops, nor has a target
// that cannot be made. The rest runs. After Stop the error is ErrStopped.
func (m *Manager) Apply(cfgs []*config.ScrapeConfig, groups map[string][]*targetgroup.Group) error {
	m.applyMu.Lock()
	defer m.applyMu.Unlock()
	if m.stopped {
		return ErrStopped
	}
	return m.apply(cfgs, groups)
}

// apply is Apply with applyMu held.
func (m *Manager) apply(cfgs []*config.ScrapeConfig, groups map[string][]*targetgroup.Group) error {
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
			errs = append(errs, &JobError{Job: cfg.JobName, Err: err})
		}
		if j != nil {
			next[cfg.JobName] = j
		}
	}
	for name := range groups {
		if !seen[name] {
			errs = append(errs, fmt.Errorf("job %q: it has target groups, but no configuration", name))
		}
	}
	for name, j := range m.jobs {
		if next[name] == nil {
			ch.removeJob(j)
		}
	}
	m.carryOut(&ch, next)
	m.earlier = nil // Jobs that come later are new.
	m.saveHistory()
	return errors.Join(errs...)
}

// saveHistory saves Options.HistoryFile, and logs when that begins to fail.
func (m *Manager) saveHistory() {
	err := m.file.Save(m.histories())
	if err != nil && !m.unsaved {
		m.opts.Logger.Warn("could not save the history of the targets; after a restart all count as new", "err", err)
	}
	m.unsaved = err != nil
}

// change is what an Apply does to the set of loops.
type change struct {
	old     []*loop     // to stop
	fresh   []*loop     // to start
	changed []*loop     // that go on, and whose targets have become ready or unready
	unused  []*settings // once the old loops have ended
}

func (ch *change) removeJob(j *job) {
	for _, l := range j.loops {
		ch.old = append(ch.old, l)
	}
	ch.unused = append(ch.unused, j.plan.settings)
}

// applyJob gives one job its new settings and targets, and notes in ch what happens to
// its loops. Without a job the settings are invalid. With one, the error is about some
// of its targets.
func (m *Manager) applyJob(cfg *config.ScrapeConfig, groups []*targetgroup.Group, ch *change) (*job, error) {
	j := m.jobs[cfg.JobName]
	if j != nil && j.unchanged(cfg, groups) {
		return j, j.plan.err
	}
	p, err := m.planJob(j, cfg, groups)
	if err != nil {
		return nil, err
	}
	if j == nil {
		j = &job{loops: map[uint64]*loop{}, begun: m.opts.Now()}
	} else if j.plan.settings != p.settings {
		ch.unused = append(ch.unused, j.plan.settings)
	}
	old := j.obsolete(p)
	fresh := m.missing(j, p, old)
	ch.old = append(ch.old, old...)
	ch.fresh = append(ch.fresh, fresh...)
	ch.changed = append(ch.changed, p.changed...)
	m.mu.Lock() // Catalog reads the plan.
	j.adopt(p)
	m.mu.Unlock()
	if before, known := m.earlier[cfg.JobName]; known {
		now := m.opts.Now()
		j.resume(before, fresh, now, now.Sub(m.opts.LastSample))
	}
	return j, j.plan.err
}

// carryOut stops the old loops, waits for them, and starts the fresh ones.
func (m *Manager) carryOut(ch *change, next map[string]*job) {
	for _, l := range ch.fresh {
		if old := l.replaces; old != nil {
			old.keepSeries = true
			old.keepCounts = l.settings == old.settings
		}
	}
	others := ch.affected(next, m.opts.Now())
	stopAll(ch.old)
	for _, l := range ch.fresh {
		l.takeOver()
	}
	for _, s := range ch.unused {
		s.close()
	}

	m.mu.Lock()
	for _, l := range ch.old {
		delete(l.job.loops, l.key)
	}
	for _, l := range ch.fresh {
		l.job.loops[l.key] = l
	}
	m.jobs = next
	if counts := m.reportCounts(); !maps.Equal(counts, m.reported) {
		m.reported = counts
		m.catalogVersion.Add(1)
	}
	m.mu.Unlock()

	for i, l := range ch.fresh {
		l.origin.update(func(t *Target) { t.Changes = l.job.changes })
		l.start(spread(i))
	}
	for i, l := range others {
		l.scrapeSoon(spread(i))
	}
}

// significant is the number of targets of a job of which one must come or go for the load of the others to change.
const significant = 20

// affected returns the loops that go on of jobs with a significant change: enough targets come or go, or become
// ready or unready, that the load of the others changes. They are scraped soon, so that their rates show it.
func (ch *change) affected(next map[string]*job, now time.Time) (others []*loop) {
	changes := map[*job]int{}
	touched := make(map[*loop]bool, len(ch.old)+len(ch.fresh))
	for _, l := range ch.old {
		touched[l] = true
		if !l.keepSeries {
			changes[l.job]++
		}
	}
	for _, l := range ch.fresh {
		touched[l] = true
		if l.replaces == nil && !l.resumed {
			changes[l.job]++
		}
	}
	for _, l := range ch.changed {
		changes[l.job]++
	}
	for _, j := range next {
		if n := changes[j]; n == 0 || n*significant < len(j.loops) {
			continue
		}
		j.noteChange(now)
		if !j.plan.settings.names.Read() {
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

// stopAll ends the loops and waits until they have written their stale markers.
func stopAll(loops []*loop) {
	var idle []*loop
	for _, l := range loops {
		if l.stop() {
			idle = append(idle, l)
		}
	}
	for _, l := range idle {
		l.finish()
	}
	for _, l := range loops {
		<-l.done
	}
}

// PublicReason is the text of a target's LastError without what the target has sent: for
// those who may read its metrics, but not what else is served where its monitor leads.
func PublicReason(err error) string { return reason.Public(err) }

// TargetsActive returns, by job name, the targets that have a loop, in no order. The
// targets are live: their health changes with every scrape.
func (m *Manager) TargetsActive() map[string][]*promscrape.Target {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[string][]*promscrape.Target, len(m.jobs))
	for name, j := range m.jobs {
		out[name] = make([]*promscrape.Target, 0, len(j.loops))
		for _, l := range j.loops {
			out[name] = append(out[name], l.target)
		}
	}
	return out
}

// eachLoop calls f for each loop. f must not call the Manager.
func (m *Manager) eachLoop(f func(*loop)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, j := range m.jobs {
		for _, l := range j.loops {
			f(l)
		}
	}
}

// Stop ends all loops and waits for them. Scrapes in flight are cut short; those that
// are being stored are stored. No stale markers are written, because the series go on
// after a restart. Stopping twice is fine.
func (m *Manager) Stop() {
	m.applyMu.Lock()
	defer m.applyMu.Unlock()
	if m.stopped {
		return
	}
	m.stopped = true
	m.endAll()
	m.workers.end()
	m.metrics.unregister()
}

// endAll ends all loops, without stale markers. applyMu is held.
func (m *Manager) endAll() {
	var ch change
	for _, j := range m.jobs {
		ch.removeJob(j)
	}
	for _, l := range ch.old {
		l.keepSeries = true
	}
	m.carryOut(&ch, map[string]*job{})
}

// Restart ends all loops as Stop does, calls between while nothing is appended, and scrapes the same targets as a new
// Manager would: nothing has been collected before. It returns the error of between.
func (m *Manager) Restart(between func() error) error {
	m.applyMu.Lock()
	defer m.applyMu.Unlock()
	if m.stopped {
		return ErrStopped
	}
	var cfgs []*config.ScrapeConfig
	groups := map[string][]*targetgroup.Group{}
	for name, j := range m.jobs {
		cfgs = append(cfgs, j.plan.given)
		groups[name] = j.plan.groups
	}
	m.endAll()
	m.sources.clear()
	err := between()
	_ = m.apply(cfgs, groups) // Its errors are those of the last Apply.
	return err
}
