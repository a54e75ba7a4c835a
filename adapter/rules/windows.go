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

// windows are the ranges that a query looks back over.
type windows struct {
	// Window is the longest range that the query looks back over, 0 for a query over
	// instant values.
	Window    time.Duration
	narrowest time.Duration // the shortest range
	over      []string      // functions and their ranges, such as "rate over 2m"
	reach     time.Duration // age of the oldest sample that the query reads
}

// read adds the ranges of a query.
func (w *windows) read(expr parser.Expr) {
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		switch n := node.(type) {
		case *parser.MatrixSelector:
			w.Window = max(w.Window, n.Range)
			if w.narrowest == 0 || n.Range < w.narrowest {
				w.narrowest = n.Range
			}
		case *parser.SubqueryExpr:
			w.Window = max(w.Window, n.Range)
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
			w.reach = max(w.reach, reach)
		case *parser.Call:
			w.noteFunction(n)
		}
		return nil
	})
}

// noteFunction adds a function over a window to w.over.
func (w *windows) noteFunction(call *parser.Call) {
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
		if text := fmt.Sprintf("%s over %s", call.Func.Name, model.Duration(window)); !slices.Contains(w.over, text) {
			w.over = append(w.over, text)
		}
	}
}

// OddWindows returns warnings about rules whose windows are too short for the scrape interval,
// and about rules that read samples older than the retention.
func OddWindows(compiled []*Compiled, interval, retention time.Duration) []string {
	return eachRule(compiled, func(c *Compiled) []string { return c.odd("metricsQuery", interval, retention) })
}

// odd returns warnings about the ranges of the query in a field.
func (w *windows) odd(field string, interval, retention time.Duration) (odd []string) {
	if w.narrowest > 0 && w.narrowest < windowIntervals*interval {
		odd = append(odd, fmt.Sprintf("%s: [%s] is shorter than %d scrape intervals of %s: with fewer than two samples in it, a rate also uses those before it",
			field, model.Duration(w.narrowest), windowIntervals, model.Duration(interval)))
	}
	if w.reach > retention {
		odd = append(odd, fmt.Sprintf("%s reads samples of the last %s, but they are kept for %s: raise --retention", field, model.Duration(w.reach), model.Duration(retention)))
	}
	return odd
}
