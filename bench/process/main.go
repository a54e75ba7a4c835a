package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// timeLimit bounds the whole run, which takes some three minutes.
const timeLimit = 8 * time.Minute

// serveArgument makes the program the targets.
const serveArgument = "serve"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "process:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("process", flag.ContinueOnError)
	promlet := flags.String("promlet", "bin/promlet", "promlet's binary")
	prometheus := flags.String("prometheus", "bin/prometheus", "Prometheus's binary")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
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
