package rules

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// mayKeep reports whether results of an expression may have a label. It returns false only if
// no result can have it.
func mayKeep(expr parser.Expr, label string) bool {
	switch e := expr.(type) {
	case *parser.NumberLiteral, *parser.StringLiteral:
		return false
	case *parser.ParenExpr:
		return mayKeep(e.Expr, label)
	case *parser.UnaryExpr:
		return mayKeep(e.Expr, label)
	case *parser.StepInvariantExpr:
		return mayKeep(e.Expr, label)
	case *parser.SubqueryExpr:
		return mayKeep(e.Expr, label)
	case *parser.AggregateExpr:
		return aggregateMayKeep(e, label)
	case *parser.BinaryExpr:
		return binaryMayKeep(e, label)
	case *parser.Call:
		return callMayKeep(e, label)
	default:
		return true
	}
}

func aggregateMayKeep(e *parser.AggregateExpr, label string) bool {
	named := slices.Contains(e.Grouping, label)
	switch e.Op {
	case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO:
		return mayKeep(e.Expr, label) // they choose among results
	case parser.COUNT_VALUES:
		if name, ok := e.Param.(*parser.StringLiteral); ok && name.Val == label {
			return true
		}
	}
	return named != e.Without && mayKeep(e.Expr, label)
}

func binaryMayKeep(e *parser.BinaryExpr, label string) bool {
	left, right := mayKeep(e.LHS, label), mayKeep(e.RHS, label)
	switch {
	case e.LHS.Type() == parser.ValueTypeScalar:
		return right
	case e.RHS.Type() == parser.ValueTypeScalar || e.Op == parser.LAND || e.Op == parser.LUNLESS:
		return left
	case e.Op == parser.LOR:
		return left || right
	case e.VectorMatching == nil:
		return left
	}
	named := slices.Contains(e.VectorMatching.MatchingLabels, label)
	switch e.VectorMatching.Card {
	case parser.CardManyToOne:
		return left || slices.Contains(e.VectorMatching.Include, label)
	case parser.CardOneToMany:
		return right || slices.Contains(e.VectorMatching.Include, label)
	default:
		return left && named == e.VectorMatching.On
	}
}

func callMayKeep(e *parser.Call, label string) bool {
	switch e.Func.Name {
	case "label_replace", "label_join":
		if to, ok := e.Args[1].(*parser.StringLiteral); ok && to.Val == label {
			return true
		}
	case "absent", "absent_over_time":
		return slices.ContainsFunc(parser.ExtractSelectors(e), func(ms []*labels.Matcher) bool {
			return slices.ContainsFunc(ms, func(m *labels.Matcher) bool { return m.Name == label && m.Type == labels.MatchEqual })
		})
	case "vector", "scalar":
		return false
	case "info":
		return true
	}
	return slices.ContainsFunc(e.Args, func(arg parser.Expr) bool {
		return arg.Type() != parser.ValueTypeScalar && arg.Type() != parser.ValueTypeString && mayKeep(arg, label)
	})
}
