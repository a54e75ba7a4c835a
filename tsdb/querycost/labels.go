package querycost

import (
	"fmt"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
)

const (
	// maxLabelTimes and maxLabelText bound what the label functions of an expression can make of the labels of one
	// series: so many times as long, and so many bytes of text from the expression.
	maxLabelTimes = 1000
	maxLabelText  = 64 << 10
)

// LabelGrowth is how long label_join and label_replace can make the labels of a series. The engine counts
// samples, not labels: label_join(label_join(x, "a", "", "a", "a"), "a", "", "a", "a") makes them four times as long, and so
// on.
type LabelGrowth struct {
	times, text float64
	// One value of a label can be so many times as long as the longest before, with so much text.
	valueTimes, valueText float64
	calls                 int // of label functions
}

// GrowthOf reads the label functions of an expression.
func GrowthOf(node parser.Node) LabelGrowth {
	g := LabelGrowth{times: 1, valueTimes: 1}
	for child := range parser.ChildrenIter(node) {
		g = g.beside(GrowthOf(child), node)
	}
	call, ok := node.(*parser.Call)
	if !ok {
		return g
	}
	switch call.Func.Name {
	case "label_replace":
		replacement := text(call.Args[2])
		return g.with(strings.Count(replacement, "$"), len(replacement)+len(text(call.Args[1])))
	case "label_join":
		sources := len(call.Args) - 3
		return g.with(sources, sources*len(text(call.Args[2]))+len(text(call.Args[1])))
	}
	return g
}

// beside is the growth of an expression that has both as its parts.
func (g LabelGrowth) beside(other LabelGrowth, node parser.Node) LabelGrowth {
	both := LabelGrowth{
		times: max(g.times, other.times), text: max(g.text, other.text), calls: g.calls + other.calls,
		valueTimes: max(g.valueTimes, other.valueTimes), valueText: max(g.valueText, other.valueText),
	}
	if binary, ok := node.(*parser.BinaryExpr); ok && binary.VectorMatching != nil && len(binary.VectorMatching.Include) > 0 {
		both.times, both.text = g.times+other.times, g.text+other.text // labels of one side are added to the other's
	}
	return both
}

// with adds a label whose value is made of so many values of others, and some text.
func (g LabelGrowth) with(values, literal int) LabelGrowth {
	valueTimes, valueText := float64(values)*g.valueTimes, float64(values)*g.valueText+float64(literal)
	return LabelGrowth{
		times: g.times + valueTimes, text: g.text + valueText, calls: g.calls + 1,
		valueTimes: max(g.valueTimes, valueTimes), valueText: max(g.valueText, valueText),
	}
}

// Grows reports whether the expression has label functions at all.
func (g LabelGrowth) Grows() bool { return g.calls > 0 }

// Bytes is how long the labels of a series can become that have so many bytes now.
func (g LabelGrowth) Bytes(now uint64) float64 { return float64(now)*g.times + g.text }

func (g LabelGrowth) check() error {
	switch {
	case !g.Grows():
		return nil
	case g.times > maxLabelTimes:
		return fmt.Errorf("its label functions can make the labels of a series %.3g times as long, more than %d: nest fewer of them", g.times, maxLabelTimes)
	case g.text > maxLabelText:
		return fmt.Errorf("its label functions can add %.3g bytes of text to each series, more than %d: write shorter ones", g.text, maxLabelText)
	}
	return nil
}

// text is that of a string literal.
func text(arg parser.Expr) string {
	switch arg := arg.(type) {
	case *parser.StringLiteral:
		return arg.Val
	case *parser.ParenExpr:
		return text(arg.Expr)
	case *parser.StepInvariantExpr:
		return text(arg.Expr)
	}
	return ""
}
