package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

const (
	// poll is how often a child is asked whether it is at rest.
	poll = 50 * time.Millisecond
	// quietPolls is after how many polls in a row without work it is.
	quietPolls = 4
	// patience is how long a child may take to come to rest.
	patience = time.Minute
	// batch is what Prometheus's two stages are set to while single changes are
	// measured. With their default of five seconds too each would be an update of its
	// own, if they were ten seconds apart.
	batch = 50 * time.Millisecond
	// gather is how long after a change each side has not begun to work on it, at most,
	// beyond the quietPolls polls that see whether it does: promlet waits 100 ms for
	// more, Prometheus up to 150 ms and then batch.
	gather = 25 * time.Millisecond
	// idling is how long a side is watched at rest, for what it uses then.
	idling = 4 * time.Second
	// changes is how many changes are measured, as far as changesLimit allows.
	changes      = 50
	changesLimit = 11 * time.Second
	changesLeast = 5
)

// alone is what was measured of one side whose targets have an interval of never.
type alone struct {
	Heap, Stacks  float64       // bytes per pod
	Flip, Replace time.Duration // CPU per change
	Flips         int           // how many were measured
	Replaces      int
	targets       []string // before the changes, as askTargets gives them
}

// measureAlone measures memory and the CPU of single changes of one side.
func measureAlone(ctx context.Context, m *alone, name string, pods int, profiles string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("measure %s with %d pods: %w", name, pods, err)
		}
	}()
	api, err := newAPIServer()
	if err != nil {
		return err
	}
	defer api.Close()
	scraped := newTargetServer()
	defer scraped.Close()
	scraped.Config.SetKeepAlivesEnabled(false) // connections are no part of the memory
	p := populate(api, pods, never)
	s, err := p.setup(name, scraped)
	if err != nil {
		return err
	}
	s.Batch, s.Profiles = batch, profiles
	c, err := startChild(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	if err := c.settle(ctx, pods); err != nil {
		return err
	}
	if err := scraped.quiet(ctx); err != nil {
		return err
	}
	r, err := c.read(askAll)
	if err != nil {
		return err
	}
	m.Heap = (float64(r.Heap) - float64(c.before.Heap)) / float64(pods)
	m.Stacks = (float64(r.Stacks) - float64(c.before.Stacks)) / float64(pods)
	if err := c.Ask(askTargets, &m.targets); err != nil {
		return err
	}
	return m.measureChanges(ctx, c, p, scraped, profiles != "")
}

// setup is what a child has to know of the population.
func (p *population) setup(name string, scraped *targetServer) (*setup, error) {
	s := &setup{Side: name, APIServer: p.api.URL, Targets: scraped.Listener.Addr().String()}
	var err error
	if name == sidePrometheus {
		s.Config, err = operatorConfig(p.monitors, p.api.URL)
	}
	return s, err
}

func (m *alone) measureChanges(ctx context.Context, c *process, p *population, scraped *targetServer, profiled bool) error {
	if profiled {
		if _, err := c.read(askProfile); err != nil {
			return err
		}
	}
	rest, err := c.rest(ctx)
	if err != nil {
		return err
	}
	if m.Flip, m.Flips, err = c.perChange(ctx, rest, p.flip, scraped.quiet); err != nil {
		return err
	}
	before, err := c.read(askAll)
	if err != nil {
		return err
	}
	if m.Replace, m.Replaces, err = c.perChange(ctx, rest, p.replace, scraped.quiet); err != nil {
		return err
	}
	after, err := c.read(askAll)
	if err != nil {
		return err
	}
	if n := after.Updates - before.Updates; n != m.Replaces {
		return fmt.Errorf("%s made %d updates of %d changes: they were not measured one by one", c.name, n, m.Replaces)
	}
	if profiled {
		if _, err := c.read(askProfile); err != nil {
			return err
		}
	}
	return p.check(c)
}

// check tells whether a side's targets are the population's.
func (p *population) check(c *process) error {
	var targets, scraped []string
	if err := c.Ask(askTargets, &targets); err != nil {
		return err
	}
	for _, t := range targets {
		scraped = append(scraped, addressIn(t))
	}
	slices.Sort(scraped)
	if want := p.targets(); !slices.Equal(scraped, want) {
		return fmt.Errorf("%s has %d targets that are not the %d pods", c.name, len(scraped), len(want))
	}
	return nil
}

// rest measures the share of a CPU that a child uses when nothing happens.
func (p *process) rest(ctx context.Context) (share float64, err error) {
	if err := p.quiet(ctx); err != nil {
		return 0, err
	}
	used, took, err := p.usage(func() error {
		for range idling / poll {
			if err := harness.Sleep(ctx, poll); err != nil {
				return err
			}
			if _, err := p.read(askCPU); err != nil {
				return err
			}
		}
		return nil
	})
	return float64(used) / float64(took), err
}

// usage measures the CPU that a child uses, and the time, while do runs.
func (p *process) usage(do func() error) (used, took time.Duration, err error) {
	before, err := p.read(askCPU)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := do(); err != nil {
		return 0, 0, err
	}
	after, err := p.read(askCPU)
	return after.CPU - before.CPU, time.Since(began), err
}

// perChange measures the CPU for one change, over n, each made when the child has done
// with the one before, and with what is left to do once end returns.
func (p *process) perChange(
	ctx context.Context, rest float64, change func(i int), end func(context.Context) error,
) (cpu time.Duration, n int, err error) {
	limit := time.Now().Add(changesLimit)
	used, took, err := p.usage(func() error {
		for n < changes && (n < changesLeast || time.Now().Before(limit)) {
			change(n)
			n++
			if err := harness.Sleep(ctx, gather); err != nil {
				return err
			}
			if err := p.quiet(ctx); err != nil {
				return err
			}
		}
		return end(ctx)
	})
	return (used - time.Duration(rest*float64(took))) / time.Duration(n), n, err
}
