package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
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
)

// child is a side, as its parent sees it.
type child struct{ *harness.Process }

// start starts a side on the population. batch is as in setup.
func (p *population) start(ctx context.Context, side string, scraped *targetServer, batch time.Duration) (*child, error) {
	s := setup{Side: side, APIServer: p.api.URL, Targets: scraped.Listener.Addr().String(), Batch: batch}
	if side == sidePrometheus {
		var err error
		if s.Config, err = operatorConfig(p.monitors, p.api.URL); err != nil {
			return nil, err
		}
	}
	process, err := harness.StartChild(ctx, name, side, s)
	return &child{process}, err
}

// settle waits until the child has so many targets and does nothing any more.
func (c *child) settle(ctx context.Context, targets int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for n := -1; n != targets; {
		if err := c.quiet(ctx); err != nil {
			return fmt.Errorf("wait for %d targets of %s: %w", targets, c.Name(), err)
		}
		if err := c.Ask(askCount, &n); err != nil {
			return err
		}
	}
	return nil
}

// quiet waits until the child has hardly used any CPU for a moment.
func (c *child) quiet(ctx context.Context) error {
	last, err := c.CPU()
	if err != nil {
		return err
	}
	for idle := 0; idle < quietPolls; {
		if err := harness.Sleep(ctx, poll); err != nil {
			return err
		}
		cpu, err := c.CPU()
		if err != nil {
			return err
		}
		idle++
		if cpu-last > poll/5 {
			idle = 0
		}
		last = cpu
	}
	return nil
}

// usage measures the CPU that each child uses, and the time, while do runs.
func usage(children []*child, do func() error) (used []time.Duration, took time.Duration, err error) {
	used = make([]time.Duration, len(children))
	read := func(sign time.Duration) error {
		for i, c := range children {
			cpu, err := c.CPU()
			if err != nil {
				return err
			}
			used[i] += sign * cpu
		}
		return nil
	}
	if err := read(-1); err != nil {
		return nil, 0, err
	}
	began := time.Now()
	if err := do(); err != nil {
		return nil, 0, err
	}
	took = time.Since(began)
	return used, took, read(1)
}

// check reports whether a side's targets are the population's.
func (p *population) check(c *child) error {
	var targets []string
	if err := c.Ask(askTargets, &targets); err != nil {
		return err
	}
	if want, got := p.targets(), addressesIn(targets); !slices.Equal(got, want) {
		return fmt.Errorf("%s has %d targets that are not the %d pods", c.Name(), len(got), len(want))
	}
	return nil
}

// addressesIn are the addresses in targets that a child has listed, sorted.
func addressesIn(targets []string) []string {
	var addresses []string
	for _, target := range targets {
		if u, err := url.Parse(strings.Fields(target)[1]); err == nil {
			addresses = append(addresses, u.Host)
		}
	}
	slices.Sort(addresses)
	return addresses
}
