package main

import (
	"context"
	"flag"
	"os"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

// timeLimit bounds the whole run, which takes some three minutes.
const timeLimit = 8 * time.Minute

// serveArgument makes the program the targets.
const serveArgument = "serve"

func main() { harness.Main("process", run) }

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("process", flag.ContinueOnError)
	promlet := flags.String("promlet", "bin/promlet", "promlet's binary")
	prometheus := flags.String("prometheus", "bin/prometheus", "Prometheus's binary")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	if flags.Arg(0) == serveArgument {
		return serve(ctx, os.Stdin, os.Stdout)
	}
	results, err := measure(ctx, subjects(*promlet, *prometheus))
	if err != nil {
		return err
	}
	return report(os.Stdout, results)
}
