package answers

import (
	"fmt"
	"io"
	"runtime"
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

func millicores(m measured) float64 { return 1e3 * m.used.CPU.Seconds() / m.took.Seconds() }

func columns() []column {
	return []column{
		{"requests/s", func(m measured) float64 { return float64(len(m.latencies)) / m.took.Seconds() }},
		{"p50 ms", func(m measured) float64 { return milliseconds(harness.Quantile(m.latencies, 0.5)) }},
		{"p99 ms", func(m measured) float64 { return milliseconds(harness.Quantile(m.latencies, 0.99)) }},
		{"CPU ms", func(m measured) float64 { return m.per(milliseconds(m.used.CPU)) }},
		{"allocations", func(m measured) float64 { return m.per(float64(m.used.Allocations)) }},
		{"allocated KiB", func(m measured) float64 { return m.per(float64(m.used.Allocated)) / 1024 }},
	}
}

// report prints the tables, how their figures came about, and what was expected.
func report(out io.Writer, results, polled []*result, b *bench) error {
	var verdict harness.Verdict
	size := column{"answer KiB", func(m measured) float64 { return float64(m.size) / 1024 }}
	err := table(out, append(columns(), size), results, func(r *result) string {
		if !r.expected {
			return ""
		}
		p50, p99 := harness.Quantile(r.latencies, 0.5), harness.Quantile(r.latencies, 0.99)
		verdict.Expect(p50 < expectedP50, "%s: p50 %.1f ms", r.name, milliseconds(p50))
		verdict.Expect(p99 < expectedP99, "%s: p99 %.1f ms", r.name, milliseconds(p99))
		return fmt.Sprintf("p50 < %v, p99 < %v", expectedP50, expectedP99)
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "\n%d HorizontalPodAutoscalers, each asking every %v:\n", autoscalers, pollInterval); err != nil {
		return err
	}
	cpu := column{"CPU, 1/1000", millicores}
	reviews := column{"reviews/s", func(m measured) float64 { return float64(m.reviews) / m.took.Seconds() }}
	err = table(out, append([]column{cpu, reviews}, columns()...), polled, func(r *result) string {
		verdict.Expect(millicores(r.measured) < expectedCPU, "%s: CPU %.1f/1000", r.name, millicores(r.measured))
		return fmt.Sprintf("CPU < %d", expectedCPU)
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "\n%s\nExpected: %s.\n", explanation(b), verdict)
	return err
}

// table prints a row of figures for each result. If expected is not nil, it also prints the expectation.
func table(out io.Writer, columns []column, results []*result, expected func(*result) string) error {
	head := []string{""}
	for _, c := range columns {
		head = append(head, c.name)
	}
	if expected != nil {
		head = append(head, "expected")
	}
	rows := [][]string{head}
	for _, r := range results {
		row := []string{r.name}
		for _, c := range columns {
			row = append(row, harness.Figure(c.value(r.measured)))
		}
		if expected != nil {
			row = append(row, expected(r))
		}
		rows = append(rows, row)
	}
	return harness.Table(out, rows)
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
