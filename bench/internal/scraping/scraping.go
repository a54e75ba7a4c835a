// Package scraping measures what a scrape costs, promlet's package scrape beside
// Prometheus's, on the same bodies in the same process: CPU time and allocations per
// scrape, and memory held per target between scrapes.
//
// The bodies are parts of a node exporter's and a kube-apiserver's, and are served over
// loopback by a child process, so that serving them is in no figure. Targets are scraped
// once a second by the scrape managers as they are; the storage of both is one that only
// hands out references.
package scraping

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

const (
	name = "scraping"
	// interval is the scrape interval of all targets.
	interval = time.Second
	// warming is how long targets are scraped before it counts: promlet scrapes new
	// ones at once and again after 3 s.
	warming = 4200 * time.Millisecond
)

// Command is the subcommand. A run takes some five minutes, from the repository's root.
func Command() harness.Command {
	counting := 4 * interval
	return harness.Command{
		Name: name, Limit: time.Hour, Child: startServer,
		Flags: func(flags *flag.FlagSet) {
			flags.DurationVar(&counting, "duration", counting, "how long scrapes count, of each case; longer is more exact")
		},
		Run: func(ctx context.Context, out io.Writer) error {
			results, err := newResults("scrape/testdata")
			if err != nil {
				return err
			}
			b := &bench{body: results[0].body, targets: 10, warming: interval, counting: interval}
			// A rehearsal: what is made once for all is no case's.
			for _, c := range cases() {
				if _, err := b.try(ctx, c); err != nil {
					return err
				}
			}
			b.stacks, b.warming, b.counting = readStacks(), warming, counting
			for _, r := range results {
				b.body, b.targets = r.body, r.targets
				for _, c := range cases() {
					if r.of[c], err = b.try(ctx, c); err != nil {
						return err
					}
				}
			}
			return report(out, results, counting)
		},
	}
}

// newResults prepares the bodies, each with the number of its targets.
func newResults(testdata string) ([]*result, error) {
	var results []*result
	// With so many targets a side uses less than half a CPU, and there are moments when
	// all targets are between two scrapes.
	for _, size := range []struct{ series, targets int }{{100, 100}, {1_000, 60}, {10_000, 12}} {
		b, err := newBody(testdata, size.series)
		if err != nil {
			return nil, fmt.Errorf("make the body of %d series: %w", size.series, err)
		}
		results = append(results, &result{body: b, targets: size.targets, of: map[kase]measured{}})
	}
	return results, nil
}
