package tsdb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// Errors of Instant, always wrapped with the expression. Those of the engine (promql.ErrQueryTimeout,
// promql.ErrTooManySamples, parser.ParseErrors, ...) are wrapped the same way.
var (
	// ErrNotVector is returned when an expression gives a range vector or a string.
	ErrNotVector = errors.New("the result is not an instant vector")

	// ErrHistogram is returned when an expression gives a native histogram, which is not one number.
	ErrHistogram = errors.New("the result is a native histogram: take a number from it with histogram_quantile, histogram_avg or histogram_count")
)

// Query is an expression to evaluate at one time.
type Query struct {
	// Expr is in PromQL. A scalar becomes one sample without labels.
	Expr string
	// At is when it is evaluated.
	At time.Time
	// Lookback is how old the sample behind an instant selector may be. 0 or less: Options.LookbackDelta.
	Lookback time.Duration

	// Source returns where a series comes from, false where that is not known. With it the engine reads a
	// view of the series (see the package's documentation); nil: it reads them as they are stored.
	Source func(series labels.Labels) (Source, bool)
	// Grouping is that of Expr, where the caller knows it. Nil: Expr is parsed for it.
	Grouping *Grouping
	// Object returns since when the object exists that a series is about (zero: not known), and whether it
	// is gone. It is called for series that have ended and for those that begin inside the window of an
	// increase(). Nil: nothing is known.
	Object func(series labels.Labels) (since time.Time, gone bool)
	// Interval is assumed between the samples of a series whose source is not known.
	Interval time.Duration
	// LongestInterval is the longest Interval of any source: how far before its window a rate may read.
	LongestInterval time.Duration
	// Warned is called for each warning of the engine, such as one about a rate of a gauge. Nil: warnings are dropped.
	Warned func(warning string)
}

// Vector is the result of an instant query, in the order in which the engine gave it.
type Vector []Sample

// Sample is one result of an instant query.
//
// A result is taken to be computed from the series that agree with it on every label that both have. Where labels
// do not decide (label_replace, both sides of an `or`), all series of the query count: Last may then be too old,
// never too new. One exception: series inside a scalar() are missed if they differ from the result in a label.
type Sample struct {
	Labels labels.Labels
	Value  float64

	// Last is when the last sample behind this result was taken: the oldest such time over its series, for a
	// sum is as old as its oldest part. Zero when no series is behind it, as for vector(1).
	Last time.Time

	// Window is how much of the ranges in the expression has been observed: the most over its series, and
	// the range at most. 0 for instant values.
	Window time.Duration

	// Brief reports that no series behind a rate has been observed for as long as its scrape interval. Moved
	// is by how much their counters have moved in that time.
	Brief bool
	Moved float64

	// Waiting reports that a target has given one sample, where a rate takes two.
	Waiting bool
}

// maxExprInError keeps an expression that names hundreds of pods from filling a log line.
const maxExprInError = 1 << 10

// Instant evaluates a query. It ends with ctx, with Options.QueryTimeout, with Close (then the error is
// ErrClosed) or with Renew (ErrRenewed), whichever comes first.
func (db *DB) Instant(ctx context.Context, q Query) (Vector, error) {
	e, err := db.enter()
	if err != nil {
		return nil, err
	}
	defer e.leave()
	ctx, done := e.within(ctx)
	defer done()
	ctx, cancel := context.WithTimeout(ctx, db.opts.QueryTimeout)
	defer cancel()

	vector, err := db.instant(ctx, e, q)
	switch {
	case err == nil:
		return vector, nil
	case e.ctx.Err() != nil:
		return nil, fmt.Errorf("evaluate %s: %w", clip(q.Expr), db.ended())
	default:
		return nil, fmt.Errorf("evaluate %s: %w", clip(q.Expr), err)
	}
}

func (db *DB) instant(ctx context.Context, e *epoch, q Query) (Vector, error) {
	v, err := db.view(e, q)
	if err != nil {
		return nil, err
	}
	defer v.release()
	query, err := db.engine.NewInstantQuery(ctx, v, promql.NewPrometheusQueryOpts(false, q.Lookback), q.Expr, q.At)
	if err != nil {
		return nil, err
	}
	defer query.Close()
	result := query.Exec(ctx)
	if result.Err != nil {
		return nil, result.Err
	}
	if q.Warned != nil {
		for _, warning := range result.Warnings.AsErrors() {
			q.Warned(warning.Error())
		}
	}
	return v.vector(result.Value)
}

// vector adds to the engine's results what the view knows of the series behind them.
func (v *view) vector(value parser.Value) (Vector, error) {
	switch value := value.(type) {
	case promql.Scalar:
		return Vector{v.behind(1).all.sample(labels.EmptyLabels(), value.V)}, nil
	case promql.Vector:
		behind := v.behind(len(value))
		vector := make(Vector, 0, len(value))
		for _, s := range value {
			if s.H != nil {
				return nil, fmt.Errorf("%s: %w", s.Metric, ErrHistogram)
			}
			vector = append(vector, behind.of(s.Metric).sample(s.Metric, s.F))
		}
		return vector, nil
	default:
		return nil, fmt.Errorf("%w but a %s", ErrNotVector, parser.DocumentedType(value.Type()))
	}
}

// clip shortens an expression for a message.
func clip(expr string) string {
	if len(expr) <= maxExprInError {
		return expr
	}
	return strings.ToValidUTF8(expr[:maxExprInError], "") + "…"
}
