package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

// timeLimit bounds the whole run, which takes some five minutes.
const timeLimit = time.Hour

// serveArgument makes the program the one that serves a body.
const serveArgument = "serve"

func main() { harness.Main("scraping", run) }

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("scraping", flag.ContinueOnError)
	profiles := flags.String("cpuprofile", "", "directory to write a CPU profile of each case to (changes the figures a little)")
	testdata := flags.String("testdata", "scrape/testdata", "directory of the exporters' bodies")
	only := flags.Int("series", 0, "measure only the body of so many series; 0 is all")
	counting := flags.Duration("counting", 4*interval, "how long scrapes count, of each case; longer is more exact, and profiles have more in them")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.Arg(0) == serveArgument {
		series, err := strconv.Atoi(flags.Arg(1))
		if err != nil {
			return fmt.Errorf("serve a body: %w", err)
		}
		return serve(os.Stdin, os.Stdout, *testdata, series)
	}
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	return figures(ctx, os.Stdout, *testdata, *profiles, *only, *counting)
}

// figures measures and prints.
func figures(ctx context.Context, w io.Writer, testdata, profiles string, only int, counting time.Duration) error {
	results, err := newResults(testdata, only)
	if err != nil {
		return err
	}
	b := &bench{testdata: testdata, targets: 10, body: results[0].body, warming: interval, counting: interval}
	// A rehearsal: what is made once for all is no case's.
	for _, c := range cases() {
		if _, err := b.try(ctx, c); err != nil {
			return err
		}
	}
	b.stacks = readStacks()
	b.profiles, b.warming, b.counting = profiles, warming, counting
	for _, r := range results {
		b.body, b.targets = r.body, r.targets
		for _, c := range cases() {
			if r.of[c], err = b.try(ctx, c); err != nil {
				return err
			}
		}
	}
	return report(w, results, counting)
}

// newResults prepares the bodies, each with the number of its targets.
func newResults(testdata string, only int) ([]*result, error) {
	var results []*result
	// With so many targets a side uses less than half a CPU, and there are moments when
	// all targets are between two scrapes.
	for _, size := range []struct{ series, targets int }{{100, 100}, {1_000, 60}, {10_000, 12}} {
		if only != 0 && size.series != only {
			continue
		}
		b, err := newBody(testdata, size.series)
		if err != nil {
			return nil, fmt.Errorf("make the body of %d series: %w", size.series, err)
		}
		results = append(results, &result{body: b, targets: size.targets, of: map[kase]measured{}})
	}
	if len(results) == 0 {
		return nil, fmt.Errorf("there is no body of %d series", only)
	}
	return results, nil
}
