// Package process measures what a whole promlet costs beside a whole Prometheus that
// scrapes the same targets: resident memory, CPU time, and the time from its start to
// its first answers; idle, and with 40 targets of 5,000 series each.
//
// The targets are a child process. promlet runs twice, with --ingest=demand and
// --ingest=all, on a directory of manifests with a HorizontalPodAutoscaler on one
// counter. Before any figure is printed each side must have answered that counter's
// rate, which is known.
//
// It reads /proc, and so needs Linux.
package process

import (
	"context"
	"flag"
	"io"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

const name = "process"

// Command is the subcommand. A run takes some three minutes.
func Command() harness.Command {
	promlet, prometheus := "bin/promlet", "bin/prometheus"
	return harness.Command{
		Name: name, Limit: 8 * time.Minute, Child: startTargets,
		Flags: func(flags *flag.FlagSet) {
			flags.StringVar(&promlet, "promlet", promlet, "promlet's binary")
			flags.StringVar(&prometheus, "prometheus", prometheus, "Prometheus's binary")
		},
		Run: func(ctx context.Context, out io.Writer) error {
			results, err := measure(ctx, subjects(promlet, prometheus))
			if err != nil {
				return err
			}
			return report(out, results)
		},
	}
}
