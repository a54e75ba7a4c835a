// Package engines runs shards of promlet with Thanos as the engine, and prints what HorizontalPodAutoscalers read while a
// Thanos receiver and a shard are killed.
//
// Four shards divide the 2,000 pods of five Services, and write to a hashring of two Thanos receivers. Another promlet, which
// scrapes nothing, queries Thanos query. The run sends it the requests of one HPA for each Service. All true values are known.
//
// Each pod has its own address on loopback, so a run needs Linux.
package engines

import (
	"context"
	"errors"
	"flag"
	"io"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
	"github.com/promlet/promlet/bench/upstream"
)

const (
	name = "engines"

	scrapeInterval = 15 * time.Second
	// rateWindow is the shortest that promlet accepts.
	rateWindow     = 4 * scrapeInterval
	relistInterval = 10 * time.Second
	// endpointDelay is the time after which a Service no longer forwards to a killed receiver. Kubernetes takes about as long.
	endpointDelay = 10 * time.Second
)

// engines is a run.
type engines struct {
	options
	pods     []pod
	fleet    *fleet
	service  *service
	programs *programs
	client   *client
	timeline timeline
	cleanup  harness.Cleanup
}

// Command returns the subcommand. A run takes about eight minutes once Thanos is built.
func Command() harness.Command {
	e := &engines{options: options{promlet: "bin/promlet"}}
	return harness.Command{
		Name: name, Limit: 40 * time.Minute, // building Thanos takes up to half an hour
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&e.promlet, "promlet", e.promlet, "promlet's binary")
			flags.StringVar(&e.thanos, "thanos", "", "Thanos's binary; empty: build the one of bench/thanos, unless it is built already")
			flags.IntVar(&e.replication, "replication-factor", 2, "how many receivers have each series: 1 or 2")
			flags.BoolVar(&e.strict, "strict", false, "queries fail while a receiver is missing (--endpoint-strict and --no-query.partial-response of Thanos query)")
		},
		Run: func(ctx context.Context, out io.Writer) error {
			e.timeline.out = out
			return e.run(ctx)
		},
	}
}

func (e *engines) run(ctx context.Context) (err error) {
	if e.thanos == "" {
		e.timeline.printf("Thanos is built if it has not been. That takes minutes.\n")
		if e.thanos, err = upstream.BuildThanos(ctx, "bench/thanos"); err != nil {
			return err
		}
	}
	return harness.InTempDir(name, func(dir string) error {
		e.dir = dir
		return e.runIn(ctx)
	})
}

func (e *engines) runIn(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, e.cleanup.Stop()) }()
	if err := e.setUp(ctx); err != nil {
		return err
	}
	e.timeline.printf(`
%s pods of %d Services, %d shards of promlet, %d Thanos receivers with replication factor %d, scraped every %v, rates over %v.
"services/x" are the values of the Services as shares of the true ones, from the lowest to the highest. "pods/*" is the number of
pods with a value, "wrong" the number of those that are not within %g %% of the truth. "slowest" is the longest time of an answer.
`, harness.Grouped(len(e.pods)), services, shards, receivers, e.replication, scrapeInterval, rateWindow, 100*accuracy)
	e.timeline.head()
	for _, phase := range e.phases() {
		if err := e.runPhase(ctx, phase); err != nil {
			return err
		}
	}
	return e.report(ctx)
}

// setUp starts everything, and notes how to stop it.
func (e *engines) setUp(ctx context.Context) error {
	ports, err := harness.FreePorts(1 + 4*receivers + 2*(1+shards+1))
	if err != nil {
		return err
	}
	e.pods = newPods()
	if err := writeManifests(e.objects(), e.monitored(), e.pods, ports[0]); err != nil {
		return err
	}
	if e.fleet, err = startFleet(ctx, e.pods, ports[0]); err != nil {
		return err
	}
	e.cleanup.Add(e.fleet.stop)
	if e.service, err = startService(ctx); err != nil {
		return err
	}
	e.cleanup.Add(e.service.stop)
	if e.programs, err = newPrograms(e.options, e.service.url, ports[1:]); err != nil {
		return err
	}
	e.client = newClient(e.programs.asked)
	e.cleanup.Add(func() error { e.client.close(); return nil })
	for _, group := range [][]*program{e.programs.engine(), e.programs.promlets()} {
		e.timeline.began = time.Now() // the last one counts: when the shards start
		for _, p := range group {
			if err := p.start(ctx); err != nil {
				return err
			}
			e.cleanup.Add(func() error { p.stop(); return nil })
		}
		for _, p := range group {
			if err := p.waitReady(ctx, e.client.http); err != nil {
				return err
			}
		}
		e.service.set(e.programs.write...)
	}
	return nil
}
