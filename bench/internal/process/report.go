package process

import (
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/promlet/promlet/bench/internal/harness"
)

// expected is what is expected of promlet on demand: over Prometheus, at most.
const expected = 0.1

// row is a line of the table.
type row struct {
	name, unit string
	value      func(*result) float64
	expected   bool
}

func rows() []row {
	mib := func(bytes float64) float64 { return bytes / (1 << 20) }
	return []row{
		{"idle: resident memory", "MiB", func(r *result) float64 { return mib(r.idle.resident) }, false},
		{"idle: without pages of files", "MiB", func(r *result) float64 { return mib(r.idle.anonymous) }, false},
		{"idle: CPU", "% of one", func(r *result) float64 { return 100 * r.idle.cpu }, false},
		{"load: resident memory", "MiB", func(r *result) float64 { return mib(r.load.resident) }, false},
		{"load: without pages of files", "MiB", func(r *result) float64 { return mib(r.load.anonymous) }, false},
		{"load: most ever resident", "MiB", func(r *result) float64 { return mib(r.load.highest) }, false},
		{"growth over idle: resident memory", "MiB", func(r *result) float64 { return mib(r.load.resident - r.idle.resident) }, true},
		{"growth over idle: without pages of files", "MiB", func(r *result) float64 { return mib(r.load.anonymous - r.idle.anonymous) }, false},
		{"load: CPU", "% of one", func(r *result) float64 { return 100 * r.load.cpu }, true},
		{"load: series stored", "", func(r *result) float64 { return r.series }, false},
		{"start until ready, idle", "s", func(r *result) float64 { return r.ready.Seconds() }, false},
		{"start until the first rate, load", "s", func(r *result) float64 { return r.first.Seconds() }, false},
	}
}

// report prints the table, how its figures came about, and what was expected of them.
// The results are promlet's on demand, promlet's of everything and Prometheus's.
func report(out io.Writer, results []*result) error {
	head := []string{"", ""}
	for _, r := range results {
		head = append(head, r.name)
	}
	table := [][]string{append(head, "demand/Prometheus", "all/Prometheus", "expected")}
	var verdict harness.Verdict
	for _, row := range rows() {
		line := []string{row.name, row.unit}
		for _, r := range results {
			line = append(line, harness.Figure(row.value(r)))
		}
		theirs := row.value(results[len(results)-1])
		demand, all := row.value(results[0])/theirs, row.value(results[1])/theirs
		line = append(line, fmt.Sprintf("%.3f", demand), fmt.Sprintf("%.2f", all))
		if row.expected {
			line = append(line, fmt.Sprintf("<= %.2f", expected))
			verdict.Expect(demand <= expected, "%s: %.3f", row.name, demand)
		}
		table = append(table, line)
	}
	if err := harness.Table(out, table); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, `
%s
Expected of promlet on demand: at most a tenth of Prometheus's memory growth over idle and a tenth of its CPU: %s.
`, explanation(results), verdict)
	return err
}

func explanation(results []*result) string {
	var values []string
	for _, r := range results {
		values = append(values, fmt.Sprintf("%s %.1f", r.name, r.value))
	}
	return fmt.Sprintf(`Load: %d targets on loopback, one process that serves %s series of counters on each, scraped every %v; one
HorizontalPodAutoscaler reads the rate of one of the %d counters, %d series of each target. The programs run side by side on
%d CPUs, first without targets, then with; promlet that stores everything without its limit of series. All answered that
rate (%.0f a second) at the end: %s.
Memory: mean of VmRSS and RssAnon of /proc over %v idle, %v after the start; over %v with load, %v after the start
of the last. CPU: user and kernel time over the same times.
Ready: /readyz of promlet, /-/ready of Prometheus, each asked every %v, and started alone. The first rate: the HPA's metric
from promlet's API, the same expression from Prometheus's, as soon as some targets have two samples.`,
		targets, harness.Grouped(families*familySeries), scrapeInterval, families, familySeries,
		runtime.NumCPU(), trueRate(), strings.Join(values, ", "),
		idleSteady, idleSettling, loadSteady, loadSettling, poll)
}
