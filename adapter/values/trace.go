package values

import "context"

// Trace collects what was evaluated for a request, for an explanation.
type Trace struct {
	// By is the Evaluator whose answer the request got.
	By *Evaluator
	// Queries are those that were evaluated, in order.
	Queries []TracedQuery
}

// TracedQuery is a query and what came of it.
type TracedQuery struct {
	Of       *Evaluator
	Expr     string
	Results  int
	Warnings []string
	Err      error
}

type traceKey struct{}

// WithTrace returns a context in which requests fill t, one at a time.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// traceOf returns the Trace of a context, nil without one.
func traceOf(ctx context.Context) *Trace {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	return t
}

// answeredBy notes whose answer a request got.
func answeredBy(ctx context.Context, v *Evaluator) {
	if t := traceOf(ctx); t != nil {
		t.By = v
	}
}
