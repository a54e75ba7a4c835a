package scrape

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
)

// addTargetLabels puts the labels of target on a scraped series. Where both have
// a label, honor says whose stays; the series' own is else kept under a name
// with exported_ before it.
func addTargetLabels(b *labels.Builder, lset labels.Labels, target *promscrape.Target, honor bool) {
	b.Reset(lset)
	if honor {
		target.LabelsRange(func(l labels.Label) {
			// An empty label in the body counts: it keeps the target's away.
			if !lset.Has(l.Name) {
				b.Set(l.Name, l.Value)
			}
		})
		return
	}
	var clashes []labels.Label
	target.LabelsRange(func(l labels.Label) {
		if own := lset.Get(l.Name); own != "" {
			clashes = append(clashes, labels.Label{Name: l.Name, Value: own})
		}
		b.Set(l.Name, l.Value)
	})
	// Short names first: job may need the place that exported_job has.
	slices.SortStableFunc(clashes, func(x, y labels.Label) int { return len(x.Name) - len(y.Name) })
	for _, l := range clashes {
		name := model.ExportedLabelPrefix + l.Name
		for b.Get(name) != "" {
			name = model.ExportedLabelPrefix + name
		}
		b.Set(name, l.Value)
	}
}

// seriesLabels gives the labels a scraped series is stored under; empty if metric
// relabelling drops it.
func seriesLabels(b *labels.Builder, lset labels.Labels, target *promscrape.Target, s *settings) labels.Labels {
	addTargetLabels(b, lset, target, s.honorLabels)
	if !relabel.ProcessBuilder(b, s.metricRelabel...) {
		return labels.EmptyLabels()
	}
	return b.Labels()
}

// reportLabels gives the labels of a synthetic series. As in Prometheus a
// target label named exported_x is lost on them if there is a label x.
func reportLabels(b *labels.Builder, name string, target *promscrape.Target) labels.Labels {
	b.Reset(labels.EmptyLabels())
	b.Set(model.MetricNameLabel, name)
	target.LabelsRange(func(l labels.Label) {
		b.Set(model.ExportedLabelPrefix+l.Name, "")
		b.Set(l.Name, l.Value)
	})
	return b.Labels()
}

// inFamily tells whether a series of this name belongs to the metric family, so
// that metadata read last is also its own. Text formats allow series without
// metadata after any family.
func inFamily(series, fam string, typ model.MetricType) bool {
	if !strings.HasPrefix(series, fam) {
		return false
	}
	var suffixes []string
	switch typ {
	case model.MetricTypeCounter:
		// The Prometheus text format has the suffix in the family's name too.
		fam = strings.TrimSuffix(fam, "_total")
		suffixes = []string{"_total"}
	case model.MetricTypeInfo:
		fam = strings.TrimSuffix(fam, "_info")
		suffixes = []string{"_info"}
	case model.MetricTypeHistogram:
		suffixes = []string{"_bucket", "_sum", "_count"}
	case model.MetricTypeGaugeHistogram:
		suffixes = []string{"_bucket", "_gsum", "_gcount"}
	case model.MetricTypeSummary:
		suffixes = []string{"_sum", "_count"}
	}
	for _, s := range suffixes {
		if base, ok := strings.CutSuffix(series, s); ok {
			return base == fam
		}
	}
	return series == fam
}
