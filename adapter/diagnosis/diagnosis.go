package diagnosis

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/promlet/promlet/tsdb"
)

// maxQueries bounds the evaluated parts of one expression.
const maxQueries = 16

// Query evaluates an expression at the time that the whole expression was evaluated at.
type Query func(ctx context.Context, expr string) (tsdb.Vector, error)

// Kind is the kind of a reason.
type Kind int

// The kinds. Those up to Removed are of expressions without results; the others are of NaN and infinite values.
const (
	Unknown         Kind = iota // no part is known to be the reason
	NoSeries                    // no series with a current sample matches Selector
	ShortRange                  // series match Selector, but none has a sample within Range
	TooFewSamples               // no series that matches Selector has two samples within Range
	NotJoined                   // both sides of Part have results, but none of the left side matches one of the right side
	FalseComparison             // no result satisfies the comparison Part
	Removed                     // unless or and removes all results of the left side

	OddSeries       // the samples of Series have the value
	ZeroByZero      // Part divides 0 by 0
	DivisionByZero  // Part divides another number by 0
	NoObservations  // Part is a histogram_quantile of a histogram without observations
	AddedInfinities // Part adds +Inf and -Inf
)

// Finding is the part of an expression that explains its result.
type Finding struct {
	Kind Kind
	// Part is the PromQL of the part. It is empty for Unknown.
	Part string
	// Selector selects the series that Kind is about, nil for kinds that are not about a selector.
	Selector *parser.VectorSelector
	// Range is that of the range selector, 0 for an instant selector.
	Range time.Duration
	// Left and Right are the label names of a result of each side that must match, sorted. They are set for NotJoined.
	Left, Right []string
	// Series has the labels of the series with the value. It is set for OddSeries.
	Series []labels.Labels
}

// search looks for the part of an expression.
type search struct {
	ctx     context.Context //nolint:containedctx // It lives as long as one call.
	query   Query
	queries int
	err     error
}

// OfEmpty explains why an expression has no results. The error is that of a query.
func OfEmpty(ctx context.Context, query Query, expr string) (Finding, error) {
	return find(ctx, query, expr, (*search).empty)
}

// OfNumber explains why a result of an expression is NaN or infinite. The error is that of a query.
func OfNumber(ctx context.Context, query Query, expr string, value float64) (Finding, error) {
	return find(ctx, query, expr, func(s *search, e parser.Expr) Finding {
		odd := func(v float64) bool { return math.IsInf(v, 0) }
		if math.IsNaN(value) {
			odd = math.IsNaN
		}
		return s.number(e, odd)
	})
}

func find(ctx context.Context, query Query, expr string, in func(*search, parser.Expr) Finding) (Finding, error) {
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return Finding{}, err
	}
	s := &search{ctx: ctx, query: query}
	found := in(s, parsed)
	if s.err != nil || s.queries > maxQueries {
		return Finding{}, s.err
	}
	return found, nil
}

// of evaluates a part. After maxQueries, or an error, it returns false, and the search finds nothing.
func (s *search) of(e parser.Expr) (tsdb.Vector, bool) {
	if s.queries++; s.err != nil || s.queries > maxQueries {
		return nil, false
	}
	vector, err := s.query(s.ctx, e.String())
	s.err = err
	return vector, err == nil
}

// isEmpty reports whether a part is an instant vector without results.
func (s *search) isEmpty(e parser.Expr) bool {
	if e.Type() != parser.ValueTypeVector {
		return false
	}
	vector, ok := s.of(e)
	return ok && len(vector) == 0
}

// unwrapped returns the expression in parentheses, or whose sign is changed.
func unwrapped(e parser.Expr) parser.Expr {
	for {
		switch outer := e.(type) {
		case *parser.ParenExpr:
			e = outer.Expr
		case *parser.StepInvariantExpr:
			e = outer.Expr
		case *parser.UnaryExpr:
			e = outer.Expr
		default:
			return e
		}
	}
}

// selectorOf returns the selector of a range selector, and its range.
func selectorOf(e parser.Expr) (of *parser.VectorSelector, over time.Duration) {
	m, ok := unwrapped(e).(*parser.MatrixSelector)
	if !ok {
		return nil, 0
	}
	of, _ = m.VectorSelector.(*parser.VectorSelector)
	return of, m.Range
}

// labelNames returns the label names of a result that take part in the matching of a binary operation.
func labelNames(of labels.Labels, matching *parser.VectorMatching) (names []string) {
	of.Range(func(l labels.Label) {
		if l.Name != model.MetricNameLabel && (matching == nil || slices.Contains(matching.MatchingLabels, l.Name) == matching.On) {
			names = append(names, l.Name)
		}
	})
	return names
}
