package tsdb

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// view is what the engine reads during one query: the stored series, less those that do not count, with
// samples at the edges of a rate's window where it has not been observed whole. It also remembers what was
// read. The engine evaluates one query in one goroutine, so nothing here is locked.
type view struct {
	store      storage.Queryable
	query      Query
	at         int64 // milliseconds
	grouping   grouping
	limit      int // of samples
	selections []*selection

	samples []point // of all series, one after the other
	held    int     // of them, without free places
	buf     []byte  // scratch
}

// point is a sample. h is nil for a float.
type point struct {
	t int64
	v float64
	h *histogram.FloatHistogram
}

// points implements storage.Samples, and *point chunks.Sample.
type points []point

func (p points) Len() int                { return len(p) }
func (p points) Get(i int) chunks.Sample { return &p[i] }

func (p *point) T() int64                      { return p.t }
func (*point) ST() int64                       { return 0 }
func (p *point) F() float64                    { return p.v }
func (*point) H() *histogram.Histogram         { return nil }
func (p *point) FH() *histogram.FloatHistogram { return p.h }

func (p *point) Type() chunkenc.ValueType {
	if p.h != nil {
		return chunkenc.ValFloatHistogram
	}
	return chunkenc.ValFloat
}

func (p *point) Copy() chunks.Sample {
	copied := *p
	if p.h != nil {
		copied.h = p.h.Copy()
	}
	return &copied
}

// stale reports whether it is a stale marker.
func (p *point) stale() bool {
	if p.h != nil {
		return value.IsStaleNaN(p.h.Sum)
	}
	return value.IsStaleNaN(p.v)
}

// seriesIn is a series of a selection and what was read of it.
type seriesIn struct {
	labels labels.Labels
	source Source
	known  bool // source is

	// The samples are view.samples[from:to], without stale markers; one place before and one behind them is
	// free. Those from window on are inside the window of the selector.
	from, window, to int
	// marker is the time of the stale marker after the last sample, 0 where there is none.
	marker int64

	state state
	// since is the time from which on the samples of a sum's parts are read, 0: the whole window.
	since int64
	// The engine reads view.samples[low:high].
	low, high int
	used      bool    // it gives the selector something
	observed  int64   // milliseconds of the window
	brief     bool    // less than the scrape interval has been observed
	moved     float64 // increase of a counter that was observed so briefly
}

// state is whether a series counts.
type state uint8

const (
	counts  state = iota
	dropped       // it is as if it were not there
	left          // it counts only until the others have been read twice since
	waiting       // it will count once there are enough samples
)

// arenas lends the memory that samples are read into.
//
//nolint:gochecknoglobals // A pool has no state that anybody could see.
var arenas = sync.Pool{New: func() any { return new([]point) }}

// maxArena bounds what is kept for the next query, in samples.
const maxArena = 1 << 16

func (db *DB) view(q Query) (*view, error) {
	expr, err := db.parser.ParseExpr(q.Expr)
	if err != nil {
		return nil, err
	}
	arena := *arenas.Get().(*[]point) //nolint:forcetypeassert // Nothing else is in it.
	return &view{store: db.store, query: q, at: q.At.UnixMilli(), grouping: newGrouping(expr, q.Apart), limit: db.opts.MaxSamples, samples: arena[:0]}, nil
}

// release gives the memory back. Nothing of the query may be read any more.
func (v *view) release() {
	if cap(v.samples) <= maxArena {
		clear(v.samples) // histograms
		arenas.Put(&v.samples)
	}
}

// Querier implements storage.Queryable.
func (v *view) Querier(mint, maxt int64) (storage.Querier, error) {
	if v.query.Source != nil {
		mint -= v.before(0)
	}
	q, err := v.store.Querier(mint, maxt)
	if err != nil {
		return nil, err
	}
	return &viewQuerier{Querier: q, view: v}, nil
}

// before is how far before a window of some length a rate reads, in milliseconds: far enough to bridge a
// failed scrape at its beginning, and to find two samples for a window that is shorter than the interval.
func (v *view) before(window int64) int64 {
	interval := v.query.LongestInterval.Milliseconds()
	return max(freshIntervals*interval, 2*freshIntervals*interval-window)
}

type viewQuerier struct {
	storage.Querier
	view *view
}

// Select implements storage.Querier.
func (q *viewQuerier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	v := q.view
	sel := v.newSelection(hints)
	// Cutting off what is outside costs more than passing over it.
	untrimmed := storage.SelectHints{Start: sel.from, End: sel.end, DisableTrimming: true}
	set := q.Querier.Select(ctx, false, &untrimmed, ms...)
	var it chunkenc.Iterator
	for set.Next() {
		series := set.At()
		it = series.Iterator(it)
		if err := v.readSeries(sel, series.Labels(), it); err != nil {
			return storage.ErrSeriesSet(err)
		}
		switch err := ctx.Err(); {
		case errors.Is(err, context.DeadlineExceeded):
			return storage.ErrSeriesSet(promql.ErrQueryTimeout("query execution"))
		case err != nil:
			return storage.ErrSeriesSet(promql.ErrQueryCanceled("query execution"))
		}
	}
	if err := set.Err(); err != nil {
		return storage.ErrSeriesSet(err)
	}
	v.selections = append(v.selections, sel)
	if sel.kind != readStored {
		v.decide(sel)
	}
	for i := range sel.series {
		v.window(sel, &sel.series[i])
	}
	return &viewSet{view: v, series: sel.series, at: -1, warnings: set.Warnings()}
}

// readSeries copies the samples of a series that the selection may use.
func (v *view) readSeries(sel *selection, ls labels.Labels, it chunkenc.Iterator) error {
	s := seriesIn{labels: ls, from: len(v.samples) + 1}
	v.samples = append(v.samples, point{t: math.MinInt64})
	for typ := it.Seek(sel.from); typ != chunkenc.ValNone; typ = it.Next() {
		p := point{t: it.AtT()}
		if p.t > sel.end {
			break
		}
		if typ == chunkenc.ValFloat {
			_, p.v = it.At()
		} else {
			_, p.h = it.AtFloatHistogram(nil)
		}
		s.marker = 0
		if p.stale() {
			s.marker = p.t
			if sel.kind != readStored {
				continue
			}
		}
		if sel.instant && len(v.samples) > s.from {
			v.samples[s.from] = p // only the last is of use
			continue
		}
		v.samples = append(v.samples, p)
		v.held++
	}
	if err := it.Err(); err != nil {
		return err
	}
	if v.held > v.limit {
		return promql.ErrTooManySamples("query execution")
	}
	s.to = len(v.samples)
	v.samples = append(v.samples, point{t: math.MaxInt64})
	if s.to == s.from {
		return nil
	}
	for s.window = s.to; s.window > s.from && v.samples[s.window-1].t >= sel.start; {
		s.window--
	}
	sel.series = append(sel.series, s)
	return nil
}

// viewSet is the series of a selection that count.
type viewSet struct {
	view     *view
	series   []seriesIn
	at       int
	warnings annotations.Annotations
}

// Next implements storage.SeriesSet.
func (s *viewSet) Next() bool {
	for s.at++; s.at < len(s.series); s.at++ {
		if one := &s.series[s.at]; one.state == counts && one.low < one.high {
			return true
		}
	}
	return false
}

// At implements storage.SeriesSet.
func (s *viewSet) At() storage.Series {
	one := &s.series[s.at]
	return viewSeries{labels: one.labels, samples: s.view.samples[one.low:one.high]}
}

// Err implements storage.SeriesSet.
func (*viewSet) Err() error { return nil }

// Warnings implements storage.SeriesSet.
func (s *viewSet) Warnings() annotations.Annotations { return s.warnings }

type viewSeries struct {
	labels  labels.Labels
	samples points
}

// Labels implements storage.Series.
func (s viewSeries) Labels() labels.Labels { return s.labels }

// Iterator implements storage.Series.
func (s viewSeries) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	if old, ok := it.(interface{ Reset(samples storage.Samples) }); ok {
		old.Reset(s.samples)
		return it
	}
	return storage.NewListSeriesIteratorWithCopy(s.samples)
}

// milliseconds is 0 for the zero time.
func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
