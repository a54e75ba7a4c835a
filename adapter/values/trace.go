package values

import (
	"context"

	"github.com/promlet/promlet/tsdb"
)

// Trace collects the queries of a request, for an explanation.
type Trace struct {
	// By is the Evaluator that answered the request.
	By *Evaluator
	// Queries has the evaluated queries in order.
	Queries []TracedQuery
}

// TracedQuery is a query with its result.
type TracedQuery struct {
	Evaluator  *Evaluator
	Evaluation *Evaluation
	Expr       string
	Results    tsdb.Vector
	Warnings   []string
	Err        error
}

type traceKey struct{}

// WithTrace returns a context whose requests fill t. They must not run concurrently.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// traceOf returns the Trace of a context, nil if it has none.
func traceOf(ctx context.Context) *Trace {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	return t
}

// answeredBy notes the Evaluator that answered a request.
func answeredBy(ctx context.Context, v *Evaluator) {
	if t := traceOf(ctx); t != nil {
		t.By = v
	}
}
