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
	// liveInterval is the scrape interval of the job that gets new targets.
	liveInterval = 5 * time.Second
	// A rollout is this many readiness changes, one each step. Some steps bring new
	// targets besides.
	rolloutChanges = 100
	rolloutStep    = 100 * time.Millisecond
	rolloutArrival = 20 // steps from one arrival to the next
	// afterwards is when both sides have done with what has happened: Prometheus
	// waits for 7.5 s at most, and then for 5 s.
	afterwards = 14 * time.Second
	// Then new targets come by themselves, so far apart that Prometheus is at rest
	// again: it waits with a change for as long as that only within some 7.5 s of the
	// one before.
	arrivals      = 3
	arrivalSize   = 20
	arrivalPeriod = 10 * time.Second
	// rolloutSize is how many come at a time during the rollout.
	rolloutSize = 5
)

// live is what was measured of one side with the settings it has by default.
type live struct {
	Rollout time.Duration // CPU per change
	// First are the times from an event to the first scrape, sorted: of targets that
	// came with nothing else going on, and of those that came during the rollout.
	First, FirstInRollout []time.Duration
}

// measureLive measures both sides at once, on the same API server.
func measureLive(ctx context.Context, r *result) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("measure both sides with %d pods: %w", r.pods, err)
		}
	}()
	api := newAPIServer()
	defer api.Close()
	m := &liveMeasure{}
	if m.population, err = populate(api, r.pods, liveInterval.String()); err != nil {
		return err
	}
	for _, s := range []liveSide{{name: sidePromlet, live: &r.promlet.live}, {name: sidePrometheus, live: &r.prometheus.live}} {
		s.scraped = newTargetServer()
		defer s.scraped.Close()
		var c *child
		if c, err = m.population.start(ctx, s.name, s.scraped, 0); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Stop()) }()
		m.sides, m.children = append(m.sides, s), append(m.children, c)
	}
	return m.run(ctx)
}

// liveMeasure is a measurement of both sides on one population.
type liveMeasure struct {
	population *population
	sides      []liveSide
	children   []*child // of the sides
}

type liveSide struct {
	name string
	*live
	scraped *targetServer
}

func (m *liveMeasure) run(ctx context.Context) error {
	for _, c := range m.children {
		if err := c.settle(ctx, len(m.population.targets())); err != nil {
			return err
		}
	}
	if err := m.rollout(ctx); err != nil {
		return err
	}
	if err := m.arrive(ctx); err != nil {
		return err
	}
	for _, c := range m.children {
		if err := m.population.check(c); err != nil {
			return err
		}
	}
	return nil
}

// rollout measures the CPU of changes that come one upon the other.
func (m *liveMeasure) rollout(ctx context.Context) error {
	came := map[string]time.Time{}
	used, took, err := usage(m.children, func() error {
		steps := time.NewTicker(rolloutStep)
		defer steps.Stop()
		for i := range rolloutChanges {
			<-steps.C
			if i%rolloutArrival == rolloutArrival/2 {
				m.bring(came, rolloutSize)
			} else {
				m.population.flip(i)
			}
		}
		return harness.Sleep(ctx, afterwards)
	})
	if err != nil {
		return err
	}
	// At rest there are the scrapes of the new targets, too.
	idle, slept, err := usage(m.children, func() error { return harness.Sleep(ctx, idling) })
	if err != nil {
		return err
	}
	for i, s := range m.sides {
		atRest := time.Duration(float64(idle[i]) / float64(slept) * float64(took))
		s.Rollout = (used[i] - atRest) / rolloutChanges
		if s.FirstInRollout, err = s.firstScrapes(ctx, came); err != nil {
			return err
		}
	}
	return nil
}

// bring makes n new targets, and notes when.
func (m *liveMeasure) bring(came map[string]time.Time, n int) {
	m.population.add(0, n, func(addresses []string) {
		for _, a := range addresses {
			came[a] = time.Now()
		}
	})
}

// arrive measures the time to the first scrape of targets that come by themselves.
func (m *liveMeasure) arrive(ctx context.Context) (err error) {
	came := map[string]time.Time{}
	for i := range arrivals {
		if i > 0 {
			if err := harness.Sleep(ctx, arrivalPeriod); err != nil {
				return err
			}
		}
		m.bring(came, arrivalSize)
	}
	for _, s := range m.sides {
		if s.First, err = s.firstScrapes(ctx, came); err != nil {
			return err
		}
	}
	return nil
}

// firstScrapes waits for the first scrapes of targets, and gives the times they took
// from when they came, sorted.
func (s liveSide) firstScrapes(ctx context.Context, came map[string]time.Time) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var took []time.Duration
	for address, at := range came {
		first, ok := s.scraped.asked(address)
		for ; !ok; first, ok = s.scraped.asked(address) {
			if err := harness.Sleep(ctx, poll); err != nil {
				return nil, fmt.Errorf("wait for %s to scrape a new target: %w", s.name, err)
			}
		}
		took = append(took, first.Sub(at))
	}
	slices.Sort(took)
	return took, nil
}
