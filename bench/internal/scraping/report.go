package scraping

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

// result is all that was measured with one body.
type result struct {
	*body
	targets int
	of      map[kase]measured
}

// row is a kind of figure.
type row struct {
	name, unit string
	value      func(measured) float64
	rough      bool // too much so for a ratio
}

func rows() []row {
	return []row{
		{"CPU per scrape", "µs", func(m measured) float64 { return m.cpu.Seconds() * 1e6 }, false},
		{"allocations per scrape", "", func(m measured) float64 { return m.allocations }, false},
		{"allocated per scrape", "KiB", func(m measured) float64 { return m.allocated / 1024 }, false},
		{"heap held per target", "KiB", func(m measured) float64 { return m.heap / 1024 }, false},
		{"stacks held per target", "KiB", func(m measured) float64 { return m.stacks / 1024 }, true},
	}
}

// expected is what promlet's figure is to be at most, over Prometheus's; 0 is nothing.
func expected(keeps, name string) float64 {
	return map[[2]string]float64{
		{everything, "CPU per scrape"}:               1,
		{everything, "heap held per target"}:         0.7,
		{onePercentOnDemand, "CPU per scrape"}:       0.15,
		{onePercentOnDemand, "heap held per target"}: 0.05,
	}[[2]string{keeps, name}]
}

// report prints the tables, how their figures came about, and what was expected.
func report(out io.Writer, results []*result, counting time.Duration) error {
	var verdict harness.Verdict
	title := "Bodies compressed where the scraper asks for it, as both do by themselves" + asked(results) + ":"
	if err := table(out, title, results, false, &verdict); err != nil {
		return err
	}
	// Without compression nothing is expected: it shows what decompression costs.
	title = "The same with bodies that are never compressed:"
	if err := table(out, title, results, true, &harness.Verdict{}); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, `%s
Expected, promlet's over Prometheus's: everything kept at most 1.00 of the CPU and 0.70 of the heap held; 1 %% kept at most
0.15 and 0.05: %s.
`, explanation(results, counting), verdict)
	return err
}

// asked tells which sides had compressed bodies.
func asked(results []*result) string {
	var plain []string
	for _, side := range []string{sidePromlet, sidePrometheus} {
		for _, r := range results {
			for c, m := range r.of {
				if c.side == side && !c.plain && !m.zipped {
					plain = append(plain, fmt.Sprintf("%s of %s series did not", c, harness.Grouped(r.series)))
				}
			}
		}
	}
	if len(plain) == 0 {
		return ""
	}
	slices.Sort(plain)
	return " (" + strings.Join(plain, ", ") + ")"
}

// table prints the figures with or without compression, and adds to what misses its
// expectation.
func table(out io.Writer, title string, results []*result, plain bool, verdict *harness.Verdict) error {
	lines := [][]string{{"", ""}, {"", ""}}
	for _, r := range results {
		lines[0] = append(lines[0], harness.Grouped(r.series)+" series", "", "")
		lines[1] = append(lines[1], "promlet", "Prometheus", "ratio")
	}
	lines[1] = append(lines[1], "expected")
	for _, keeps := range []string{everything, onePercentOnDemand, onePercentRelabelled} {
		for _, row := range rows() {
			line := []string{keeps + ": " + row.name, row.unit}
			most := expected(keeps, row.name)
			for _, r := range results {
				ours, theirs := r.pair(keeps, plain)
				ratio := row.value(ours) / row.value(theirs)
				text := fmt.Sprintf("%.2f", ratio)
				if row.rough {
					text = "-"
				}
				line = append(line, harness.Figure(row.value(ours)), harness.Figure(row.value(theirs)), text)
				verdict.Expect(most == 0 || ratio <= most, "%s: %s (%s series): %.3f", keeps, row.name, harness.Grouped(r.series), ratio)
			}
			if most > 0 {
				line = append(line, fmt.Sprintf("<= %.2f", most))
			}
			lines = append(lines, line)
		}
	}
	if _, err := fmt.Fprintln(out, title); err != nil {
		return err
	}
	if err := harness.Table(out, lines); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out)
	return err
}

// pair gives the figures of both sides. Prometheus keeps by relabelling always.
func (r *result) pair(keeps string, plain bool) (ours, theirs measured) {
	of := keeps
	if keeps == onePercentRelabelled {
		of = onePercentOnDemand
	}
	return r.of[kase{sidePromlet, keeps, plain}], r.of[kase{sidePrometheus, of, plain}]
}

func explanation(results []*result, counting time.Duration) string {
	var bodies []string
	for _, r := range results {
		scrapes := r.of[kase{sidePrometheus, everything, false}].scrapes
		bodies = append(bodies, fmt.Sprintf("%s series, %s KiB, 1 %% is %d names; %d targets, %d scrapes counted",
			harness.Grouped(r.series), harness.Figure(float64(len(r.text))/1024), len(r.kept), r.targets, scrapes))
	}
	return fmt.Sprintf(`Bodies, in Prometheus's text format, the first series of a node exporter's and a kube-apiserver's:
  %s.
They are served by another process; scrapes take them over loopback, from one address per target. Both scrape managers run
in this process, one after the other, on %d CPUs, each target once a second, and append to a storage that only hands out
references. Both appended the same number of samples to it, except that promlet on demand leaves out up and its like.
Prometheus keeps 1 %% by metric_relabel_configs; promlet by demand, or in the last rows by the same configuration.
CPU: user and kernel time of the process, garbage collection included, over the scrapes of %v, after %v that do
not count. Allocations: the runtime's counts over the same time.
Held: live heap after garbage has been collected twice, less that before, per target; at a moment when no scrape was on its
way, as the server's count of requests and the storage's of commits say, and with all connections closed: by the server,
which also makes every later one be used once. Stacks, to within some KiB: the least in eight collections, each of which
halves those that are too large.
`, strings.Join(bodies, ";\n  "), runtime.NumCPU(), counting, warming)
}
