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

// Vector is the result of an instant query, in the order in which the engine gave it.
type Vector []Sample

// Sample is one result of an instant query.
type Sample struct {
	Labels labels.Labels
	Value  float64

	// Last is when the last sample behind this result was taken: the oldest such time over the series it
	// was computed from, for a sum is as old as its oldest part. Zero when no series is behind it, as for
	// vector(1). Series that gave nothing (gone stale, or too few samples for a rate) do not count.
	//
	// Which series a result was computed from is told by its labels; see lastTimes. Where that is not
	// enough (labels made up by label_replace, both sides of an `or`), Last may be older than the
	// truth; it is newer only for a scalar() of series that differ from the result in a label.
	Last time.Time

	// First is when the first sample behind this result was taken: of all those read of the series it was
	// computed from. Zero when Last is.
	First time.Time

	// Paired is when the last of the series got its second sample.
	Paired time.Time

	// Waiting is how many series the query has read that have too few samples yet to count: one where a
	// rate takes two.
	Waiting int

	// Newest is when the last sample was taken of the series that has the newest, and Spacing the average
	// distance between the samples of the one that has them closest: 0 when none has two.
	Newest  time.Time
	Spacing time.Duration
}

// maxExprInError keeps an expression that names hundreds of pods from filling a log line.
const maxExprInError = 1 << 10

// Series is a series that a query has computed something from.
type Series struct {
	Labels labels.Labels
	Last   time.Time // when the last sample used was taken
	Stale  bool      // a stale marker comes after it
	Until  time.Time // up to when samples were used: before the query's time for an offset
}

// Instant evaluates a PromQL expression at a time. A scalar becomes one sample without labels.
//
// lookback is how old the sample behind an instant selector may be; 0 or less is
// Options.LookbackDelta. counts, if not nil, tells which series count: the result is as if those of which
// it says false were not there, whose samples a range would still hold. The query ends with ctx, with
// Options.QueryTimeout, or with Close (then the error is ErrClosed), whichever comes first.
func (db *DB) Instant(ctx context.Context, expr string, at time.Time, lookback time.Duration, counts func(Series) bool) (Vector, error) {
	if err := db.begin(); err != nil {
		return nil, err
	}
	defer db.running.Done()
	ctx, cancel := context.WithTimeout(ctx, db.opts.QueryTimeout)
	defer cancel()
	defer context.AfterFunc(db.closing, cancel)()

	vector, err := db.instant(ctx, expr, at, lookback, counts)
	switch {
	case err == nil:
		return vector, nil
	case db.closing.Err() != nil:
		return nil, fmt.Errorf("evaluate %s: %w", clip(expr), ErrClosed)
	default:
		return nil, fmt.Errorf("evaluate %s: %w", clip(expr), err)
	}
}

// instant evaluates a second time where series were used that do not count: how recent
// a series is, is known for nothing once it has been read.
func (db *DB) instant(ctx context.Context, expr string, at time.Time, lookback time.Duration, counts func(Series) bool) (Vector, error) {
	rec := &recorder{Queryable: db.store}
	vector, err := db.evaluate(ctx, rec, expr, at, lookback)
	if err != nil || counts == nil {
		return vector, err
	}
	without := rec.without(counts)
	if len(without) == 0 {
		return vector, nil
	}
	return db.evaluate(ctx, &recorder{Queryable: db.store, skip: without}, expr, at, lookback)
}

func (db *DB) evaluate(ctx context.Context, rec *recorder, expr string, at time.Time, lookback time.Duration) (Vector, error) {
	query, err := db.engine.NewInstantQuery(ctx, rec, promql.NewPrometheusQueryOpts(false, lookback), expr, at)
	if err != nil {
		return nil, err
	}
	defer query.Close()
	result := query.Exec(ctx)
	if result.Err != nil {
		return nil, result.Err
	}
	return toVector(result.Value, rec)
}

func toVector(v parser.Value, rec *recorder) (Vector, error) {
	switch v := v.(type) {
	case promql.Scalar:
		all := rec.times().all
		return Vector{all.sample(labels.EmptyLabels(), v.V)}, nil
	case promql.Vector:
		times := rec.times()
		vector := make(Vector, 0, len(v))
		for _, s := range v {
			if s.H != nil {
				return nil, fmt.Errorf("%s: %w", s.Metric, ErrHistogram)
			}
			sample := times.of(s.Metric).sample(s.Metric, s.F)
			sample.Waiting = times.waiting
			vector = append(vector, sample)
		}
		return vector, nil
	default:
		return nil, fmt.Errorf("%w but a %s", ErrNotVector, parser.DocumentedType(v.Type()))
	}
}

// clip shortens an expression for a message.
func clip(expr string) string {
	if len(expr) <= maxExprInError {
		return expr
	}
	return strings.ToValidUTF8(expr[:maxExprInError], "") + "…"
}
