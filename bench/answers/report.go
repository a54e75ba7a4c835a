package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

// What is expected of promlet, at most: of the answers marked so, and of its CPU while
// HorizontalPodAutoscalers ask.
const (
	expectedP50 = 2 * time.Millisecond
	expectedP99 = 10 * time.Millisecond
	expectedCPU = 20 // thousandths of one
)

// result is a row of a table.
type result struct {
	name string
	measured
	expected bool
}

// column is a kind of figure.
type column struct {
	name  string
	value func(measured) float64
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

func millicores(m measured) float64 { return 1e3 * m.cpu.Seconds() / m.took.Seconds() }

func columns() []column {
	return []column{
		{"requests/s", func(m measured) float64 { return float64(len(m.latencies)) / m.took.Seconds() }},
		{"p50 ms", func(m measured) float64 { return milliseconds(m.percentile(50)) }},
		{"p99 ms", func(m measured) float64 { return milliseconds(m.percentile(99)) }},
		{"CPU ms", func(m measured) float64 { return m.per(milliseconds(m.cpu)) }},
		{"allocations", func(m measured) float64 { return m.per(float64(m.allocations)) }},
		{"allocated KiB", func(m measured) float64 { return m.per(float64(m.allocated)) / 1024 }},
	}
}

// report prints the tables, how their figures came about, and what was expected.
func report(out io.Writer, results, polled []*result, b *bench) error {
	size := column{"answer KiB", func(m measured) float64 { return float64(m.size) / 1024 }}
	err := table(out, append(columns(), size), results, func(r *result) (notes string) {
		if r.expected {
			notes = fmt.Sprintf("p50 < %v, p99 < %v", expectedP50, expectedP99)
		}
		return notes
	})
	if err != nil {
		return err
	}
	if len(polled) > 0 {
		title := fmt.Sprintf("\n%d HorizontalPodAutoscalers, each asking every %v:\n", autoscalers, pollInterval)
		if _, err := io.WriteString(out, title); err != nil {
			return err
		}
		cpu := column{"CPU, 1/1000", millicores}
		reviews := column{"reviews/s", func(m measured) float64 { return float64(m.reviews) / m.took.Seconds() }}
		notes := func(*result) string { return fmt.Sprintf("CPU < %d", expectedCPU) }
		if err := table(out, append([]column{cpu, reviews}, columns()...), polled, notes); err != nil {
			return err
		}
	}
	verdict := "it holds"
	if missed := missed(results, polled); len(missed) > 0 {
		verdict = "missed: " + strings.Join(missed, "; ")
	}
	_, err = fmt.Fprintf(out, "\n%s\nExpected: %s.\n", explanation(b), verdict)
	return err
}

func table(out io.Writer, columns []column, results []*result, notes func(*result) string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	lines := []string{"\t"}
	for _, c := range columns {
		lines[0] += c.name + "\t"
	}
	lines[0] += "expected\t"
	for _, r := range results {
		// The names alone are aligned to the left.
		line := fmt.Sprintf("%-44s\t", r.name)
		for _, c := range columns {
			line += harness.Figure(c.value(r.measured)) + "\t"
		}
		lines = append(lines, line+notes(r)+"\t")
	}
	if _, err := fmt.Fprintln(w, strings.Join(lines, "\n")); err != nil {
		return err
	}
	return w.Flush()
}

// missed is what misses its expectation.
func missed(results, polled []*result) (all []string) {
	for _, r := range results {
		if p50 := r.percentile(50); r.expected && p50 >= expectedP50 {
			all = append(all, fmt.Sprintf("%s: p50 %.1f ms", r.name, milliseconds(p50)))
		}
		if p99 := r.percentile(99); r.expected && p99 >= expectedP99 {
			all = append(all, fmt.Sprintf("%s: p99 %.1f ms", r.name, milliseconds(p99)))
		}
	}
	for _, r := range polled {
		if cpu := millicores(r.measured); cpu >= expectedCPU {
			all = append(all, fmt.Sprintf("%s: CPU %.1f/1000", r.name, cpu))
		}
	}
	return all
}

func explanation(b *bench) string {
	return fmt.Sprintf(`Each pod exposes %d series of a counter, whose rate over %v by promlet's default rules is what is asked for, and a gauge,
scraped every %v; the pods of an application are behind one Service. Rows of so many pods are of a server with no others. One
answer of each kind was checked: all values, and that they are the rate.
%d clients ask without a pause for %v, each over a connection of its own, as kube-apiserver does: HTTP/2 and TLS, by its
certificate, for the HorizontalPodAutoscaler's account; on loopback, side by side with the server on %d CPUs. What that account
may do promlet asks the cluster's API server, which is the clients' process here, and remembers for a minute: that is
reviews. Protobuf is what the HorizontalPodAutoscaler asks for, JSON what people do. Large answers are compressed, as every
program in Go asks for: sizes are as sent. Discovery lists %s names that targets expose, each for three kinds of object; not
modified is what kube-apiserver hears when it asks again.
HorizontalPodAutoscalers ask for %v, evenly spread: half for the rate of a Deployment's pods, half for a Service's.
CPU and allocations are the server's, for each request: user and kernel time, garbage collection included, and the runtime's
counts. CPU in thousandths is its share of one.`,
		podSeries, rateWindow, scrapeInterval, clients, b.counting, runtime.NumCPU(), harness.Grouped(catalogNames), b.polling)
}
