package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/promlet/promlet/bench/internal/harness"
)

const (
	clients = 4
	// warming is how many requests of each client do not count.
	warming = 25
	// maxRequests bounds a measurement, of all clients together.
	maxRequests = 200_000

	// So many HorizontalPodAutoscalers ask so often.
	autoscalers  = 500
	pollInterval = 15 * time.Second
)

// bench is how it is measured.
type bench struct {
	counting, polling time.Duration
	profiles          string // directory, "" for none
	cluster           *cluster
}

// measured is what answers cost.
type measured struct {
	took      time.Duration   // all together
	latencies []time.Duration // of each, sorted
	// Of the server, all together; bytes.
	cpu                    time.Duration
	allocations, allocated uint64
	size                   int   // of an answer, in bytes, as sent
	reviews                int64 // of what the caller may do, all together
}

// percentile is the time within which so many of a hundred answers came.
func (m measured) percentile(p int) time.Duration {
	if len(m.latencies) == 0 {
		return 0
	}
	return m.latencies[min(len(m.latencies)*p/100, len(m.latencies)-1)]
}

// per is a total by answer.
func (m measured) per(total float64) float64 { return total / float64(len(m.latencies)) }

// measure has all clients ask a question over and over.
func (b *bench) measure(ctx context.Context, s *server, q question) (m measured, err error) {
	asking := newClients(s)
	defer asking.close()
	first, tag, err := asking[0].verify(ctx, q)
	if err != nil {
		return m, err
	}
	if _, err := asking.ask(ctx, func(c *client, i int) (answer, bool, error) {
		a, err := c.ask(ctx, q, tag)
		return a, i < warming, err
	}); err != nil {
		return m, err
	}
	m, err = b.count(s, q.name, func() ([]time.Duration, error) {
		until := time.Now().Add(b.counting)
		return asking.ask(ctx, func(c *client, i int) (answer, bool, error) {
			a, err := c.ask(ctx, q, tag)
			return a, i < maxRequests/clients && time.Now().Before(until), err
		})
	})
	m.size = len(first.text)
	return m, err
}

// polls are what HorizontalPodAutoscalers of a fleet's applications ask, half for the pods
// of one, half for its Service, in no order: one in step with a profile's samples would
// show one half only.
func (f fleet) polls() []question {
	var questions []question
	_ = f.each(func(namespace, app string, number int) error { // it has no error
		q := podsOf(namespace, app, f)
		if number%2 == 1 {
			q = serviceOf(namespace, app, f)
		}
		q.accept = acceptAutoscaler
		questions = append(questions, q)
		return nil
	})
	random := rand.New(rand.NewPCG(1, 2))
	random.Shuffle(len(questions), func(i, j int) { questions[i], questions[j] = questions[j], questions[i] })
	return questions
}

// poll asks all questions in each interval, evenly spread over it.
func (b *bench) poll(ctx context.Context, s *server, name string, questions []question, interval time.Duration) (m measured, err error) {
	asking := newClients(s)
	defer asking.close()
	for i, q := range questions {
		if _, _, err := asking[i%clients].verify(ctx, q); err != nil {
			return m, err
		}
	}
	distance := interval / time.Duration(len(questions))
	total := int(b.polling / distance)
	return b.count(s, name, func() ([]time.Duration, error) {
		began := time.Now()
		return asking.ask(ctx, func(c *client, i int) (answer, bool, error) {
			n := i*clients + slices.Index(asking, c)
			if err := harness.Sleep(ctx, time.Until(began.Add(time.Duration(n)*distance))); err != nil {
				return answer{}, false, err
			}
			a, err := c.ask(ctx, questions[n%len(questions)], "")
			return a, n+clients < total, err
		})
	})
}

// count tells what asking costs the server.
func (b *bench) count(s *server, name string, ask func() ([]time.Duration, error)) (m measured, err error) {
	if b.profiles != "" {
		file := filepath.Join(b.profiles, strings.NewReplacer(" ", "-", "/", "-", ",", "", "*", "all").Replace(name)+".cpu.pprof")
		if err := s.ask(askProfile + " " + file); err != nil {
			return m, err
		}
		defer func() { err = errors.Join(err, s.ask(askProfiled)) }()
	}
	if err := s.ask(askState); err != nil {
		return m, err
	}
	before, reviews, began := s.state, s.cluster.reviews.Load(), time.Now()
	if m.latencies, err = ask(); err != nil {
		return m, err
	}
	m.took = time.Since(began)
	if err := s.ask(askState); err != nil {
		return m, err
	}
	m.cpu, m.reviews = s.CPU-before.CPU, s.cluster.reviews.Load()-reviews
	m.allocations, m.allocated = s.Allocations-before.Allocations, s.Allocated-before.Allocated
	slices.Sort(m.latencies)
	return m, nil
}

// askers ask at the same time.
type askers []*client

func newClients(s *server) askers {
	all := make(askers, clients)
	for i := range all {
		all[i] = newClient(s.Address, s.cluster.client)
	}
	return all
}

func (all askers) close() {
	for _, c := range all {
		c.close()
	}
}

// ask has each client go on until next, which is given how often it did, tells it not to,
// and returns how long each answer took.
func (all askers) ask(ctx context.Context, next func(c *client, i int) (a answer, more bool, err error)) ([]time.Duration, error) {
	took := make([][]time.Duration, len(all))
	group, ctx := errgroup.WithContext(ctx)
	for at, c := range all {
		group.Go(func() error {
			for i, more := 0, true; more && ctx.Err() == nil; i++ {
				a, again, err := next(c, i)
				if err != nil {
					return err
				}
				took[at] = append(took[at], a.took)
				more = again
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(took...), nil
}
