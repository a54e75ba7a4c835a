package engines

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

const (
	// lookedBack is long enough to begin before the receiver is killed.
	lookedBack = 5 * time.Minute
	// allSamples is the number of a series' samples in that time, without one at its edge.
	allSamples = int(lookedBack/scrapeInterval) - 1
)

// report prints how many samples the shards have sent, and whether samples are missing. It returns an error if samples are
// missing, or if a judged row was wrong.
func (e *engines) report(ctx context.Context) error {
	targets, err := e.reportShards(ctx)
	if err != nil {
		return err
	}
	complete, err := e.complete(ctx)
	if err != nil {
		return err
	}
	ofOthers := 0.0
	for i, n := range targets {
		if i != killedShard {
			ofOthers += n
		}
	}
	e.timeline.printf(`
A Service's value of %s was wrong or absent for at most %v without a break. By default an HPA scales down to the highest
recommendation of the last 5m0s, so a shorter time does not make it scale down.
`, rateMetric, e.timeline.longest.Round(time.Second))
	t := &e.timeline
	var verdict harness.Verdict
	verdict.Expect(t.judged > 0 && t.missed == 0, "%d of %d steady rows are wrong", t.missed, t.judged)
	verdict.Expect(complete >= ofOthers, "%.0f gauges are complete", complete)
	t.printf(`
Expected: no value is missing in the steady rows. The Services' values, the sums of their pods' values, and the values of %g %% of
the pods are within %g %% of the truth. The %.0f gauges of the shards that were not killed have all samples of the last %v: %s.
`, 100*(1-late), 100*accuracy, ofOthers, lookedBack, verdict)
	if len(verdict) > 0 {
		return errors.New(verdict.String())
	}
	return nil
}

// reportShards prints a table of the shards' own metrics, and returns the numbers of their targets.
func (e *engines) reportShards(ctx context.Context) (targets []float64, err error) {
	columns := []struct{ title, metric string }{
		{"targets", "promlet_scrape_targets"},
		{"samples sent", "prometheus_remote_storage_samples_total"},
		{"retried", "prometheus_remote_storage_samples_retried_total"},
		{"refused", "prometheus_remote_storage_samples_failed_total"},
		{"dropped", "prometheus_remote_storage_samples_dropped_total"},
		{"pending", "prometheus_remote_storage_samples_pending"},
	}
	rows := [][]string{{""}}
	for _, column := range columns {
		rows[0] = append(rows[0], column.title)
	}
	for i, web := range e.programs.shardWeb {
		text, err := e.client.get(ctx, web+"/metrics")
		if err != nil {
			return nil, err
		}
		row := []string{e.programs.shards[i].name}
		for _, column := range columns {
			row = append(row, harness.Figure(sum(text, column.metric)))
		}
		targets = append(targets, sum(text, columns[0].metric))
		rows = append(rows, row)
	}
	if _, err := io.WriteString(e.timeline.out, "\nThe shards since their last start:\n"); err != nil {
		return nil, err
	}
	return targets, harness.Table(e.timeline.out, rows)
}

// sum returns the sum of a metric's series in Prometheus's text format.
func sum(text []byte, metric string) (total float64) {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), metric)
		if !ok || !strings.HasPrefix(rest, "{") && !strings.HasPrefix(rest, " ") {
			continue
		}
		if v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64); err == nil {
			total += v
		}
	}
	return total
}

// complete returns the number of gauges with all their samples in Thanos.
func (e *engines) complete(ctx context.Context) (float64, error) {
	query := fmt.Sprintf("count(count_over_time(%s[%ds]) >= %d)", gaugeMetric, int(lookedBack.Seconds()), allSamples)
	text, err := e.client.get(ctx, e.programs.engineURL+"/api/v1/query?query="+url.QueryEscape(query))
	if err != nil {
		return 0, err
	}
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return 0, err
	}
	if len(answer.Data.Result) == 0 {
		return 0, nil
	}
	return strconv.ParseFloat(fmt.Sprint(answer.Data.Result[0].Value[1]), 64)
}
