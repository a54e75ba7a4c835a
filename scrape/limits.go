package scrape

import (
	"math"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"

	"github.com/promlet/promlet/scrape/internal/reason"
)

// limits are those of one job; 0 is no limit.
type limits struct {
	samples          int
	labels           int
	labelNameLength  int
	labelValueLength int
	buckets          int
	maxSchema        int32 // of native histograms; finer ones are made coarser
}

// maxSchemaFor is the finest schema whose buckets grow by at least factor.
// Those of schema n grow by 2^(2^-n). Factors of 1 and less set no bound.
func maxSchemaFor(factor float64) int32 {
	if factor <= 1 {
		return histogram.ExponentialSchemaMax
	}
	schema := math.Floor(-math.Log2(math.Log2(factor)))
	schema = min(schema, float64(histogram.ExponentialSchemaMax))
	schema = max(schema, float64(histogram.ExponentialSchemaMin))
	return int32(schema)
}

// checkLabels returns an error if the labels of a series exceed a limit.
func (l *limits) checkLabels(lset labels.Labels) error {
	name := lset.Get(model.MetricNameLabel)
	if l.labels > 0 {
		if n := lset.Len(); n > l.labels {
			return reason.Limitf("label", "label_limit exceeded (metric: %.50s, number of labels: %d, limit: %d)", name, n, l.labels)
		}
	}
	if l.labelNameLength == 0 && l.labelValueLength == 0 {
		return nil
	}
	return lset.Validate(func(lb labels.Label) error {
		if l.labelNameLength > 0 && len(lb.Name) > l.labelNameLength {
			return reason.Limitf("label", "label_name_length_limit exceeded (metric: %.50s, label name: %.50s, length: %d, limit: %d)",
				name, lb.Name, len(lb.Name), l.labelNameLength)
		}
		if l.labelValueLength > 0 && len(lb.Value) > l.labelValueLength {
			return reason.Limitf("label", "label_value_length_limit exceeded (metric: %.50s, label name: %.50s, value: %.50q, length: %d, limit: %d)",
				name, lb.Name, lb.Value, len(lb.Value), l.labelValueLength)
		}
		return nil
	})
}

// limitedAppender checks the samples of one scrape against the limits on their way to the
// storage, in Prometheus's order.
type limitedAppender struct {
	storage.AppenderV2
	limits *limits
	// minTime and maxTime are in ms: earlier and later timestamps are out of bounds.
	minTime, maxTime int64
	samples          int // counted so far
}

// Append implements storage.AppenderV2. Histograms may be changed.
func (a *limitedAppender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64,
	h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions,
) (storage.SeriesRef, error) {
	if h != nil || fh != nil {
		if err := a.limits.coarsen(h, fh); err != nil {
			return 0, err
		}
	}
	// A stale marker of a known series always gets through.
	if a.limits.samples > 0 && (ref == 0 || !value.IsStaleNaN(v)) {
		a.samples++
		if a.samples > a.limits.samples {
			return 0, reason.Limitf("sample", "sample_limit exceeded (limit: %d)", a.limits.samples)
		}
	}
	if t < a.minTime || t > a.maxTime {
		return 0, storage.ErrOutOfBounds
	}
	return a.AppenderV2.Append(ref, ls, st, t, v, h, fh, opts)
}

// coarsen reduces a native histogram to the finest schema allowed and to the bucket
// limit, if its kind can be reduced. One of h and fh is nil.
func (l *limits) coarsen(h *histogram.Histogram, fh *histogram.FloatHistogram) error {
	schema := func() int32 { return fh.Schema }
	buckets := func() int { return len(fh.PositiveBuckets) + len(fh.NegativeBuckets) }
	reduce := func(to int32) error { return fh.ReduceResolution(to) }
	if h != nil {
		schema = func() int32 { return h.Schema }
		buckets = func() int { return len(h.PositiveBuckets) + len(h.NegativeBuckets) }
		reduce = h.ReduceResolution
	}
	if histogram.IsExponentialSchemaReserved(schema()) && schema() > l.maxSchema {
		if err := reduce(l.maxSchema); err != nil {
			return err
		}
	}
	if l.buckets == 0 {
		return nil
	}
	for buckets() > l.buckets {
		if !histogram.IsExponentialSchema(schema()) || schema() <= histogram.ExponentialSchemaMin {
			return reason.Limitf("bucket", "native_histogram_bucket_limit exceeded (number of buckets: %d, limit: %d)", buckets(), l.buckets)
		}
		if err := reduce(schema() - 1); err != nil {
			return err
		}
	}
	return nil
}
