package answers

import (
	"context"
	"math/rand/v2"
	"slices"
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

// measured is what answers cost.
type measured struct {
	took      time.Duration   // all together
	latencies []time.Duration // of each, sorted
	used      harness.Usage   // by the server, all together
	size      int             // of an answer, in bytes, as sent
	reviews   int64           // of what the caller may do, all together
}

// per is a total by answer.
func (m measured) per(total float64) float64 { return total / float64(len(m.latencies)) }

// measure lets all clients ask a question repeatedly for a duration.
func measure(ctx context.Context, s *server, q question, duration time.Duration) (m measured, err error) {
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
	m, err = count(s, func() ([]time.Duration, error) {
		until := time.Now().Add(duration)
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
	for _, w := range f.workloads() {
		q := podsOf(w.namespace, w.app, f)
		if w.number%2 == 1 {
			q = serviceOf(w.namespace, w.app, f)
		}
		q.accept = acceptAutoscaler
		questions = append(questions, q)
	}
	random := rand.New(rand.NewPCG(1, 2))
	random.Shuffle(len(questions), func(i, j int) { questions[i], questions[j] = questions[j], questions[i] })
	return questions
}

// poll asks all questions in each interval, evenly spread over it.
func (b *bench) poll(ctx context.Context, s *server, questions []question, interval time.Duration) (m measured, err error) {
	asking := newClients(s)
	defer asking.close()
	for i, q := range questions {
		if _, _, err := asking[i%clients].verify(ctx, q); err != nil {
			return m, err
		}
	}
	distance := interval / time.Duration(len(questions))
	total := int(b.polling / distance)
	return count(s, func() ([]time.Duration, error) {
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

// count measures what asking costs the server.
func count(s *server, ask func() ([]time.Duration, error)) (m measured, err error) {
	before, err := s.use()
	if err != nil {
		return m, err
	}
	reviews, began := s.reviews(), time.Now()
	if m.latencies, err = ask(); err != nil {
		return m, err
	}
	m.took = time.Since(began)
	after, err := s.use()
	m.used = harness.Usage{
		CPU: after.CPU - before.CPU, Allocations: after.Allocations - before.Allocations, Allocated: after.Allocated - before.Allocated,
	}
	m.reviews = s.reviews() - reviews
	slices.Sort(m.latencies)
	return m, err
}

// askers ask at the same time.
type askers []*client

func newClients(s *server) askers {
	all := make(askers, clients)
	for i := range all {
		all[i] = newClient(s.address, s.client)
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
