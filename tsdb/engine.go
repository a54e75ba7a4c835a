package tsdb

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
)

// samplesVisited is how many times Options.MaxSamples the function around a subquery may look at, in all its steps
// together: a second's work. The engine does not look at the query's timeout in between.
const samplesVisited = 100

// engine is the PromQL engine, which refuses subqueries of too many steps. The engine takes 16 bytes for each step
// before it counts the first sample.
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

// affordable closes a query that costs too much.
func (e *engine) affordable(q promql.Query, err error) (promql.Query, error) {
	if err != nil {
		return nil, err
	}
	stmt, ok := q.Statement().(*parser.EvalStmt)
	if !ok {
		return q, nil
	}
	if err := checkSteps(stmt.Expr, steps{span: stmt.End.Sub(stmt.Start), step: stmt.Interval}, e.maxSamples); err != nil {
		q.Close()
		return nil, err
	}
	return q, nil
}

// CheckSteps returns an error if an instant query would be refused because its subqueries take more steps than a query
// may hold samples (0: DefaultMaxSamples). The error names the subquery.
func CheckSteps(expr parser.Expr, maxSamples int) error {
	if maxSamples == 0 {
		maxSamples = DefaultMaxSamples
	}
	// It evaluates durations such as [5m * 2:].
	expr, err := promql.PreprocessExpr(expr, time.Time{}, time.Time{}, 0)
	if err != nil {
		return err
	}
	return checkSteps(expr, steps{}, maxSamples)
}

// steps are the times at which an expression is evaluated.
type steps struct{ span, step time.Duration }

func (s steps) count() float64 {
	if s.step <= 0 {
		return 1
	}
	return float64(s.span/s.step) + 1
}

// checkSteps looks at the subqueries of an expression that is evaluated at some steps.
func checkSteps(node parser.Node, at steps, maxSamples int) error {
	switch sub := node.(type) {
	case *parser.StepInvariantExpr:
		at = steps{}
	case *parser.SubqueryExpr:
		step := sub.Step
		if step <= 0 {
			step = DefaultSubqueryStep
		}
		inner := steps{span: at.span + sub.Range, step: step}
		if n := inner.count(); n > float64(maxSamples) {
			return fmt.Errorf("the subquery [%s:%s] takes %.0f steps, more than %d: make its step longer or its range shorter", model.Duration(sub.Range), model.Duration(step), n, maxSamples)
		}
		window := steps{span: sub.Range, step: step}
		if n := at.count() * window.count(); n > samplesVisited*float64(maxSamples) {
			return fmt.Errorf("the subquery [%s:%s] is read %.0f times over, %.0f samples in all, more than %d: make its step longer or its range shorter",
				model.Duration(sub.Range), model.Duration(step), at.count(), n, samplesVisited*maxSamples)
		}
		at = inner
	}
	for child := range parser.ChildrenIter(node) {
		if err := checkSteps(child, at, maxSamples); err != nil {
			return err
		}
	}
	return nil
}
