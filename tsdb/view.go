package tsdb

import (
	"context"
	"errors"
	"hash/maphash"
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
	grouping   *Grouping
	limit      int // of samples
	selections []*selection

	heavy   turn
	turned  bool // it has the turn
	arenas  *arenas
	memory  *arena
	unknown *Target // of series whose source is not known
	samples []point // of all series, one after the other
	held    int     // of them, without free places
	seed    maphash.Seed
}

// point is a sample. h is nil for a float.
type point struct {
	t int64
	v float64
	h *histogram.FloatHistogram
}

// *point implements chunks.Sample.

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

// seriesIn is a series of a selection and what was read of it. *seriesIn implements storage.Series and storage.Samples.
type seriesIn struct {
	view   *view
	labels labels.Labels
	target *Target // never nil
	// Of the series' Source, where it is known. Times are in milliseconds.
	known            bool
	exposed          uint64 // Source.Exposed
	first, collected int64  // Source.First and Since

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
	left          // its target is gone: it counts only where a sum is read before that
	waiting       // it will count once there are enough samples
)

// arena is the memory that a query reads into.
type arena struct {
	samples []point
	series  []seriesIn
}

// arenas keeps the memory of earlier queries for the next ones.
type arenas struct{ pool sync.Pool }

// maxArenaSamples and maxArenaSeries bound what an arena keeps, to about 3 MB.
const maxArenaSamples, maxArenaSeries = 1 << 16, 1 << 13

func (a *arenas) take() *arena {
	if spare, ok := a.pool.Get().(*arena); ok {
		return spare
	}
	return &arena{}
}

func (db *DB) view(e *epoch, q Query) (*view, error) {
	if q.Grouping == nil && q.Source != nil {
		expr, err := db.parser.ParseExpr(q.Expr)
		if err != nil {
			return nil, err
		}
		q.Grouping = NewGrouping(expr)
	}
	memory := db.arenas.take()
	return &view{
		store: e.store, query: q, at: q.At.UnixMilli(), grouping: q.Grouping, limit: db.opts.MaxSamples,
		heavy: db.heavy, seed: db.seed, arenas: &db.arenas, memory: memory, samples: memory.samples[:0], unknown: &Target{Interval: q.Interval},
	}, nil
}

// release gives the memory back. Nothing of the query may be read any more.
func (v *view) release() {
	if v.turned {
		defer v.heavy.giveBack()
	}
	if cap(v.samples) <= maxArenaSamples {
		clear(v.samples) // of histograms
		v.memory.samples = v.samples
	}
	if len(v.selections) > 0 && cap(v.selections[0].series) <= maxArenaSeries {
		clear(v.selections[0].series) // of labels
		v.memory.series = v.selections[0].series[:0]
	}
	v.arenas.pool.Put(v.memory)
}

// Querier implements storage.Queryable.
func (v *view) Querier(mint, maxt int64) (storage.Querier, error) {
	if v.query.Source != nil {
		mint -= before(v.query.LongestInterval, 0)
	}
	q, err := v.store.Querier(mint, maxt)
	if err != nil {
		return nil, err
	}
	return &viewQuerier{Querier: q, view: v}, nil
}

// before is how far before a window of some length a rate reads, in milliseconds: far enough for the sample that
// the window begins after, and to find two samples for a window that is shorter than the interval.
func before(interval time.Duration, window int64) int64 {
	ms := interval.Milliseconds()
	return max(ms*5/4, 2*FreshIntervals*ms-window)
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
	untrimmed := storage.SelectHints{Start: sel.start, End: sel.end, DisableTrimming: true}
	if sel.extends() {
		untrimmed.Start -= before(v.query.LongestInterval, sel.end-sel.start+1)
	}
	set := q.Querier.Select(ctx, false, &untrimmed, ms...)
	if len(v.selections) == 0 {
		sel.series = v.memory.series
	}
	v.selections = append(v.selections, sel)
	var it chunkenc.Iterator
	for set.Next() {
		series := set.At()
		it = series.Iterator(it)
		if err := v.readSeries(sel, series.Labels(), it); err != nil {
			return storage.ErrSeriesSet(err)
		}
		if v.held > heavySamples && !v.turned {
			v.turned = v.heavy.take(ctx)
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
	if sel.kind != readStored {
		v.decide(sel)
	}
	for i := range sel.series {
		v.window(sel, &sel.series[i])
	}
	return &viewSet{series: sel.series, at: -1, warnings: set.Warnings()}
}

// readSeries copies the samples of a series that the selection may use.
func (v *view) readSeries(sel *selection, ls labels.Labels, it chunkenc.Iterator) error {
	s := seriesIn{view: v, labels: ls, from: len(v.samples) + 1, target: v.unknown}
	from := sel.start
	if sel.kind != readStored {
		if source, known := v.query.Source(ls); known {
			s.known, s.target, s.exposed = true, source.Target, source.Exposed
			s.first, s.collected = milliseconds(source.First), milliseconds(source.Since)
		}
		if sel.extends() {
			from -= before(s.target.Interval, sel.end-sel.start+1)
		}
	}
	v.samples = append(v.samples, point{t: math.MinInt64})
	for typ := it.Seek(from); typ != chunkenc.ValNone; typ = it.Next() {
		var p point
		if typ == chunkenc.ValFloat {
			p.t, p.v = it.At()
		} else {
			p.t, p.h = it.AtFloatHistogram(nil)
		}
		if p.t > sel.end {
			break
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
	return &s.series[s.at]
}

// Err implements storage.SeriesSet.
func (*viewSet) Err() error { return nil }

// Warnings implements storage.SeriesSet.
func (s *viewSet) Warnings() annotations.Annotations { return s.warnings }

// Labels implements storage.Series.
func (s *seriesIn) Labels() labels.Labels { return s.labels }

// Iterator implements storage.Series.
func (s *seriesIn) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	if old, ok := it.(interface{ Reset(samples storage.Samples) }); ok {
		old.Reset(s)
		return it
	}
	return storage.NewListSeriesIteratorWithCopy(s)
}

// Len implements storage.Samples.
func (s *seriesIn) Len() int { return s.high - s.low }

// Get implements storage.Samples.
func (s *seriesIn) Get(i int) chunks.Sample { return &s.view.samples[s.low+i] }

// milliseconds is 0 for the zero time.
func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
