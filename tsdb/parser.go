package tsdb

import (
	"fmt"

	"github.com/prometheus/prometheus/promql/parser"
)

const (
	// maxExprLength in bytes is more than the names of ten thousand pods take.
	maxExprLength = 512 << 10
	// maxExprCode in bytes is for all of an expression that is not in quotes: what nests. Parsing and
	// evaluating are recursive, and a stack that outgrows its limit ends the process.
	maxExprCode = 32 << 10
	// maxExprDepth is how deep an expression may nest. Nobody writes a tenth of it; printing one takes time
	// that grows with its square.
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
	if len(input) > maxExprLength {
		return nil, fmt.Errorf("the expression has %d bytes, more than %d: select by fewer values", len(input), maxExprLength)
	}
	if n := codeLength(input, maxExprCode); n > maxExprCode {
		return nil, fmt.Errorf("the expression has more than %d bytes outside of quotes: split it", maxExprCode)
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

// codeLength counts the bytes outside of quotes, up to one more than limit.
func codeLength(input string, limit int) int {
	n := 0
	var quote byte
	for i := 0; i < len(input) && n <= limit; i++ {
		switch c := input[i]; {
		case quote == 0:
			n++
			if c == '"' || c == '\'' || c == '`' {
				quote = c
			}
		case c == '\\' && quote != '`':
			i++
		case c == quote:
			quote = 0
		}
	}
	return n
}

// deeper tells whether a node has more than depth levels below it.
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
