package tsdb

import (
	"context"
	"math"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// recorder stands between the engine and the storage for the length of one query and notes, for each
// series of each selector, the time of the last sample that the engine read. The engine evaluates one
// query in one goroutine, so nothing here is locked.
type recorder struct {
	storage.Queryable
	skip       map[string]bool // series that are not there, by the bytes of their labels
	selections []*selection
}

// without returns the series that something was computed from and that do not count, as skip takes them.
func (r *recorder) without(counts func(Series) bool) map[string]bool {
	skip := map[string]bool{}
	for _, sel := range r.selections {
		for _, s := range sel.series {
			if s.contributed() && !counts(Series{Labels: s.Labels(), Last: time.UnixMilli(s.last), Stale: s.stale, Until: time.UnixMilli(sel.maxt)}) {
				skip[string(s.Labels().Bytes(nil))] = true
			}
		}
	}
	return skip
}

// Querier implements storage.Queryable.
func (r *recorder) Querier(mint, maxt int64) (storage.Querier, error) {
	q, err := r.Queryable.Querier(mint, maxt)
	if err != nil {
		return nil, err
	}
	return &recordingQuerier{Querier: q, to: r}, nil
}

type recordingQuerier struct {
	storage.Querier
	to *recorder
}

// Select implements storage.Querier.
func (q *recordingQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	sel := newSelection(hints)
	q.to.selections = append(q.to.selections, sel)
	if hints != nil {
		// The engine and saw leave out what is outside; cutting it off costs more.
		untrimmed := *hints
		untrimmed.DisableTrimming = true
		hints = &untrimmed
	}
	return &recordingSet{SeriesSet: q.Querier.Select(ctx, sorted, hints, ms...), to: sel, skip: q.to.skip}
}

// selection is one selector of the expression and the series it selected.
type selection struct {
	// mint and maxt bound the samples that the selector can use, both inclusive.
	mint, maxt int64
	// latestWins: the selector takes the last sample of its window, and none if that is a stale marker.
	// Otherwise it takes all samples of the window that are not.
	latestWins bool
	// least is how many samples a series must have to give a result at all.
	least  int
	series []*recordedSeries
}

// newSelection reads the hints that the engine gives with each selector.
func newSelection(hints *storage.SelectHints) *selection {
	if hints == nil {
		return &selection{mint: math.MinInt64, maxt: math.MaxInt64, latestWins: true, least: 1}
	}
	s := &selection{mint: hints.Start, maxt: hints.End, least: 1}
	switch {
	case hints.Step > 0:
		// In a subquery: evaluated at multiples of the step, so samples after the last multiple are
		// read but not used.
		s.maxt -= mod(hints.End, hints.Step)
	case hints.Range == 0:
		s.latestWins = true
	case needsTwo(hints.Func):
		s.least = 2
	}
	return s
}

func mod(a, b int64) int64 { return ((a % b) + b) % b }

// needsTwo tells the functions over a window that give nothing for a single sample.
func needsTwo(function string) bool {
	switch function {
	case "rate", "increase", "delta", "irate", "idelta", "deriv", "predict_linear", "double_exponential_smoothing":
		return true
	}
	return false
}

type recordingSet struct {
	storage.SeriesSet
	to   *selection
	skip map[string]bool
	buf  []byte
	cur  *recordedSeries
}

// Next implements storage.SeriesSet.
func (s *recordingSet) Next() bool {
	s.cur = nil
	for s.SeriesSet.Next() {
		if len(s.skip) == 0 {
			return true
		}
		s.buf = s.SeriesSet.At().Labels().Bytes(s.buf)
		if !s.skip[string(s.buf)] {
			return true
		}
	}
	return false
}

// At implements storage.SeriesSet.
func (s *recordingSet) At() storage.Series {
	if s.cur == nil {
		s.cur = &recordedSeries{Series: s.SeriesSet.At(), in: s.to, seen: math.MinInt64}
		s.to.series = append(s.to.series, s.cur)
	}
	return s.cur
}

// recordedSeries is a series and what the engine read of it.
type recordedSeries struct {
	storage.Series
	in    *selection
	seen  int64 // time of the last sample read
	stale bool  // that sample was a stale marker
	first int64 // time of the first sample read that was none
	next  int64 // of the one after it
	last  int64 // and of the last
	n     int   // number of samples read, markers not counted
}

// Iterator implements storage.Series. The engine passes the iterator of the previous series for reuse:
// it is one of ours and holds the storage's own, which is what the storage can reuse.
func (s *recordedSeries) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	if old, ok := it.(*recordingIterator); ok {
		old.Iterator = s.Series.Iterator(old.Iterator)
		old.to = s
		return old
	}
	return &recordingIterator{Iterator: s.Series.Iterator(it), to: s}
}

// saw notes one sample. The engine may read a sample twice, but never goes back.
func (s *recordedSeries) saw(t int64, stale bool) {
	if t <= s.seen || t < s.in.mint || t > s.in.maxt {
		return
	}
	s.seen, s.stale = t, stale
	if !stale {
		switch s.n {
		case 0:
			s.first, s.next = t, t
		case 1:
			s.next = t
		}
		s.last = t
		s.n++
	}
}

// contributed tells whether the selector got anything out of the series.
func (s *recordedSeries) contributed() bool {
	return s.n >= s.in.least && !(s.in.latestWins && s.stale)
}

type recordingIterator struct {
	chunkenc.Iterator
	to *recordedSeries
}

// At implements chunkenc.Iterator.
func (i *recordingIterator) At() (int64, float64) {
	t, v := i.Iterator.At()
	i.to.saw(t, value.IsStaleNaN(v))
	return t, v
}

// AtHistogram implements chunkenc.Iterator.
func (i *recordingIterator) AtHistogram(h *histogram.Histogram) (int64, *histogram.Histogram) {
	t, h := i.Iterator.AtHistogram(h)
	i.to.saw(t, value.IsStaleNaN(h.Sum))
	return t, h
}

// AtFloatHistogram implements chunkenc.Iterator.
func (i *recordingIterator) AtFloatHistogram(h *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	t, h := i.Iterator.AtFloatHistogram(h)
	i.to.saw(t, value.IsStaleNaN(h.Sum))
	return t, h
}
