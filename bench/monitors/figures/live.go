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
	api, err := newAPIServer()
	if err != nil {
		return err
	}
	defer api.Close()
	m := &liveMeasure{population: populate(api, r.pods, liveInterval.String())}
	defer func() { err = errors.Join(err, m.stop()) }()
	if err := m.start(ctx, sidePromlet, &r.promlet.live); err != nil {
		return err
	}
	if err := m.start(ctx, sidePrometheus, &r.prometheus.live); err != nil {
		return err
	}
	return m.run(ctx)
}

// liveMeasure is a measurement of both sides on one population.
type liveMeasure struct {
	population *population
	sides      []*liveSide
}

type liveSide struct {
	*process
	*live
	scraped *targetServer
}

// start starts a side, whose figures go into to.
func (m *liveMeasure) start(ctx context.Context, name string, to *live) error {
	scraped := newTargetServer()
	s, err := m.population.setup(name, scraped)
	if err != nil {
		scraped.Close()
		return err
	}
	c, err := startChild(ctx, s)
	if err != nil {
		scraped.Close()
		return err
	}
	m.sides = append(m.sides, &liveSide{process: c, live: to, scraped: scraped})
	return nil
}

func (m *liveMeasure) stop() error {
	var errs []error
	for _, s := range m.sides {
		errs = append(errs, s.Stop())
		s.scraped.Close()
	}
	return errors.Join(errs...)
}

func (m *liveMeasure) run(ctx context.Context) error {
	for _, s := range m.sides {
		if err := s.settle(ctx, len(m.population.targets())); err != nil {
			return err
		}
	}
	if err := m.rollout(ctx); err != nil {
		return err
	}
	if err := m.arrive(ctx); err != nil {
		return err
	}
	for _, s := range m.sides {
		if err := m.population.check(s.process); err != nil {
			return err
		}
	}
	return nil
}

// usage measures what each side uses, in order, and the time, while do runs.
func (m *liveMeasure) usage(do func() error) (used []time.Duration, took time.Duration, err error) {
	var before []reading
	for _, s := range m.sides {
		r, err := s.read(askCPU)
		if err != nil {
			return nil, 0, err
		}
		before = append(before, r)
	}
	began := time.Now()
	if err := do(); err != nil {
		return nil, 0, err
	}
	took = time.Since(began)
	for i, s := range m.sides {
		r, err := s.read(askCPU)
		if err != nil {
			return nil, 0, err
		}
		used = append(used, r.CPU-before[i].CPU)
	}
	return used, took, nil
}

// rollout measures the CPU of changes that come one upon the other.
func (m *liveMeasure) rollout(ctx context.Context) error {
	came := map[string]time.Time{}
	used, took, err := m.usage(func() error {
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
	idle, slept, err := m.usage(func() error { return harness.Sleep(ctx, idling) })
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
func (s *liveSide) firstScrapes(ctx context.Context, came map[string]time.Time) ([]time.Duration, error) {
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
