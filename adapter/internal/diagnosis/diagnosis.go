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

// maxQueries is the maximum number of parts that a search evaluates.
const maxQueries = 16

// Query evaluates a part of the expression at the time at which the whole expression was evaluated.
type Query func(ctx context.Context, expr string) (tsdb.Vector, error)

// Kind says why an expression has no value.
type Kind int

// OfEmpty finds the kinds up to Removed, OfNumber the others. Both may find Unknown.
const (
	Unknown         Kind = iota // the search found no reason
	NoSeries                    // no series with a current sample matches Selector
	ShortRange                  // series match Selector, but none has a sample within Range
	TooFewSamples               // no series that matches Selector has two samples within Range
	NotJoined                   // both sides of Part have results, but no result of the left side matches one of the right side
	FalseComparison             // no result satisfies the comparison Part
	Removed                     // unless or and removes all results of the left side

	SeriesValue     // the samples of Series already have the value
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
	// Left and Right have the names of the labels that must match, of one result of each side, sorted. They are set for
	// NotJoined.
	Left, Right []string
	// Series has the labels of the series with the value. It is set for SeriesValue.
	Series []labels.Labels
}

// search is one call of OfEmpty or OfNumber.
type search struct {
	ctx     context.Context //nolint:containedctx // the search ends with the call
	query   Query
	known   map[string]tsdb.Vector // results of parts
	queries int
	err     error
}

// OfEmpty explains why an expression has no results. It returns the error of a failed query.
func OfEmpty(ctx context.Context, query Query, expr string) (Finding, error) {
	return find(ctx, query, expr, (*search).empty)
}

// OfNumber explains why a result of an expression is NaN or infinite. It returns the error of a failed query.
func OfNumber(ctx context.Context, query Query, expr string, value float64) (Finding, error) {
	return find(ctx, query, expr, func(s *search, e parser.Expr) Finding {
		is := func(v float64) bool { return math.IsInf(v, 0) }
		if math.IsNaN(value) {
			is = math.IsNaN
		}
		return s.number(e, is)
	})
}

func find(ctx context.Context, query Query, expr string, in func(*search, parser.Expr) Finding) (Finding, error) {
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return Finding{}, err
	}
	s := &search{ctx: ctx, query: query, known: map[string]tsdb.Vector{}}
	found := in(s, parsed)
	if s.err != nil || s.queries > maxQueries {
		return Finding{}, s.err
	}
	return found, nil
}

// evaluate evaluates a part. After maxQueries, or an error, it returns false, and the search finds nothing.
func (s *search) evaluate(e parser.Expr) (tsdb.Vector, bool) {
	text := e.String()
	if vector, ok := s.known[text]; ok {
		return vector, true
	}
	if s.queries++; s.err != nil || s.queries > maxQueries {
		return nil, false
	}
	vector, err := s.query(s.ctx, text)
	if s.err = err; err != nil {
		return nil, false
	}
	s.known[text] = vector
	return vector, true
}

// isEmpty reports whether a part is an instant vector without results.
func (s *search) isEmpty(e parser.Expr) bool {
	if e.Type() != parser.ValueTypeVector {
		return false
	}
	vector, ok := s.evaluate(e)
	return ok && len(vector) == 0
}

// unwrapped removes parentheses and signs around an expression.
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

// selectorOf returns the instant selector and the range of a range selector; nil for other expressions.
func selectorOf(e parser.Expr) (of *parser.VectorSelector, over time.Duration) {
	m, ok := unwrapped(e).(*parser.MatrixSelector)
	if !ok {
		return nil, 0
	}
	of, _ = m.VectorSelector.(*parser.VectorSelector)
	return of, m.Range
}

// labelNames returns the names of a result's labels that a binary operation compares.
func labelNames(of labels.Labels, matching *parser.VectorMatching) (names []string) {
	of.Range(func(l labels.Label) {
		if l.Name != model.MetricNameLabel && (matching == nil || slices.Contains(matching.MatchingLabels, l.Name) == matching.On) {
			names = append(names, l.Name)
		}
	})
	return names
}
