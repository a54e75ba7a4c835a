package resources

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

// report prints what both programs used, how their answers compare, and how it was measured.
func report(out io.Writer, results []*result, during time.Duration) error {
	var verdict harness.Verdict
	if err := harness.Table(out, costs(results, &verdict)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	if err := harness.Table(out, agreement(results, &verdict)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, `
Both programs run side by side on %d CPUs, with one kube-apiserver and the same flags, and scrape the same kubelets every 15s. A
kubelet has %d pods of %d containers, which it measures every %v. Both are asked for all nodes and all pods every %v for %v,
%v after both have answered for all. Memory is the mean of VmRSS and RssAnon of /proc before each time they are asked. CPU is
user and kernel time, without that of answering, which is the CPU of one list of all nodes and one of all pods. p50 is of a list
of all pods, as Protobuf, which the HPA controller asks for.
An answer is right if its CPU is the slope of its kubelet's counter between the two samples that its timestamp and window name,
and its memory the gauge at its timestamp. Answers from the same samples must be equal.
Expected of promlet: no more memory or CPU than metrics-server, no answer missing or wrong: %s.
`, runtime.NumCPU(), podsPerKubelet, containersPerPod, samplePeriod, askEvery, during, settling, verdict)
	return err
}

// costs returns a row for each number of kubelets and program.
func costs(results []*result, verdict *harness.Verdict) [][]string {
	rows := [][]string{{"", "resident MiB", "anonymous MiB", "most resident MiB", "CPU, 1/1000", "answering: CPU ms", "p50 ms"}}
	mib := func(bytes float64) float64 { return bytes / (1 << 20) }
	for _, r := range results {
		var figures [2][]float64
		for i, s := range r.sides {
			slices.Sort(s.latencies)
			figures[i] = []float64{
				mib(mean(s.resident)), mib(mean(s.anonymous)), mib(s.highest), millicores(s.cpu-s.listing, r.took),
				milliseconds(s.listing) / float64(len(s.latencies)), milliseconds(harness.Quantile(s.latencies, 0.5)),
			}
			row := []string{fmt.Sprintf("%s: %s", r, s.name)}
			for _, v := range figures[i] {
				row = append(row, harness.Figure(v))
			}
			rows = append(rows, row)
		}
		for _, i := range []int{0, 1, 3} { // the others follow from these, or from how busy the machine is
			name, ours, theirs := rows[0][1+i], figures[0][i], figures[1][i]
			verdict.Expect(ours <= theirs, "%s: %s %s, not %s", r, name, harness.Figure(ours), harness.Figure(theirs))
		}
	}
	return rows
}

// agreement returns a row for each number of kubelets.
func agreement(results []*result, verdict *harness.Verdict) [][]string {
	rows := [][]string{{
		"answers for nodes and pods", "asked", "same samples: equal", "unequal", "other samples",
		"promlet: missing", "wrong", "metrics-server: missing", "wrong",
	}}
	for _, r := range results {
		row := []string{r.String()}
		for _, n := range []int{r.asked, r.equal, r.unequal, r.other, r.missing[0], r.wrong[0], r.missing[1], r.wrong[1]} {
			row = append(row, harness.Grouped(n))
		}
		rows = append(rows, row)
		verdict.Expect(r.missing[0] == 0, "%s: %d missing", r, r.missing[0])
		verdict.Expect(r.wrong[0] == 0 && r.unequal == 0, "%s: %d wrong, %d unequal: %s", r, r.wrong[0], r.unequal, r.firstWrong)
	}
	return rows
}

func (r *result) String() string {
	if r.kubelets == 1 {
		return "1 kubelet"
	}
	return fmt.Sprintf("%d kubelets", r.kubelets)
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }
