package scrape

import (
	"slices"

	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
)

// addTargetLabels puts the labels of target on a scraped series. Where both have a
// label, the series' own stays with honor. Without, it is moved to a name with exported_
// before it.
func addTargetLabels(b *labels.Builder, lset labels.Labels, target *promscrape.Target, honor bool) {
	b.Reset(lset)
	if honor {
		target.LabelsRange(func(l labels.Label) {
			// An empty label in the body counts as one.
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

// seriesLabels returns the labels that a scraped series is stored under; none if metric
// relabelling drops it. foreign reports whether the job would give it to another namespace.
func seriesLabels(b *labels.Builder, lset labels.Labels, target *promscrape.Target, s *settings) (stored labels.Labels, foreign bool) {
	addTargetLabels(b, lset, target, s.honorLabels)
	if !relabel.ProcessBuilder(b, s.metricRelabel...) {
		return labels.EmptyLabels(), false
	}
	foreign = s.namespace.pin(b)
	return b.Labels(), foreign
}
