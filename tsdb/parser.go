package tsdb

import (
	"fmt"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

const (
	// maxExprLength in bytes is more than the names of ten thousand pods take.
	maxExprLength = 512 << 10
	// maxExprCode in bytes is for all of an expression that is in neither strings nor comments.
	maxExprCode = 16 << 10
	// maxExprItems bounds names, numbers, strings, operators and brackets together: 200 sums of rates have as
	// many. Parsing takes time that grows with the square of the operators, and cannot be cancelled: the worst
	// expression within these bounds that was found, 3,999 signs before a string, takes 0.2 s.
	maxExprItems = 4000
	// maxExprList bounds what stands between two brackets: of labels in on() and group_left(), the parser
	// compares each with each, and keeps an error for each pair that is the same.
	maxExprList = 100
	// maxExprDepth is how deep an expression may nest. Nobody writes a tenth of it; printing one takes time
	// that grows with its square, and a stack that outgrows its limit ends the process.
	maxExprDepth = 500
)

// boundedParser refuses expressions that would exhaust the process.
type boundedParser struct{ parser.Parser }

// newParser takes what Prometheus does without feature flags.
func newParser() parser.Parser {
	return boundedParser{parser.NewParser(parser.Options{ExperimentalDurationExpr: true})}
}

// ParseExpr implements parser.Parser.
func (p boundedParser) ParseExpr(input string) (parser.Expr, error) {
	if err := bounded(input); err != nil {
		return nil, fmt.Errorf("the expression %w", err)
	}
	expr, err := p.Parser.ParseExpr(input)
	if err != nil {
		return nil, err
	}
	if deeper(expr, maxExprDepth) {
		return nil, fmt.Errorf("the expression nests deeper than %d: split it", maxExprDepth)
	}
	return expr, nil
}

// ParseMetricSelector implements parser.Parser.
func (p boundedParser) ParseMetricSelector(input string) ([]*labels.Matcher, error) {
	if err := bounded(input); err != nil {
		return nil, fmt.Errorf("the selector %w", err)
	}
	return p.Parser.ParseMetricSelector(input)
}

// ParseMetricSelectors implements parser.Parser.
func (p boundedParser) ParseMetricSelectors(inputs []string) ([][]*labels.Matcher, error) {
	var all [][]*labels.Matcher
	for _, input := range inputs {
		matchers, err := p.ParseMetricSelector(input)
		if err != nil {
			return nil, err
		}
		all = append(all, matchers)
	}
	return all, nil
}

// bounded looks at the input as the parser would, as far as it may go.
func bounded(input string) error {
	if len(input) > maxExprLength {
		return fmt.Errorf("has %d bytes, more than %d: select by fewer values", len(input), maxExprLength)
	}
	lexer := parser.Lex(input)
	var item parser.Item
	code, listed := 0, 0
	for items := 0; items <= maxExprItems; {
		switch lexer.NextItem(&item); item.Typ {
		case parser.EOF, parser.ERROR: // The parser says what is wrong.
			return nil
		case parser.COMMENT:
			continue
		case parser.COMMA:
			listed++
		case parser.LEFT_PAREN, parser.RIGHT_PAREN, parser.LEFT_BRACE, parser.RIGHT_BRACE:
			listed = 0
		}
		items++
		if item.Typ != parser.STRING {
			code += len(item.Val)
		}
		switch {
		case code > maxExprCode:
			return fmt.Errorf("has more than %d bytes outside of strings: split it", maxExprCode)
		case listed >= maxExprList:
			return fmt.Errorf("lists more than %d values between two brackets: list fewer", maxExprList)
		}
	}
	return fmt.Errorf("has more than %d names, numbers, strings, operators and brackets: split it", maxExprItems)
}

// deeper reports whether a node has more than depth levels below it.
func deeper(node parser.Node, depth int) bool {
	if depth < 0 {
		return true
	}
	for child := range parser.ChildrenIter(node) {
		if deeper(child, depth-1) {
			return true
		}
	}
	return false
}
