package rules

import (
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// windowIntervals is the minimum length of a window in scrape intervals. A window of this
// length has enough samples also after a missed scrape.
const windowIntervals = 4

// readWindows sets Window, narrowest, reach and over from the query.
func (c *Compiled) readWindows(expr parser.Expr) {
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		switch n := node.(type) {
		case *parser.MatrixSelector:
			c.Window = max(c.Window, n.Range)
			if c.narrowest == 0 || n.Range < c.narrowest {
				c.narrowest = n.Range
			}
		case *parser.SubqueryExpr:
			c.Window = max(c.Window, n.Range)
		case *parser.VectorSelector:
			reach := n.OriginalOffset
			for _, outer := range path {
				switch outer := outer.(type) {
				case *parser.MatrixSelector:
					reach += outer.Range
				case *parser.SubqueryExpr:
					reach += outer.Range + outer.OriginalOffset
				}
			}
			c.reach = max(c.reach, reach)
		case *parser.Call:
			c.noteFunction(n)
		}
		return nil
	})
}

// noteFunction adds a function over a window to c.over.
func (c *Compiled) noteFunction(call *parser.Call) {
	for _, arg := range call.Args {
		var window time.Duration
		switch arg := arg.(type) {
		case *parser.MatrixSelector:
			window = arg.Range
		case *parser.SubqueryExpr:
			window = arg.Range
		default:
			continue
		}
		if text := fmt.Sprintf("%s over %s", call.Func.Name, model.Duration(window)); !slices.Contains(c.over, text) {
			c.over = append(c.over, text)
		}
	}
}

// OddWindows returns warnings about rules whose windows are too short for the scrape interval,
// and about rules that read samples older than the retention.
func OddWindows(compiled []*Compiled, interval, retention time.Duration) []string {
	return eachRule(compiled, func(c *Compiled) (odd []string) {
		if c.narrowest > 0 && c.narrowest < windowIntervals*interval {
			odd = append(odd, fmt.Sprintf("metricsQuery: [%s] is shorter than %d scrape intervals of %s: with fewer than two samples in it, a rate also uses those before it",
				model.Duration(c.narrowest), windowIntervals, model.Duration(interval)))
		}
		if c.reach > retention {
			odd = append(odd, fmt.Sprintf("metricsQuery reads samples of the last %s, but they are kept for %s: raise --retention", model.Duration(c.reach), model.Duration(retention)))
		}
		return odd
	})
}
