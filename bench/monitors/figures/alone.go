package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

const (
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
func measureAlone(ctx context.Context, m *alone, side string, pods int) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("measure %s with %d pods: %w", side, pods, err)
		}
	}()
	api := newAPIServer()
	defer api.Close()
	scraped := newTargetServer()
	defer scraped.Close()
	scraped.Config.SetKeepAlivesEnabled(false) // connections are no part of the memory
	p, err := populate(api, pods, never)
	if err != nil {
		return err
	}
	c, err := p.start(ctx, side, scraped, batch)
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
	held, err := c.Held()
	if err != nil {
		return err
	}
	m.Heap = (float64(held.Heap) - float64(c.Before.Heap)) / float64(pods)
	m.Stacks = (float64(held.Stacks) - float64(c.Before.Stacks)) / float64(pods)
	if err := c.Ask(askTargets, &m.targets); err != nil {
		return err
	}
	return m.measureChanges(ctx, c, p, scraped)
}

func (m *alone) measureChanges(ctx context.Context, c *child, p *population, scraped *targetServer) error {
	rest, err := c.rest(ctx)
	if err != nil {
		return err
	}
	if m.Flip, m.Flips, err = c.perChange(ctx, rest, p.flip, scraped.quiet); err != nil {
		return err
	}
	var before, after int
	if err := c.Ask(askUpdates, &before); err != nil {
		return err
	}
	if m.Replace, m.Replaces, err = c.perChange(ctx, rest, p.replace, scraped.quiet); err != nil {
		return err
	}
	if err := c.Ask(askUpdates, &after); err != nil {
		return err
	}
	if n := after - before; n != m.Replaces {
		return fmt.Errorf("%s made %d updates of %d changes: they were not measured one by one", c.Name(), n, m.Replaces)
	}
	return p.check(c)
}

// rest measures the share of a CPU that a child uses when nothing happens.
func (c *child) rest(ctx context.Context) (share float64, err error) {
	if err := c.quiet(ctx); err != nil {
		return 0, err
	}
	used, took, err := usage([]*child{c}, func() error {
		for range idling / poll {
			if err := harness.Sleep(ctx, poll); err != nil {
				return err
			}
			if _, err := c.CPU(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return float64(used[0]) / float64(took), nil
}

// perChange measures the CPU for one change, over n, each made when the child has done
// with the one before, and with what is left to do once end returns.
func (c *child) perChange(
	ctx context.Context, rest float64, change func(i int), end func(context.Context) error,
) (cpu time.Duration, n int, err error) {
	limit := time.Now().Add(changesLimit)
	used, took, err := usage([]*child{c}, func() error {
		for n < changes && (n < changesLeast || time.Now().Before(limit)) {
			change(n)
			n++
			if err := harness.Sleep(ctx, gather); err != nil {
				return err
			}
			if err := c.quiet(ctx); err != nil {
				return err
			}
		}
		return end(ctx)
	})
	if err != nil {
		return 0, 0, err
	}
	return (used[0] - time.Duration(rest*float64(took))) / time.Duration(n), n, nil
}
