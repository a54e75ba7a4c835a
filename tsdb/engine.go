package tsdb

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"

	"github.com/promlet/promlet/tsdb/querycost"
)

// engine is the PromQL engine, which refuses subqueries of too many steps before it evaluates them.
type engine struct {
	*promql.Engine
	maxSamples int
}

var _ promql.QueryEngine = (*engine)(nil)

// NewInstantQuery implements promql.QueryEngine.
func (e *engine) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error) {
	return e.affordable(e.Engine.NewInstantQuery(ctx, q, opts, qs, ts))
}

// NewRangeQuery implements promql.QueryEngine.
func (e *engine) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, interval time.Duration) (promql.Query, error) {
	return e.affordable(e.Engine.NewRangeQuery(ctx, q, opts, qs, start, end, interval))
}

// affordable gives a query that costs too much an error instead of a result.
func (e *engine) affordable(q promql.Query, err error) (promql.Query, error) {
	if err != nil {
		return nil, err
	}
	if stmt, ok := q.Statement().(*parser.EvalStmt); ok {
		if err := querycost.CheckRange(stmt.Expr, stmt.End.Sub(stmt.Start), stmt.Interval, e.maxSamples); err != nil {
			return &refusedQuery{Query: q, err: fmt.Errorf("%w: %w", promql.ErrTooManySamples("query execution"), err)}, nil
		}
	}
	return q, nil
}

// refusedQuery is a query that is not evaluated.
type refusedQuery struct {
	promql.Query
	err error
}

// Exec implements promql.Query.
func (q *refusedQuery) Exec(context.Context) *promql.Result { return &promql.Result{Err: q.err} }
