package scrape

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
)

// The synthetic series, in the order in which they are written. Those from extraReports
// on are written only with extra_scrape_metrics.
const (
	reportUp = iota
	reportDuration
	reportSamples
	reportKept
	reportSeriesAdded
	extraReports
)

const (
	reportTimeout = extraReports + iota
	reportSampleLimit
	reportBodySize
	allReports
)

// reportInfo returns the name, unit and help of a synthetic series.
func reportInfo(i int) (name, unit, help string) {
	info := [allReports][3]string{
		{"up", "targets", "1 if the last scrape of the target succeeded, else 0."},
		{"scrape_duration_seconds", "seconds", "How long the last scrape took."},
		{"scrape_samples_scraped", "samples", "Samples in the body of the last scrape."},
		{"scrape_samples_post_metric_relabeling", "samples", "Samples of the last scrape that metric relabelling left."},
		{"scrape_series_added", "series", "Series of the last scrape that were new."},
		{"scrape_timeout_seconds", "seconds", "Timeout of the scrapes of this target."},
		{"scrape_sample_limit", "samples", "Limit on the samples of a scrape, 0 for none."},
		{"scrape_body_size_bytes", "bytes", "Size of the last body after decompression; -1 if above its limit, 0 if the scrape failed otherwise."},
	}[i]
	return info[0], info[1], info[2]
}

// reports remembers the synthetic series of one loop.
type reports [allReports]struct {
	ref  storage.SeriesRef
	lset labels.Labels
}

// written reports whether any has been written.
func (r *reports) written() bool { return r[reportUp].ref != 0 }

// series returns the labels of those that have been written.
func (r *reports) series() (all []labels.Labels) {
	for _, one := range r {
		if one.ref != 0 {
			all = append(all, one.lset)
		}
	}
	return all
}

// report appends the synthetic series for a scrape at ts.
func (l *loop) report(app storage.AppenderV2, ts time.Time, took time.Duration, c counts, scrapeErr error) error {
	var v [allReports]float64
	if scrapeErr == nil {
		v[reportUp] = 1
	}
	v[reportDuration] = took.Seconds()
	v[reportSamples] = float64(c.scraped)
	v[reportKept] = float64(c.kept)
	v[reportSeriesAdded] = float64(c.seriesAdded)
	v[reportTimeout] = l.targetSettings.timeout.Seconds()
	v[reportSampleLimit] = float64(l.settings.limits.samples)
	v[reportBodySize] = float64(c.bytes)
	return l.appendReports(app, timestamp.FromTime(ts), v, false)
}

// reportStale ends the synthetic series at ts.
func (l *loop) reportStale(app storage.AppenderV2, ts time.Time) error {
	var v [allReports]float64
	for i := range v {
		v[i] = math.Float64frombits(value.StaleNaN)
	}
	return l.appendReports(app, timestamp.FromTime(ts), v, true)
}

func (l *loop) appendReports(app storage.AppenderV2, t int64, values [allReports]float64, stale bool) error {
	n := extraReports
	if l.settings.extraReports {
		n = allReports
	}
	for i, v := range values[:n] {
		r := &l.reports[i]
		name, unit, help := reportInfo(i)
		if r.ref == 0 {
			r.lset = reportLabels(labels.NewBuilderWithSymbolTable(l.settings.symbols), name, l.target)
		}
		ref, err := app.Append(r.ref, r.lset, 0, t, v, nil, nil, storage.AOptions{
			MetricFamilyName: name,
			Metadata:         metadata.Metadata{Type: model.MetricTypeGauge, Unit: unit, Help: help},
			RejectOutOfOrder: stale,
		})
		switch {
		case err == nil:
			if r.ref == 0 {
				l.manager.sources.add(r.lset, l.reportOrigin, nil, 0, t, t)
			}
			if r.ref != ref {
				l.room.Claim(ref, r.lset, 0)
			}
			r.ref = ref
		case errors.Is(err, storage.ErrOutOfOrderSample), errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
			// The body may hold a series of this name.
		default:
			return fmt.Errorf("append %s: %w", name, err)
		}
	}
	return nil
}

// reportLabels returns the labels of a synthetic series. As in Prometheus, a target
// label named exported_x is lost on them if there is a label x.
func reportLabels(b *labels.Builder, name string, target *promscrape.Target) labels.Labels {
	b.Reset(labels.EmptyLabels())
	b.Set(model.MetricNameLabel, name)
	target.LabelsRange(func(l labels.Label) {
		b.Set(model.ExportedLabelPrefix+l.Name, "")
		b.Set(l.Name, l.Value)
	})
	return b.Labels()
}
