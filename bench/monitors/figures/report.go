package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

// What is expected: Prometheus's figure over promlet's, at least.
const (
	expectedCPU    = 10
	expectedMemory = 3
)

// result is everything measured with one number of pods.
type result struct {
	pods                int
	promlet, prometheus measured
}

// measured is everything measured of one side.
type measured struct {
	alone
	live
}

// row is a line of the table.
type row struct {
	name, unit string
	// value is a side's figure in the unit.
	value func(*measured) float64
	// least is what is expected of the ratio; 0 is nothing.
	least float64
}

func rows() []row {
	kib := func(bytes float64) float64 { return bytes / 1024 }
	ms := func(d time.Duration) float64 { return d.Seconds() * 1000 }
	seconds := func(sorted []time.Duration, q float64) float64 { return harness.Quantile(sorted, q).Seconds() }
	return []row{
		{"memory held per pod: heap", "KiB", func(m *measured) float64 { return kib(m.Heap) }, expectedMemory},
		{"memory held per pod: heap and stacks", "KiB", func(m *measured) float64 { return kib(m.Heap + m.Stacks) }, 0},
		{"CPU: one pod's readiness changes", "ms", func(m *measured) float64 { return ms(m.Flip) }, expectedCPU},
		{"CPU: one pod is replaced", "ms", func(m *measured) float64 { return ms(m.Replace) }, expectedCPU},
		{"CPU: one of 100 changes in 10 s", "ms", func(m *measured) float64 { return ms(m.Rollout) }, expectedCPU},
		{"first scrape after the event: median", "s", func(m *measured) float64 { return seconds(m.First, 0.5) }, 0},
		{"first scrape after the event: longest", "s", func(m *measured) float64 { return seconds(m.First, 1) }, 0},
		{"first scrape, among the 100 changes: median", "s", func(m *measured) float64 { return seconds(m.FirstInRollout, 0.5) }, 0},
		{"first scrape, among the 100 changes: longest", "s", func(m *measured) float64 { return seconds(m.FirstInRollout, 1) }, 0},
	}
}

// report prints the table, how its figures came about, and what was expected of them.
func report(out io.Writer, results []*result) error {
	lines := [][]string{{"", ""}, {"", ""}}
	for _, r := range results {
		lines[0] = append(lines[0], harness.Grouped(r.pods)+" pods", "", "")
		lines[1] = append(lines[1], "promlet", "Prometheus", "ratio")
	}
	var verdict harness.Verdict
	for _, row := range rows() {
		line := []string{row.name, row.unit}
		for _, r := range results {
			ours, theirs := row.value(&r.promlet), row.value(&r.prometheus)
			line = append(line, harness.Figure(ours), harness.Figure(theirs), harness.Figure(theirs/ours))
			verdict.Expect(theirs >= row.least*ours, "%s (%s pods)", row.name, harness.Grouped(r.pods))
		}
		lines = append(lines, line)
	}
	if err := harness.Table(out, lines); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s\n\nExpected: at most 1/%d of the CPU per change and 1/%d of the memory: %s.\n",
		explanation(results), expectedCPU, expectedMemory, verdict)
	return err
}

func explanation(results []*result) string {
	var counts []string
	for _, r := range results {
		counts = append(counts, fmt.Sprintf("%d+%d and %d+%d with %s pods",
			r.promlet.Flips, r.promlet.Replaces, r.prometheus.Flips, r.prometheus.Replaces, harness.Grouped(r.pods)))
	}
	return fmt.Sprintf(`Objects: %d Services with an EndpointSlice and a ServiceMonitor each, every second one with a relabeling, in one
namespace; pods of two containers, one of which has two ports. Each side is a process of its own, from informers over
HTTP (protobuf) to scrape loops that append to nothing; the API server is in another. They have %d CPUs. Prometheus's
configuration is prometheus-operator's. Both sides came to the same URLs and labels.
Memory: live heap after garbage collection, less that before the side began. By then promlet has scraped each pod twice,
one series of each, as it does with new targets; Prometheus has not begun to. No connection is open.
CPU: user and kernel time, less that of as long a time at rest. Single changes (readiness + replacements, promlet and
Prometheus: %s) are made when the one before is done with, and
each is an update of its own: Prometheus's two waits are set to %v. With their defaults of 5 s a change that comes
more than 10 s after another is an update of its own, too, of the same work. A readiness change is an event of the pod
and one of its slice; a replacement is a pod more, the slice, and a pod less, and promlet's first two scrapes of it.
100 changes in 10 s, and first scrapes: the defaults of both, on the same events. Changes that follow each other are
gathered by Prometheus for 5 s and more, by promlet for 0.1 to 1 s. %d of the 100 bring %d pods each, the others are of
readiness.
First scrapes: of %d pods in %d events %v apart, and of those among the 100 changes. Prometheus scrapes every target once
in %v, at an offset of its own, so that half of that is the least to expect of its median; promlet scrapes a new one at once.`,
		services, runtime.NumCPU(), strings.Join(counts, ", "), batch, rolloutChanges/rolloutArrival, rolloutSize,
		arrivals*arrivalSize, arrivals, arrivalPeriod, liveInterval)
}
