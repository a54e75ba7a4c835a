package diagnosis

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/promlet/promlet/tsdb"
)

// number explains an expression with an odd result.
func (s *search) number(e parser.Expr, odd func(float64) bool) Finding {
	switch e := unwrapped(e).(type) {
	case *parser.VectorSelector:
		return s.oddSeries(e, odd)
	case *parser.AggregateExpr:
		return s.oddAggregate(e, odd)
	case *parser.BinaryExpr:
		return s.oddBinary(e, odd)
	case *parser.Call:
		return s.oddCall(e, odd)
	}
	return Finding{}
}

// has reports whether a part is an instant vector with an odd result.
func (s *search) has(e parser.Expr, odd func(float64) bool) bool {
	if t := e.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		return false
	}
	vector, ok := s.of(e)
	return ok && hasValue(vector, odd)
}

func hasValue(vector tsdb.Vector, is func(float64) bool) bool {
	return slices.ContainsFunc(vector, func(sample tsdb.Sample) bool { return is(sample.Value) })
}

func (s *search) oddSeries(e *parser.VectorSelector, odd func(float64) bool) Finding {
	vector, ok := s.of(e)
	if !ok {
		return Finding{}
	}
	found := Finding{Kind: OddSeries, Part: e.String(), Selector: e}
	for _, sample := range vector {
		if odd(sample.Value) {
			found.Series = append(found.Series, sample.Labels)
		}
	}
	if len(found.Series) == 0 {
		return Finding{}
	}
	return found
}

func (s *search) oddAggregate(e *parser.AggregateExpr, odd func(float64) bool) Finding {
	if s.has(e.Expr, odd) {
		return s.number(e.Expr, odd)
	}
	if s.has(e.Expr, func(v float64) bool { return math.IsInf(v, 1) }) && s.has(e.Expr, func(v float64) bool { return math.IsInf(v, -1) }) {
		return Finding{Kind: AddedInfinities, Part: e.String()}
	}
	return Finding{}
}

func (s *search) oddBinary(e *parser.BinaryExpr, odd func(float64) bool) Finding {
	for _, side := range []parser.Expr{e.LHS, e.RHS} {
		if s.has(side, odd) {
			return s.number(side, odd)
		}
	}
	isZero := func(v float64) bool { return v == 0 }
	if e.Op != parser.DIV || !s.has(e.RHS, isZero) {
		return Finding{}
	}
	if odd(math.NaN()) {
		return Finding{Kind: ZeroByZero, Part: e.String()}
	}
	return Finding{Kind: DivisionByZero, Part: e.String()}
}

func (s *search) oddCall(e *parser.Call, odd func(float64) bool) Finding {
	for _, arg := range e.Args {
		if of, _ := selectorOf(arg); of != nil {
			return s.number(of, odd)
		}
		if arg.Type() != parser.ValueTypeVector {
			continue
		}
		switch vector, ok := s.of(arg); {
		case !ok:
		case hasValue(vector, odd):
			return s.number(arg, odd)
		case e.Func.Name == "histogram_quantile" && !hasValue(vector, func(v float64) bool { return v != 0 }):
			return Finding{Kind: NoObservations, Part: e.String()}
		}
	}
	return Finding{}
}
