// Package answers measures what promlet's answers cost: requests per second, how long
// they take, and the server's CPU time and allocations for each; and what the server uses
// when 500 HorizontalPodAutoscalers ask every 15 s.
//
// The server is a child process, so that asking is in no figure of CPU time and
// allocations: an adapter with the default rules and a TSDB that holds ten minutes of
// samples, served over TLS on loopback. It scrapes nothing.
package answers

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

const name = "answers"

// bench is how it is measured.
type bench struct {
	counting time.Duration // how long a question is asked
	polling  time.Duration // how long HorizontalPodAutoscalers ask
	cluster  *cluster
}

// Command is the subcommand. A run takes some four minutes.
func Command() harness.Command {
	b := &bench{}
	return harness.Command{
		Name: name, Limit: 15 * time.Minute, Child: startAdapter,
		Flags: func(flags *flag.FlagSet) {
			flags.DurationVar(&b.counting, "duration", 5*time.Second, "how long each question is asked; HorizontalPodAutoscalers ask for twelve times as long")
		},
		Run: func(ctx context.Context, out io.Writer) (err error) {
			b.polling = 12 * b.counting // each four times in the time by default
			if b.cluster, err = startCluster(ctx); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, b.cluster.stop()) }()
			results, err := b.questions(ctx)
			if err != nil {
				return err
			}
			polled, err := b.polls(ctx)
			if err != nil {
				return fmt.Errorf("poll: %w", err)
			}
			return report(out, results, polled, b)
		},
	}
}

// questions measures each question.
func (b *bench) questions(ctx context.Context) (results []*result, err error) {
	for _, s := range subjects() {
		err := b.with(ctx, s.fleet, func(server *server) error {
			for _, q := range s.questions {
				m, err := measure(ctx, server, q, b.counting)
				if err != nil {
					return fmt.Errorf("measure %s: %w", q.name, err)
				}
				results = append(results, &result{name: q.name, measured: m, expected: q.expected})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}

// polls measures HorizontalPodAutoscalers, spread over namespaces and all in one.
func (b *bench) polls(ctx context.Context) (results []*result, err error) {
	for _, namespaces := range []int{10, 1} {
		f := fleet{Namespaces: namespaces, Apps: autoscalers / namespaces, Pods: 10}
		err := b.with(ctx, f, func(server *server) error {
			m, err := b.poll(ctx, server, f.polls(), pollInterval)
			results = append(results, &result{name: f.String(), measured: m})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}

// server is the API server that is measured.
type server struct {
	address string
	client  tls.Certificate               // of the callers
	use     func() (harness.Usage, error) // what the server has used so far
	reviews func() int64                  // number of its SubjectAccessReviews so far
}

// with starts the server of a fleet in a process of its own, and ends it.
func (b *bench) with(ctx context.Context, f fleet, measure func(*server) error) (err error) {
	child, err := harness.StartChild(ctx, name, "server", setup{Fleet: f, ClusterDir: b.cluster.dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, child.Stop()) }()
	s := &server{client: b.cluster.client, use: child.Use, reviews: b.cluster.reviews.Load}
	if err := child.Ask("address", &s.address); err != nil {
		return err
	}
	return measure(s)
}
