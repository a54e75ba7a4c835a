package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

const (
	// timeLimit bounds the whole run, which takes some four minutes.
	timeLimit = 15 * time.Minute
	// counting is how long a question is asked.
	counting = 5 * time.Second
	// polling is how long HorizontalPodAutoscalers ask: each four times.
	polling = 4 * pollInterval
)

// serveArgument makes the program the server of a fleet.
const serveArgument = "serve"

func main() { harness.Main("answers", run) }

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("answers", flag.ContinueOnError)
	profiles := flags.String("cpuprofile", "", "directory to write a CPU profile of the server to, for each question (changes the figures a little)")
	b := &bench{}
	flags.DurationVar(&b.counting, "counting", counting, "how long each question is asked")
	flags.DurationVar(&b.polling, "polling", polling, "how long HorizontalPodAutoscalers ask; 0 is not at all")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	if flags.Arg(0) == serveArgument {
		f, err := parseFleet(flags.Arg(1))
		if err != nil {
			return err
		}
		return serve(ctx, os.Stdin, os.Stdout, f, flags.Arg(2))
	}
	b.profiles = *profiles
	return b.figures(ctx, os.Stdout)
}

// figures measures and prints.
func (b *bench) figures(ctx context.Context, w io.Writer) (err error) {
	if b.cluster, err = startCluster(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.cluster.stop()) }()
	var results []*result
	for _, s := range subjects() {
		err := b.with(ctx, s.fleet, func(server *server) error {
			for _, q := range s.questions {
				m, err := b.measure(ctx, server, q)
				if err != nil {
					return fmt.Errorf("measure %s: %w", q.name, err)
				}
				results = append(results, &result{name: q.name, measured: m, expected: q.expected})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	polled, err := b.polls(ctx)
	if err != nil {
		return fmt.Errorf("poll: %w", err)
	}
	return report(w, results, polled, b)
}

// polls measures HorizontalPodAutoscalers, spread over namespaces and all in one.
func (b *bench) polls(ctx context.Context) (results []*result, err error) {
	if b.polling == 0 {
		return nil, nil
	}
	for _, namespaces := range []int{10, 1} {
		f := fleet{Namespaces: namespaces, Apps: autoscalers / namespaces, Pods: 10}
		err := b.with(ctx, f, func(server *server) error {
			m, err := b.poll(ctx, server, f.String(), f.polls(), pollInterval)
			results = append(results, &result{name: f.String(), measured: m})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}

// with starts the server of a fleet, and ends it.
func (b *bench) with(ctx context.Context, f fleet, measure func(*server) error) error {
	s, err := startServer(ctx, b.cluster, f)
	if err != nil {
		return err
	}
	return errors.Join(measure(s), s.stop())
}
