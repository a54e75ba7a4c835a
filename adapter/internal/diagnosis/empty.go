package diagnosis

import (
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/promlet/promlet/tsdb"
)

// empty explains an expression that has no results.
func (s *search) empty(e parser.Expr) Finding {
	switch e := unwrapped(e).(type) {
	case *parser.VectorSelector:
		return Finding{Kind: NoSeries, Part: e.String(), Selector: e}
	case *parser.AggregateExpr:
		if s.isEmpty(e.Expr) {
			return s.empty(e.Expr)
		}
	case *parser.BinaryExpr:
		return s.emptyBinary(e)
	case *parser.Call:
		return s.emptyCall(e)
	}
	return Finding{}
}

func (s *search) emptyBinary(e *parser.BinaryExpr) Finding {
	if s.isEmpty(e.LHS) {
		return s.empty(e.LHS) // of the operator or, too: both of its sides are empty
	}
	found := Finding{Part: e.String()}
	if e.Op == parser.LUNLESS {
		found.Kind = Removed
		return found
	}
	if s.isEmpty(e.RHS) {
		return s.empty(e.RHS)
	}
	if e.Op.IsComparisonOperator() {
		withBool := *e
		withBool.ReturnBool = true
		if !s.isEmpty(&withBool) {
			found.Kind = FalseComparison
			return found
		}
	}
	if e.LHS.Type() != parser.ValueTypeVector || e.RHS.Type() != parser.ValueTypeVector {
		return Finding{}
	}
	left, ok := s.evaluate(e.LHS)
	right, alsoOK := s.evaluate(e.RHS)
	if !ok || !alsoOK || len(left) == 0 || len(right) == 0 {
		return Finding{}
	}
	found.Kind, found.Left, found.Right = NotJoined, labelNames(left[0].Labels, e.VectorMatching), labelNames(right[0].Labels, e.VectorMatching)
	return found
}

func (s *search) emptyCall(e *parser.Call) Finding {
	for _, arg := range e.Args {
		if of, over := selectorOf(arg); of != nil {
			return s.emptyRange(e.Func.Name, of, over, arg)
		}
		if sub, ok := unwrapped(arg).(*parser.SubqueryExpr); ok {
			if sub.OriginalOffset == 0 && sub.Timestamp == nil && sub.StartOrEnd == 0 && s.isEmpty(sub.Expr) {
				return s.empty(sub.Expr)
			}
			return Finding{}
		}
		if arg.Type() == parser.ValueTypeVector && s.isEmpty(arg) {
			return s.empty(arg)
		}
	}
	return Finding{}
}

// needsTwo reports whether a function of a range selector needs two samples of a series.
func needsTwo(function string) bool {
	switch function {
	case "rate", "irate", "increase", "delta", "idelta", "deriv", "predict_linear", "double_exponential_smoothing":
		return true
	}
	return false
}

// emptyRange explains why a function of a range selector has no results.
func (s *search) emptyRange(function string, of *parser.VectorSelector, over time.Duration, selector parser.Expr) Finding {
	found := Finding{Part: selector.String(), Selector: of, Range: over}
	counted, ok := s.evaluate(&parser.Call{Func: parser.Functions["count_over_time"], Args: parser.Expressions{selector}})
	switch {
	case !ok:
		return Finding{}
	case len(counted) == 0 && s.isEmpty(of):
		found.Kind = NoSeries
	case len(counted) == 0:
		found.Kind = ShortRange
	case greatest(counted) < 2 && needsTwo(function):
		found.Kind = TooFewSamples
	default:
		return Finding{}
	}
	return found
}

// greatest returns the greatest value, 0 if none is above 0.
func greatest(vector tsdb.Vector) (value float64) {
	for _, sample := range vector {
		value = max(value, sample.Value)
	}
	return value
}
