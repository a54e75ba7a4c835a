package adapter

import (
	"context"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/promlet/promlet/tsdb"
)

// coveredSlack is by how much the last samples of series may differ for a query over
// what has been collected to take them for equally old: targets that are scraped
// together are scraped within this time.
const coveredSlack = time.Second

// covered asks again where nothing is as old as the window of the query: collection
// has only begun, or everything asked about has. A rate over a window of which a
// tenth has been collected is a tenth of the rate; so it is computed over that tenth.
// Where any of it is older, the answer stays: what is new then counts by what it has
// added to the whole, as in Prometheus.
func (e *evaluation) covered(ctx context.Context, expr string, window time.Duration, vector tsdb.Vector) (tsdb.Vector, time.Duration, error) {
	if window == 0 || len(vector) == 0 || vector[0].First.IsZero() {
		return vector, window, nil
	}
	all := together(vector)
	now := e.now()
	// So much may be missing for rate() to take the window for full.
	missing := all.First.Sub(now.Add(-window))
	if missing <= all.Spacing*11/10 {
		return vector, window, nil
	}
	// A sum of those that happened to be scraped twice first is not the object's. Pods
	// are no sums of others.
	if len(vector) == 1 && all.Waiting > 0 && e.kind.GroupResource != podResource {
		return nil, window, nil
	}
	// At a moment when all have been scraped as often, or at least twice. One that is not scraped any
	// more does not hold up the others.
	at := all.Last.Add(coveredSlack)
	if earliest := all.Newest.Add(-min(e.facts.longest, window/MinIntervalsPerWindow)); at.Before(earliest) {
		at = earliest
	}
	if at.Before(all.Paired) {
		at = all.Paired // one that began later has its rate then
	}
	if at.After(now) {
		at = now
	}
	over := at.Sub(all.First) + time.Millisecond // windows do not hold their beginning
	shorter, ok := withWindow(e.cand.parser, expr, window, over)
	if !ok || over >= window {
		return vector, window, nil
	}
	again, err := e.db.Instant(ctx, shorter, at, lookBackIntervals*e.facts.longest, e.counts)
	return again, over, err
}

// together is when the samples behind all results were taken.
func together(vector tsdb.Vector) tsdb.Sample {
	all := vector[0]
	for _, s := range vector[1:] {
		if s.First.Before(all.First) {
			all.First = s.First
		}
		if s.Last.Before(all.Last) {
			all.Last = s.Last
		}
		if s.Paired.After(all.Paired) {
			all.Paired = s.Paired
		}
		if s.Newest.After(all.Newest) {
			all.Newest = s.Newest
		}
		if all.Spacing == 0 || s.Spacing > 0 && s.Spacing < all.Spacing {
			all.Spacing = s.Spacing
		}
	}
	return all
}

// withWindow puts another window in the place of the one that an expression looks
// back over. It does not for those that look back in other ways as well.
func withWindow(p parser.Parser, expr string, window, other time.Duration) (string, bool) {
	parsed, err := p.ParseExpr(expr)
	if err != nil {
		return "", false
	}
	ok := true
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.MatrixSelector:
			s, is := n.VectorSelector.(*parser.VectorSelector)
			ok = ok && is && n.Range == window && s.OriginalOffset == 0 && s.Timestamp == nil && s.StartOrEnd == 0
			n.Range = other
		case *parser.SubqueryExpr:
			ok = false
		case *parser.Call:
			ok = ok && (n.Func.Name == "rate" || n.Func.Name == "irate" || !rangeFunction(n))
		}
		return nil
	})
	return parsed.String(), ok
}

// rangeFunction tells whether a function takes a range: only of rates it is known
// that the length of the range does not scale them.
func rangeFunction(c *parser.Call) bool {
	for _, t := range c.Func.ArgTypes {
		if t == parser.ValueTypeMatrix {
			return true
		}
	}
	return false
}
