package scrape

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
)

// job is what runs for one scrape configuration.
type job struct {
	*plan
	loops map[uint64]*loop // by key of the target

	// limitErr is set while the job has more targets than target_limit.
	limitErr atomic.Pointer[limitError]
	// changes are when enough targets last came or went to matter to the others. They are replaced, never changed.
	changes []time.Time
}

// plan is what a job is to be, or is, except for its loops.
type plan struct {
	*settings
	given  *config.ScrapeConfig // as the caller gave it, for its pointer
	cfg    *config.ScrapeConfig // checked
	groups []*targetgroup.Group
	made   map[*targetgroup.Group]madeGroup
	err    error                 // what is wrong with some targets
	wanted map[uint64]*candidate // until adopted
	turned []*loop               // whose targets have become ready, or ceased to be; until adopted
}

// madeGroup is what a group came to, kept while the group stays the same.
type madeGroup struct {
	candidates []candidate
	errs       []error
}

// forbidden is the reason why no target of the job is scraped, if there is one.
func (j *job) forbidden() error {
	if err := j.limitErr.Load(); err != nil {
		return err
	}
	return nil
}

// unchanged tells whether these are the very things the job runs on.
func (j *job) unchanged(cfg *config.ScrapeConfig, groups []*targetgroup.Group) bool {
	return j.given == cfg && slices.Equal(j.groups, groups)
}

// planJob works out what a job should be. j is what it is, or nil.
func (m *Manager) planJob(j *job, cfg *config.ScrapeConfig, groups []*targetgroup.Group) (*plan, error) {
	p := &plan{given: cfg, groups: slices.Clone(groups), wanted: map[uint64]*candidate{}}
	var known map[*targetgroup.Group]madeGroup
	if j != nil && j.given == cfg {
		p.cfg, p.settings, known = j.cfg, j.settings, j.made
	} else {
		checked, err := checkedConfig(cfg)
		if err != nil {
			return nil, err
		}
		p.cfg = checked
		if j != nil && sameForLoops(j.cfg, checked) {
			p.settings = j.settings
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

// makeTargets makes the targets of the groups, those of known groups excepted.
func (p *plan) makeTargets(known map[*targetgroup.Group]madeGroup, running map[uint64]*loop) {
	p.made = make(map[*targetgroup.Group]madeGroup, len(p.groups))
	b := labels.NewBuilderWithSymbolTable(p.symbols)
	var errs []error
	before := bySource(known, p.groups)
	for _, g := range p.groups {
		if g == nil {
			continue
		}
		made, ok := known[g]
		if !ok {
			made.candidates, made.errs = candidatesOf(g, p.cfg, b, before[g.Source])
			p.keepTargets(made.candidates, running)
		}
		p.made[g] = made
		errs = append(errs, made.errs...)
		for i := range made.candidates {
			c := &made.candidates[i]
			if _, twice := p.wanted[c.key]; !twice {
				p.wanted[c.key] = c
			}
		}
	}
	if n := len(errs) - maxTargetErrors; n > 0 {
		errs = append(errs[:maxTargetErrors:maxTargetErrors], fmt.Errorf("and %d more targets", n))
	}
	p.err = errors.Join(errs...)
}

// bySource gives the candidates of the groups that are about to be replaced, by the
// groups' sources.
func bySource(known map[*targetgroup.Group]madeGroup, groups []*targetgroup.Group) map[string][]candidate {
	if len(known) == 0 {
		return nil
	}
	stays := make(map[*targetgroup.Group]bool, len(groups))
	for _, g := range groups {
		stays[g] = true
	}
	var out map[string][]candidate
	for g, made := range known {
		if g != nil && !stays[g] {
			if out == nil {
				out = map[string][]candidate{}
			}
			out[g.Source] = made.candidates
		}
	}
	return out
}

// keepTargets puts the targets that run already in the place of their like: their
// health goes on. Their labels before relabelling may be others.
func (p *plan) keepTargets(cs []candidate, running map[uint64]*loop) {
	for i, c := range cs {
		l := running[c.key]
		if l == nil {
			continue
		}
		l.target.SetScrapeConfig(p.cfg, c.own, c.group)
		cs[i].Target = l.target
		if now := unready(c.own, c.group); now != l.unready {
			l.unready = now
			p.turned = append(p.turned, l)
		}
	}
}

// unreadyLabel is given by discovery to targets that get no requests, because they are not ready.
const unreadyLabel = model.LabelName("__meta_promlet_unready")

// unready reports whether discovery says so of a target.
func unready(own, group model.LabelSet) bool { return own[unreadyLabel]+group[unreadyLabel] != "" }

// adopt makes the plan what the job is, except for its loops.
func (j *job) adopt(p *plan) {
	j.plan = p
	n, limit := uint(len(p.wanted)), p.cfg.TargetLimit
	p.wanted, p.turned = nil, nil
	j.limitErr.Store(nil)
	if limit > 0 && n > limit {
		j.limitErr.Store(&limitError{
			limit: "target",
			text:  fmt.Sprintf("target_limit exceeded (number of targets: %d, limit: %d)", n, limit),
		})
	}
}

// obsolete gives the loops that the plan has no place for.
func (j *job) obsolete(p *plan) []*loop {
	var out []*loop
	for key, l := range j.loops {
		if _, ok := p.wanted[key]; !ok || l.settings != p.settings {
			out = append(out, l)
		}
	}
	return out
}

// missing makes, without starting them, the loops that the plan wants and that
// do not run or are about to stop. old are those about to stop, of which a new
// one takes over what has the same public labels.
func (m *Manager) missing(j *job, p *plan, old []*loop) []*loop {
	heirs := map[uint64][]*loop{}
	stopping := map[uint64]bool{}
	for _, l := range old {
		stopping[l.key] = true
		if l.extraReports == p.extraReports {
			heirs[l.public] = append(heirs[l.public], l)
		}
	}
	var fresh []*loop
	for key, c := range p.wanted {
		if _, runs := j.loops[key]; runs && !stopping[key] {
			continue
		}
		l := m.newLoop(j, p.settings, *c)
		if from := heirs[l.public]; len(from) > 0 {
			l.heirOf, heirs[l.public] = from[0], from[1:]
		}
		fresh = append(fresh, l)
	}
	return fresh
}

// targets gives the targets that have a loop.
func (j *job) targets() []*promscrape.Target {
	out := make([]*promscrape.Target, 0, len(j.loops))
	for _, l := range j.loops {
		out = append(out, l.target)
	}
	return out
}
