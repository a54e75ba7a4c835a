package tsdb

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"

	"github.com/promlet/promlet/tsdb/querycost"
)

// engine is the PromQL engine, which refuses to evaluate what costs more memory than it counts.
type engine struct {
	*promql.Engine
	db         *DB
	maxSamples int
}

var _ promql.QueryEngine = (*engine)(nil)

// NewInstantQuery implements promql.QueryEngine.
func (e *engine) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error) {
	counted := &labelCounter{Queryable: q, limit: e.maxSamples * sampleBytes}
	query, err := e.Engine.NewInstantQuery(ctx, counted, opts, qs, ts)
	return e.affordable(query, err, counted)
}

// NewRangeQuery implements promql.QueryEngine.
func (e *engine) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, interval time.Duration) (promql.Query, error) {
	counted := &labelCounter{Queryable: q, limit: e.maxSamples * sampleBytes}
	query, err := e.Engine.NewRangeQuery(ctx, counted, opts, qs, start, end, interval)
	return e.affordable(query, err, counted)
}

// affordable gives a query that costs too much an error instead of a result.
func (e *engine) affordable(q promql.Query, err error, counted *labelCounter) (promql.Query, error) {
	if err != nil {
		return nil, err
	}
	if stmt, ok := q.Statement().(*parser.EvalStmt); ok {
		if err := querycost.CheckRange(stmt.Expr, stmt.End.Sub(stmt.Start), stmt.Interval, e.maxSamples); err != nil {
			return &refusedQuery{Query: q, err: fmt.Errorf("%w: %w", promql.ErrTooManySamples("query execution"), err)}, nil
		}
		counted.growth = querycost.GrowthOf(stmt.Expr)
	}
	return &query{Query: q, db: e.db}, nil
}

// query counts as a user of the database while it runs, and ends with it.
type query struct {
	promql.Query
	db *DB
}

// Exec implements promql.Query.
func (q *query) Exec(ctx context.Context) *promql.Result {
	e, err := q.db.enter()
	if err != nil {
		return &promql.Result{Err: err}
	}
	defer e.leave()
	ctx, done := e.within(ctx)
	defer done()
	result := q.Query.Exec(ctx)
	if result.Err != nil && e.ctx.Err() != nil {
		result.Err = q.db.ended()
	}
	return result
}

// sampleBytes is the size of a sample in the engine's memory.
const sampleBytes = 16

// labelCounter is what a query reads. Where the query has label functions, it refuses to select series whose labels they could
// make longer than the samples may be that a query may hold.
type labelCounter struct {
	storage.Queryable
	growth querycost.LabelGrowth
	limit  int // in bytes
	bytes  float64
}

// Querier implements storage.Queryable.
func (c *labelCounter) Querier(mint, maxt int64) (storage.Querier, error) {
	q, err := c.Queryable.Querier(mint, maxt)
	if err != nil || !c.growth.Grows() {
		return q, err
	}
	return &labelCountingQuerier{Querier: q, counter: c}, nil
}

type labelCountingQuerier struct {
	storage.Querier
	counter *labelCounter
}

// Select implements storage.Querier.
func (q *labelCountingQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	return &labelCountingSet{SeriesSet: q.Querier.Select(ctx, sorted, hints, matchers...), counter: q.counter}
}

type labelCountingSet struct {
	storage.SeriesSet
	counter *labelCounter
}

func (s *labelCountingSet) exceeded() bool { return s.counter.bytes > float64(s.counter.limit) }

// Next implements storage.SeriesSet.
func (s *labelCountingSet) Next() bool {
	if s.exceeded() || !s.SeriesSet.Next() {
		return false
	}
	s.counter.bytes += s.counter.growth.Bytes(s.At().Labels().ByteSize())
	return !s.exceeded()
}

// Err implements storage.SeriesSet.
func (s *labelCountingSet) Err() error {
	if s.exceeded() {
		return fmt.Errorf("%w: its label functions could make more than %d bytes of labels: select fewer series", promql.ErrTooManySamples("query execution"), s.counter.limit)
	}
	return s.SeriesSet.Err()
}

// refusedQuery is a query that is not evaluated.
type refusedQuery struct {
	promql.Query
	err error
}

// Exec implements promql.Query.
func (q *refusedQuery) Exec(context.Context) *promql.Result { return &promql.Result{Err: q.err} }
