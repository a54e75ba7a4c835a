package adapter

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Demand says which series somebody reads, by name. It does not change, and is safe
// for concurrent use.
type Demand struct {
	rules        []*rule
	read, scaled readers
}

// readers are one kind of those who read.
type readers struct {
	metrics   map[metricKey]bool // which the rules make of series
	names     map[string]bool    // of series
	selectors [][]*labels.Matcher
}

// Wanted tells whether anybody reads the series of a name: HPAs, API clients,
// queries and what the configuration says is to be kept.
func (d *Demand) Wanted(series string) bool { return d.Scaled(series) || d.reads(&d.read, series) }

// Scaled tells whether an HPA does.
func (d *Demand) Scaled(series string) bool { return d.reads(&d.scaled, series) }

func (d *Demand) reads(by *readers, series string) bool {
	if by.names[series] {
		return true
	}
	for _, s := range by.selectors {
		if matchesName(s, series) {
			return true
		}
	}
	if len(by.metrics) == 0 {
		return false
	}
	// Names whose type says otherwise are among by.names, once they are exposed.
	for _, r := range d.rules {
		if metric, ok := r.metricName(series, model.MetricTypeUnknown); ok && by.metrics[metricKey{r.api, metric}] {
			return true
		}
	}
	return false
}

// matchesName tells whether matchers on the metric name take a name.
func matchesName(matchers []*labels.Matcher, name string) bool {
	for _, m := range matchers {
		if !m.Matches(name) {
			return false
		}
	}
	return true
}

// add adds a selector on the metric name.
func (r *readers) add(matchers []*labels.Matcher) {
	if len(matchers) == 1 && matchers[0].Type == labels.MatchEqual {
		r.names[matchers[0].Value] = true
		return
	}
	r.selectors = append(r.selectors, matchers)
}

func newReaders() readers {
	return readers{metrics: map[metricKey]bool{}, names: map[string]bool{}}
}

// nameMatchers returns, for each selector of an expression, its matchers on the
// metric name: none of them is a selector of all names.
func nameMatchers(expr parser.Expr) [][]*labels.Matcher {
	var all [][]*labels.Matcher
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			all = append(all, onName(s.LabelMatchers))
		}
		return nil
	})
	return all
}

func onName(matchers []*labels.Matcher) []*labels.Matcher {
	var on []*labels.Matcher
	for _, m := range matchers {
		if m.Name == model.MetricNameLabel {
			on = append(on, m)
		}
	}
	return on
}

// follow adds what the rules read to make the metrics of the series that there
// are.
func (r *readers) follow(c *catalog) {
	for metric := range r.metrics {
		for _, on := range c.reads(metric) {
			r.add(on)
		}
	}
}

// key is the same for the same demand.
func (d *Demand) key() string {
	var parts []string
	for i, r := range []*readers{&d.read, &d.scaled} {
		kind := string(rune('0' + i))
		for m := range r.metrics {
			parts = append(parts, kind+"m"+m.api.rulesKey()+m.name)
		}
		for n := range r.names {
			parts = append(parts, kind+"n"+n)
		}
		for _, s := range r.selectors {
			var b strings.Builder
			for _, m := range s {
				b.WriteString(m.String())
			}
			parts = append(parts, kind+"s"+b.String())
		}
	}
	slices.Sort(parts)
	return strings.Join(slices.Compact(parts), "\n")
}
