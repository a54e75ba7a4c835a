package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/promlet/promlet/tsdb"
)

const (
	// maxWarnings and maxWarning limit the number and the size, in bytes, of the engine's warnings that are shown.
	maxWarnings = 5
	maxWarning  = 300
)

// answer is the result of a query. Callers share it and must not change it.
type answer struct {
	vector   tsdb.Vector
	warnings []string
}

// Instant evaluates a query's Expr at its time At, and calls its Warned for each warning. Other fields of the query have
// no effect. The time of the results is that of the evaluation. Errors wrap an [*Error], tsdb.ErrNotVector or
// tsdb.ErrHistogram, and name the expression. Callers share the result and must not change it.
func (e *Engine) Instant(ctx context.Context, q tsdb.Query) (tsdb.Vector, error) {
	key := flightKey{e.Name(), q.Expr}
	f, err := e.join(ctx, key, q.At)
	if err != nil {
		return nil, fmt.Errorf("evaluate %s: %w", clip(q.Expr, maxDetail), err)
	}
	defer e.leave(key, f)
	select {
	case <-ctx.Done():
		err := newError(e.Name(), ctx.Err(), e.opts.Timeout)
		return nil, fmt.Errorf("evaluate %s: %w", clip(q.Expr, maxDetail), err)
	case <-f.done:
	}
	if f.err != nil {
		return nil, fmt.Errorf("evaluate %s: %w", clip(q.Expr, maxDetail), f.err)
	}
	if q.Warned != nil {
		for _, warning := range f.got.warnings {
			q.Warned(warning)
		}
	}
	return f.got.vector, nil
}

func (e *Engine) instant(ctx context.Context, expr string, at time.Time) (got answer, err error) {
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	case <-e.closing.Done():
		return answer{}, errClosed
	case <-ctx.Done():
		return answer{}, ctx.Err() // nobody waits
	case <-time.After(e.opts.Timeout):
		return answer{}, &Error{Engine: e.Name(), Reason: fmt.Sprintf("%d other queries are under way", cap(e.slots)), Unavailable: true}
	}
	var value model.Value
	var warnings v1.Warnings
	err = e.ask(ctx, func(ctx context.Context, api v1.API) (err error) {
		value, warnings, err = api.Query(ctx, expr, at)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	got.warnings = bounded(warnings)
	got.vector, err = vectorOf(value)
	return got, err
}

// bounded returns the first maxWarnings warnings, shortened.
func bounded(warnings v1.Warnings) (short []string) {
	for _, warning := range warnings[:min(len(warnings), maxWarnings)] {
		short = append(short, clip(warning, maxWarning))
	}
	return short
}

// vectorOf converts a result to a tsdb.Vector.
func vectorOf(value model.Value) (tsdb.Vector, error) {
	switch value := value.(type) {
	case *model.Scalar:
		return tsdb.Vector{{Value: float64(value.Value), Last: value.Timestamp.Time()}}, nil
	case model.Vector:
		vector := make(tsdb.Vector, 0, len(value))
		builder := labels.NewScratchBuilder(0)
		for _, s := range value {
			if s == nil || s.Timestamp == 0 {
				return nil, errors.New(malformed) // it is null, or has no value
			}
			of := labelsOf(&builder, s.Metric)
			if s.Histogram != nil {
				return nil, fmt.Errorf("%s: %w", of, tsdb.ErrHistogram)
			}
			vector = append(vector, tsdb.Sample{Labels: of, Value: float64(s.Value), Last: s.Timestamp.Time()})
		}
		return vector, nil
	case nil:
		return nil, errors.New(malformed)
	default:
		return nil, fmt.Errorf("%w but a %s", tsdb.ErrNotVector, value.Type())
	}
}

func labelsOf(b *labels.ScratchBuilder, metric model.Metric) labels.Labels {
	b.Reset()
	for name, value := range metric {
		b.Add(string(name), string(value))
	}
	b.Sort()
	return b.Labels()
}
