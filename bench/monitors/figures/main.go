package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

// timeLimit bounds the whole run, which takes half of it.
const timeLimit = 8 * time.Minute

func main() { harness.Main("figures", run) }

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("figures", flag.ContinueOnError)
	profiles := flags.String("profiles", "", "directory to write profiles of the CPU per change and the heap to (changes the figures a little)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	if flags.Arg(0) == childArgument {
		return runChild(ctx, os.Stdin, os.Stdout)
	}
	return figures(ctx, os.Stdout, *profiles)
}

// figures measures and prints.
func figures(ctx context.Context, w io.Writer, profiles string) error {
	results := []*result{{pods: 200}, {pods: 2000}}
	// promlet is mostly at rest, so that several do not disturb each other.
	err := atOnce(results, func(r *result) error {
		return measureAlone(ctx, &r.promlet.alone, sidePromlet, r.pods, profiles)
	})
	if err != nil {
		return err
	}
	for _, r := range results {
		if err := measureAlone(ctx, &r.prometheus.alone, sidePrometheus, r.pods, profiles); err != nil {
			return err
		}
		if err := r.sameTargets(); err != nil {
			return err
		}
	}
	// What is left is mostly waiting.
	if err := atOnce(results, func(r *result) error { return measureLive(ctx, r) }); err != nil {
		return err
	}
	return report(w, results)
}

func atOnce(results []*result, measure func(*result) error) error {
	errs := make([]error, len(results))
	var wg sync.WaitGroup
	for i, r := range results {
		wg.Go(func() { errs[i] = measure(r) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// sameTargets tells whether both sides came to the same URLs and labels before anything
// changed.
func (r *result) sameTargets() error {
	ours, theirs := r.promlet.targets, r.prometheus.targets
	for i, t := range ours {
		if i >= len(theirs) || t != theirs[i] {
			return fmt.Errorf("with %d pods Prometheus does not have promlet's target %s", r.pods, t)
		}
	}
	if !slices.Equal(ours, theirs) {
		return fmt.Errorf("with %d pods Prometheus has more targets than promlet: %d", r.pods, len(theirs))
	}
	return nil
}
