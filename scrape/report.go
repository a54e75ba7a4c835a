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

	"github.com/promlet/promlet/scrape/internal/names"
)

// The synthetic series, in the order in which they are written. Those from extraReports
// on are written only with extra_scrape_metrics. On demand only those are written that
// somebody reads.
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

// reportCount is the number of synthetic series that targets of the job may have.
func (s *settings) reportCount() int {
	if s.extraReports {
		return allReports
	}
	return extraReports
}

// hasReport reports whether a name is that of a synthetic series of the job.
func (s *settings) hasReport(name string) bool {
	for i := range s.reportCount() {
		if known, _, _ := reportInfo(i); known == name {
			return true
		}
	}
	return false
}

// changedReports returns the names of the job's synthetic series that somebody reads from now on, and those that nobody
// reads any more.
func (s *settings) changedReports(before, now *names.Demand) (begun, ended []string) {
	for i := range s.reportCount() {
		name, _, _ := reportInfo(i)
		switch was, is := before.Of(name) != names.Unread, now.Of(name) != names.Unread; {
		case is && !was:
			begun = append(begun, name)
		case was && !is:
			ended = append(ended, name)
		}
	}
	return begun, ended
}

// collectingReport reports whether some targets have not been scraped since a synthetic series has been wanted.
func (j *job) collectingReport(since int64, wanted bool) bool {
	for _, l := range j.loops {
		if !wanted || l.reportOrigin.now.Load().LastScrape.UnixMilli() < since {
			return true
		}
	}
	return false
}

// reports remembers the synthetic series of one loop that are stored.
type reports [allReports]struct {
	ref  storage.SeriesRef
	lset labels.Labels
}

// series returns the labels of all of them.
func (r *reports) series() (all []labels.Labels) {
	for _, one := range r {
		if one.ref != 0 {
			all = append(all, one.lset)
		}
	}
	return all
}

// report appends the synthetic series for a scrape at ts. Those that nobody reads any more end.
//
// up is stored without readers as well if the scrape has stored samples with timestamps of their
// own: a storage takes the time of its newest sample for now, and finds no series if that is old.
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
	demand, t := l.manager.demand.Load(), timestamp.FromTime(ts)
	for i := range l.settings.reportCount() {
		name, _, _ := reportInfo(i)
		needed := demand.Of(name) != names.Unread || i == reportUp && c.stamped
		if l.manager.opts.OnDemand && !needed {
			if err := l.forgetReport(app, i, t); err != nil {
				return err
			}
		} else if err := l.appendReport(app, i, t, v[i]); err != nil {
			return err
		}
	}
	return nil
}

// endReports ends the synthetic series at ts.
func (l *loop) endReports(app storage.AppenderV2, ts time.Time) error {
	for i := range l.reports {
		if err := l.appendReport(app, i, timestamp.FromTime(ts), math.Float64frombits(value.StaleNaN)); err != nil {
			return err
		}
	}
	return nil
}

// forgetReport ends a synthetic series that nobody reads any more.
func (l *loop) forgetReport(app storage.AppenderV2, i int, t int64) error {
	r := &l.reports[i]
	if r.ref == 0 {
		return nil
	}
	if err := l.appendReport(app, i, t, math.Float64frombits(value.StaleNaN)); err != nil {
		return err
	}
	l.manager.sources.remove(r.lset, l.reportOrigin)
	l.room.End(r.ref)
	r.ref, r.lset = 0, labels.EmptyLabels()
	return nil
}

// appendReport appends a sample of a synthetic series; a stale marker only if the series is stored.
func (l *loop) appendReport(app storage.AppenderV2, i int, t int64, v float64) error {
	r, stale := &l.reports[i], value.IsStaleNaN(v)
	name, unit, help := reportInfo(i)
	if r.ref == 0 {
		if stale {
			return nil
		}
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
