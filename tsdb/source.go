package tsdb

import (
	"hash/maphash"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Source is where a series comes from, as whoever scrapes it knows.
type Source struct {
	Target *Target
	// Exposed identifies a series of the target as the target exposes it. Series that agree in Target.ID and in
	// Exposed are one series that is scraped several times; it counts once.
	Exposed uint64
	// First is the time of the first sample. Since is since when the target's series of that name have been
	// collected. A series whose First is later is new itself.
	First, Since time.Time
}

// Target is what is scraped, at some moment. It does not change.
type Target struct {
	// ID identifies the URL: the same URL has the same ID, whatever labels it is scraped under.
	ID uint64
	// Rank orders the targets of one ID: of a series that several have, the one of the lowest counts.
	Rank uint64
	// Job is what the target is scraped for, and Namespace is whose its series should be, ""
	// for any.
	Job, Namespace string
	// Interval is the time between scrapes.
	Interval time.Duration
	// Begun is when scraping of the target's job began. Changes are complete from this time on. What was there before is
	// known only from samples, some of which may have been lost.
	Begun time.Time
	// LastScrape is the time of the last scrape that succeeded.
	LastScrape time.Time
	// FailingSince is the time of the first scrape that failed after LastScrape; zero: none has.
	FailingSince time.Time
	// Ended is when the target was taken away; zero: it is still scraped.
	Ended time.Time
	// Changes are the last times, the latest one last, at which enough targets of the job came or went to change
	// this target's load.
	Changes []time.Time
}

// changedAfter reports whether targets beside it came or went after a time.
func (t *Target) changedAfter(ms int64) bool {
	n := len(t.Changes)
	return n > 0 && t.Changes[n-1].UnixMilli() > ms
}

// Grouping is how an expression adds series up.
type Grouping struct {
	// results are the labels that all its aggregations keep, sorted: series that agree on them are parts of
	// one sum.
	results []string
	// countedPer are the labels that any aggregation keeps, and those that tell apart the objects asked about,
	// sorted: a URL counts once for each combination of their values.
	countedPer []string
	// single: there is no aggregation. Each series is a result.
	single bool
	// without: an aggregation drops labels instead of keeping them.
	without bool
}

// NewGrouping reads the aggregations of an expression. asked are the labels, beside those that it keeps, that tell
// apart the objects that are asked about: a series that is scraped several times counts once for each of their values.
func NewGrouping(expr parser.Expr, asked ...string) *Grouping {
	g := &Grouping{single: true, countedPer: slices.Clone(asked)}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		a, ok := node.(*parser.AggregateExpr)
		switch {
		case !ok:
			return nil
		case a.Without:
			g.without = true
		case g.single:
			g.results = slices.Clone(a.Grouping)
		default:
			g.results = slices.DeleteFunc(g.results, func(name string) bool { return !slices.Contains(a.Grouping, name) })
		}
		g.single = false
		g.countedPer = append(g.countedPer, a.Grouping...)
		return nil
	})
	slices.Sort(g.results)
	slices.Sort(g.countedPer)
	g.countedPer = slices.Compact(g.countedPer)
	return g
}

// hashOf hashes the values of labels, whose names are sorted.
func (v *view) hashOf(series labels.Labels, names []string) uint64 {
	const prime = 0x9e3779b97f4a7c15 // so that the order counts
	var hash uint64
	for _, name := range names {
		hash = (hash ^ maphash.String(v.seed, series.Get(name))) * prime
	}
	return hash
}
