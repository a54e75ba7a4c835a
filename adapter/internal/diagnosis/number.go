package diagnosis

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/promlet/promlet/tsdb"
)

// number explains a result for which is returns true: NaN, or infinite.
func (s *search) number(e parser.Expr, is func(float64) bool) Finding {
	switch e := unwrapped(e).(type) {
	case *parser.VectorSelector:
		return s.seriesValue(e, is)
	case *parser.AggregateExpr:
		return s.aggregate(e, is)
	case *parser.BinaryExpr:
		return s.binary(e, is)
	case *parser.Call:
		return s.call(e, is)
	}
	return Finding{}
}

// has reports whether a result of a part satisfies is. A part that is a range vector has none.
func (s *search) has(e parser.Expr, is func(float64) bool) bool {
	if t := e.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		return false
	}
	vector, ok := s.evaluate(e)
	return ok && hasValue(vector, is)
}

func hasValue(vector tsdb.Vector, is func(float64) bool) bool {
	return slices.ContainsFunc(vector, func(sample tsdb.Sample) bool { return is(sample.Value) })
}

func (s *search) seriesValue(e *parser.VectorSelector, is func(float64) bool) Finding {
	vector, ok := s.evaluate(e)
	if !ok {
		return Finding{}
	}
	found := Finding{Kind: SeriesValue, Part: e.String(), Selector: e}
	for _, sample := range vector {
		if is(sample.Value) {
			found.Series = append(found.Series, sample.Labels)
		}
	}
	if len(found.Series) == 0 {
		return Finding{}
	}
	return found
}

func (s *search) aggregate(e *parser.AggregateExpr, is func(float64) bool) Finding {
	if s.has(e.Expr, is) {
		return s.number(e.Expr, is)
	}
	if s.has(e.Expr, func(v float64) bool { return math.IsInf(v, 1) }) && s.has(e.Expr, func(v float64) bool { return math.IsInf(v, -1) }) {
		return Finding{Kind: AddedInfinities, Part: e.String()}
	}
	return Finding{}
}

func (s *search) binary(e *parser.BinaryExpr, is func(float64) bool) Finding {
	for _, side := range []parser.Expr{e.LHS, e.RHS} {
		if s.has(side, is) {
			return s.number(side, is)
		}
	}
	isZero := func(v float64) bool { return v == 0 }
	if e.Op != parser.DIV || !s.has(e.RHS, isZero) {
		return Finding{}
	}
	if is(math.NaN()) {
		return Finding{Kind: ZeroByZero, Part: e.String()}
	}
	return Finding{Kind: DivisionByZero, Part: e.String()}
}

func (s *search) call(e *parser.Call, is func(float64) bool) Finding {
	for _, arg := range e.Args {
		if of, _ := selectorOf(arg); of != nil {
			return s.number(of, is)
		}
		if arg.Type() != parser.ValueTypeVector {
			continue
		}
		switch vector, ok := s.evaluate(arg); {
		case !ok:
		case hasValue(vector, is):
			return s.number(arg, is)
		case e.Func.Name == "histogram_quantile" && !hasValue(vector, func(v float64) bool { return v != 0 }):
			return Finding{Kind: NoObservations, Part: e.String()}
		}
	}
	return Finding{}
}
