package scrape

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/promlet/promlet/scrape/internal/history"
	"github.com/promlet/promlet/scrape/internal/reason"
)

// job is what runs for one scrape configuration.
type job struct {
	plan  *plan
	loops map[uint64]*loop // by key of the target

	// limitErr is set while the job has more targets than target_limit.
	limitErr atomic.Pointer[error]
	begun    time.Time // [Target.Begun]
	// changes are [Target.Changes]. They are replaced, never changed.
	changes []time.Time
}

// plan says what a job is to run on, or runs on.
type plan struct {
	settings *settings
	given    *config.ScrapeConfig // as the caller gave it, for its pointer
	cfg      *config.ScrapeConfig // checked
	groups   []*targetgroup.Group
	made     map[*targetgroup.Group]madeGroup
	err      error // what is wrong with some targets

	// Until the job has adopted the plan:
	targets map[uint64]*discovered // by key
	changed []*loop                // whose targets have become ready or unready
}

// madeGroup holds the targets of a group, for as long as the group stays the same.
type madeGroup struct {
	targets []discovered
	errs    []error
}

// limitReached returns an error while the job has too many targets: then none is scraped.
func (j *job) limitReached() error {
	if err := j.limitErr.Load(); err != nil {
		return *err
	}
	return nil
}

// unchanged reports whether the job runs on these very pointers.
func (j *job) unchanged(cfg *config.ScrapeConfig, groups []*targetgroup.Group) bool {
	return j.plan.given == cfg && slices.Equal(j.plan.groups, groups)
}

// JobError is what is wrong with the settings of a job, or with some of its targets.
type JobError struct {
	Job string
	Err error
}

// Error implements error.
func (e *JobError) Error() string { return fmt.Sprintf("job %q: %v", e.Job, e.Err) }

// Unwrap returns Err.
func (e *JobError) Unwrap() error { return e.Err }

// planJob makes the next plan of a job. j is nil if the job is new.
func (m *Manager) planJob(j *job, cfg *config.ScrapeConfig, groups []*targetgroup.Group) (*plan, error) {
	p := &plan{given: cfg, groups: slices.Clone(groups), targets: map[uint64]*discovered{}}
	var known map[*targetgroup.Group]madeGroup
	if j != nil && j.plan.given == cfg {
		p.cfg, p.settings, known = j.plan.cfg, j.plan.settings, j.plan.made
	} else {
		checked, err := checkedConfig(cfg)
		if err != nil {
			return nil, err
		}
		p.cfg = checked
		if j != nil && sameForLoops(j.plan.cfg, checked) {
			p.settings = j.plan.settings
		} else if p.settings, err = m.newSettings(checked); err != nil {
			return nil, err
		}
	}
	var running map[uint64]*loop
	if j != nil {
		running = j.loops
	}
	p.makeTargets(known, running)
	return p, nil
}

// makeTargets makes the targets of the groups that are not known yet.
func (p *plan) makeTargets(known map[*targetgroup.Group]madeGroup, running map[uint64]*loop) {
	p.made = make(map[*targetgroup.Group]madeGroup, len(p.groups))
	b := labels.NewBuilderWithSymbolTable(p.settings.symbols)
	var errs []error
	before := bySource(known, p.groups)
	for _, g := range p.groups {
		if g == nil {
			continue
		}
		made, ok := known[g]
		if !ok {
			made.targets, made.errs = discover(g, p.cfg, p.settings.namespace, b, before[g.Source])
			p.keepRunning(made.targets, running)
		}
		p.made[g] = made
		errs = append(errs, made.errs...)
		for i := range made.targets {
			t := &made.targets[i]
			if _, twice := p.targets[t.key]; !twice {
				p.targets[t.key] = t
			}
		}
	}
	if n := len(errs) - maxTargetErrors; n > 0 {
		errs = append(errs[:maxTargetErrors:maxTargetErrors], fmt.Errorf("and %d more targets", n))
	}
	p.err = errors.Join(errs...)
}

// bySource returns the targets of the groups that are about to be replaced, by the
// groups' sources.
func bySource(known map[*targetgroup.Group]madeGroup, groups []*targetgroup.Group) map[string][]discovered {
	if len(known) == 0 {
		return nil
	}
	stays := make(map[*targetgroup.Group]bool, len(groups))
	for _, g := range groups {
		stays[g] = true
	}
	out := map[string][]discovered{}
	for g, made := range known {
		if g != nil && !stays[g] {
			out[g.Source] = made.targets
		}
	}
	return out
}

// keepRunning replaces targets with those that run already, so that their health goes
// on. Their labels before relabelling may have changed.
func (p *plan) keepRunning(targets []discovered, running map[uint64]*loop) {
	for i, t := range targets {
		l := running[t.key]
		if l == nil {
			continue
		}
		l.target.SetScrapeConfig(p.cfg, t.own, t.group)
		targets[i].target = l.target
		if now := unready(t.own, t.group); now != l.unready {
			l.unready = now
			p.changed = append(p.changed, l)
		}
	}
}

// unreadyLabel is the label that discovery gives to targets that get no requests, because they are not ready.
const unreadyLabel = model.LabelName("__meta_promlet_unready")

// unready reports whether a target has the label.
func unready(own, group model.LabelSet) bool { return own[unreadyLabel]+group[unreadyLabel] != "" }

// adopt replaces the job's plan. Its loops follow.
func (j *job) adopt(p *plan) {
	j.plan = p
	n, limit := uint(len(p.targets)), p.cfg.TargetLimit
	p.targets, p.changed = nil, nil
	j.limitErr.Store(nil)
	if limit > 0 && n > limit {
		err := reason.Limitf("target", "target_limit exceeded (number of targets: %d, limit: %d)", n, limit)
		j.limitErr.Store(&err)
	}
}

// obsolete returns the loops that the plan does not keep.
func (j *job) obsolete(p *plan) []*loop {
	var out []*loop
	for key, l := range j.loops {
		if _, ok := p.targets[key]; !ok || l.settings != p.settings {
			out = append(out, l)
		}
	}
	return out
}

// missing makes, without starting them, the loops of targets that have none or whose
// loop is about to stop. old are the loops about to stop: a new loop replaces one of
// them with the same public labels.
func (m *Manager) missing(j *job, p *plan, old []*loop) []*loop {
	replaceable := map[uint64][]*loop{}
	stopping := map[uint64]bool{}
	for _, l := range old {
		stopping[l.key] = true
		if l.settings.extraReports == p.settings.extraReports {
			replaceable[l.public] = append(replaceable[l.public], l)
		}
	}
	var fresh []*loop
	for key, t := range p.targets {
		if _, runs := j.loops[key]; runs && !stopping[key] {
			continue
		}
		l := m.newLoop(j, p.settings, *t)
		if from := replaceable[l.public]; len(from) > 0 {
			l.replaces, replaceable[l.public] = from[0], from[1:]
		}
		fresh = append(fresh, l)
	}
	return fresh
}

// leastSettled is the minimum time without changes after which a job goes on over a restart. Shortly after a change, sums
// need what is known of the targets that left, and a new process does not know them.
const leastSettled = 20 * time.Second

// resume makes a new job go on from the process before if its targets are the same, had not changed for a while, and were
// scraped lately. fresh are all its loops. idle is how long ago the process before stored its last sample.
func (j *job) resume(before history.Job, fresh []*loop, now time.Time, idle time.Duration) {
	settled := leastSettled
	for _, l := range fresh {
		settled = max(settled, 2*l.targetSettings.interval)
		if idle > lostIntervals*l.targetSettings.interval {
			return
		}
	}
	if before.Targets != hashOfTargets(slices.Values(fresh)) || !before.Settled(now, settled) {
		return
	}
	j.begun, j.changes = before.Begun, before.Changes
	for _, l := range fresh {
		l.resumed = true
		for _, o := range []*origin{l.origin, l.reportOrigin} {
			o.update(func(t *Target) { t.Begun, t.Changes = j.begun, j.changes })
		}
	}
}

// histories returns what Options.HistoryFile keeps of each job.
func (m *Manager) histories() map[string]history.Job {
	all := make(map[string]history.Job, len(m.jobs))
	for name, j := range m.jobs {
		all[name] = history.Job{Targets: hashOfTargets(maps.Values(j.loops)), Begun: j.begun, Changes: j.changes}
	}
	return all
}

// hashOfTargets is a hash of the targets' keys and readiness, in any order.
func hashOfTargets(loops iter.Seq[*loop]) (sum uint64) {
	const ready, unready = 0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f // odd: different keys stay different
	for l := range loops {
		if l.unready {
			sum += l.key * unready
		} else {
			sum += l.key * ready
		}
	}
	return sum
}
