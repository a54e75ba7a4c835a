package httpapi

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/promlet/promlet/tsdb"
)

// queryable calls Options.Selected for each selector that is evaluated.
type queryable struct {
	db       *tsdb.DB
	selected func([]*labels.Matcher) func(found bool) error
	names    func() []string
}

var (
	_ storage.SampleAndChunkQueryable = (*queryable)(nil)
	_ storage.ExemplarQueryable       = (*queryable)(nil)
)

// Querier implements storage.Queryable.
func (q *queryable) Querier(mint, maxt int64) (storage.Querier, error) {
	querier, err := q.db.Querier(mint, maxt)
	if err != nil {
		return nil, err
	}
	return &watched{Querier: querier, queryable: q}, nil
}

// ChunkQuerier implements storage.ChunkQueryable: only remote reading asks for chunks.
func (*queryable) ChunkQuerier(int64, int64) (storage.ChunkQuerier, error) {
	return nil, errors.New("chunks are not served")
}

// ExemplarQuerier implements storage.ExemplarQueryable.
func (q *queryable) ExemplarQuerier(ctx context.Context) (storage.ExemplarQuerier, error) {
	return q.db.ExemplarQuerier(ctx)
}

// watched is a querier whose selectors are told of.
type watched struct {
	storage.Querier
	*queryable
	listed answerSize // of series
}

// Select implements storage.Querier.
func (w *watched) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	set := w.Querier.Select(ctx, sorted, hints, matchers...)
	if hints != nil && hints.Func == "series" {
		set = &sizedSet{SeriesSet: set, size: &w.listed}
	}
	if say := w.selected(matchers); say != nil {
		return &annotated{SeriesSet: set, say: say}
	}
	return set
}

// LabelNames implements storage.LabelQuerier.
func (w *watched) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	names, notes, err := w.Querier.LabelNames(ctx, hints, matchers...)
	names, err = list(names, err)
	return names, w.note(notes, matchers, len(names) > 0), err
}

// LabelValues implements storage.LabelQuerier. Whoever looks for names of metrics does not read their series.
func (w *watched) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	values, notes, err := w.Querier.LabelValues(ctx, name, hints, matchers...)
	values, err = list(values, err)
	if name != model.MetricNameLabel {
		return values, w.note(notes, matchers, len(values) > 0), err
	}
	return w.withExposed(values, matchers), notes, err
}

// withExposed adds the names that targets expose, as far as matchers on the name choose them: of labels that
// series have which are not stored, nothing is known.
func (w *watched) withExposed(stored []string, matchers []*labels.Matcher) []string {
	for _, m := range matchers {
		if m.Name != model.MetricNameLabel {
			return stored
		}
	}
	all := slices.Clone(stored)
	for _, name := range w.names() {
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(name) }) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (w *watched) note(notes annotations.Annotations, matchers []*labels.Matcher, found bool) annotations.Annotations {
	if len(matchers) == 0 {
		return notes
	}
	return with(notes, w.selected(matchers), found)
}

// with adds what there is to say.
func with(notes annotations.Annotations, say func(bool) error, found bool) annotations.Annotations {
	if say == nil {
		return notes
	}
	err := say(found)
	if err == nil {
		return notes
	}
	// Those of the storage are its own.
	all := annotations.New().Merge(notes)
	return all.Add(fmt.Errorf("%w: %w", annotations.PromQLInfo, err))
}

// annotated adds to the warnings of a set what there is to say about its selector.
type annotated struct {
	storage.SeriesSet
	say     func(found bool) error
	started bool // the first series has been looked for
	found   bool
	ahead   bool // and Next has not told of it yet
}

func (a *annotated) start() {
	if !a.started {
		a.started, a.ahead = true, true
		a.found = a.SeriesSet.Next()
	}
}

// Next implements storage.SeriesSet.
func (a *annotated) Next() bool {
	a.start()
	if a.ahead {
		a.ahead = false
		return a.found
	}
	return a.SeriesSet.Next()
}

// Warnings implements storage.SeriesSet. Some ask for them before they ask for series.
func (a *annotated) Warnings() annotations.Annotations {
	a.start()
	return with(a.SeriesSet.Warnings(), a.say, a.found)
}
