// Package querycost counts what the engine takes without counting, before a PromQL expression is evaluated: the steps of
// subqueries, and the labels that label functions make. The engine takes 16 bytes for each step before it counts the first
// sample, and does not look at the query's timeout in the loops over them: count_over_time(vector(1)[50y:1ms]) ends a
// process.
package querycost

import (
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

const (
	// DefaultMaxSamples bounds the memory of one query: at 16 bytes a sample, 16 MB. A rate over two
	// minutes of 5 s scrapes of ten thousand series reads a quarter of it.
	DefaultMaxSamples = 1_000_000

	// DefaultSubqueryStep is the step of a subquery that names none ([5m:]): Prometheus takes its
	// evaluation interval, which is one minute by default.
	DefaultSubqueryStep = time.Minute

	// visits is how many times the samples of a query the function around a subquery may look at, in all its steps
	// together: a second's work.
	visits = 100
)

// Check returns an error that names a subquery of an instant query if it takes more steps than the query may hold
// samples, or is read too often; or that says how far label functions could make labels grow.
func Check(expr parser.Expr, maxSamples int) error {
	// It evaluates durations such as [5m * 2:].
	expr, err := promql.PreprocessExpr(expr, time.Time{}, time.Time{}, 0)
	if err != nil {
		return err
	}
	return CheckRange(expr, 0, 0, maxSamples)
}

// CheckRange is Check of a query that is evaluated each step of a span; 0 and 0 are an instant query. The expression has
// been preprocessed.
func CheckRange(expr parser.Expr, span, step time.Duration, maxSamples int) error {
	if err := GrowthOf(expr).check(); err != nil {
		return err
	}
	return check(expr, steps{span: span, step: step}, maxSamples)
}

// steps are the times at which an expression is evaluated.
type steps struct{ span, step time.Duration }

func (s steps) count() float64 {
	if s.step <= 0 {
		return 1
	}
	return float64(s.span/s.step) + 1
}

// check looks at the subqueries of an expression that is evaluated at some steps.
func check(node parser.Node, at steps, maxSamples int) error {
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
		if n := at.count() * window.count(); n > visits*float64(maxSamples) {
			return fmt.Errorf("the subquery [%s:%s] is read %.0f times over, %.0f samples in all, more than %d: make its step longer or its range shorter",
				model.Duration(sub.Range), model.Duration(step), at.count(), n, visits*maxSamples)
		}
		at = inner
	}
	for child := range parser.ChildrenIter(node) {
		if err := check(child, at, maxSamples); err != nil {
			return err
		}
	}
	return nil
}
