package catalog

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/tsdb"
)

// Catalog knows which metrics the rules make of the series that targets expose and of those
// in an Index.
type Catalog struct {
	index   Index
	exposed func(known uint64) ([]Exposed, uint64) // may be nil
	now     func() time.Time

	refreshing chan struct{} // holds one while a view is made

	mu           sync.Mutex
	rules        []*rules.Compiled
	rulesVersion uint64    // counts their changes
	loaded       time.Time // when they came into force
	view         *view     // the last; its mappings are nil before the first
	viewAt       time.Time
	viewTook     time.Duration // to make
	// queries are known as far as they were asked for, by the label that they group by;
	// "" is a placeholder.
	queries map[Mapping]map[string]Query

	unmatched unmatched

	listMu sync.Mutex
	listed *Listing
	listAt time.Time
}

// Exposed is a series name that targets expose, whether its series are stored or not.
type Exposed struct {
	Name string
	// LabelNames are those of one of the series, sorted, without the name.
	LabelNames []string
	// Type is the one that the targets tell; a series of a histogram or summary has the
	// type of the whole. Empty where it is not known.
	Type model.MetricType
	// Only is the namespace that the job of the targets is limited to: all its series have
	// this label namespace. "" means that it may write series of any namespace. The types of
	// a limited job do not count in other namespaces.
	Only string
}

// Query is what is known of the query of a mapping.
type Query struct {
	Grouping *tsdb.Grouping      // nil where it is not PromQL
	names    [][]*labels.Matcher // on the metric name, of each selector
}

// Mapping is a series name and a rule that makes a metric of it.
type Mapping struct {
	Rule   *rules.Compiled
	Series string
}

// SeriesMatchers select the series of the name that the rule takes.
func (m Mapping) SeriesMatchers() []*labels.Matcher {
	matchers := []*labels.Matcher{rules.Equal(model.MetricNameLabel, m.Series).Matcher}
	for _, matcher := range m.Rule.Matchers {
		if matcher.Name != model.MetricNameLabel { // the name has matched already
			matchers = append(matchers, matcher)
		}
	}
	return matchers
}

// New returns a catalog of the series in an index and of those that targets expose.
// exposed returns their names, and a version that changes with them; nil names when the
// version is still the known one. It may be nil.
func New(index Index, exposed func(known uint64) (names []Exposed, version uint64), now func() time.Time) *Catalog {
	return &Catalog{index: index, exposed: exposed, now: now, refreshing: make(chan struct{}, 1), view: &view{types: &typeTable{}}}
}

// SetRules replaces the rules.
func (c *Catalog) SetRules(compiled []*rules.Compiled) {
	c.listMu.Lock()
	defer c.listMu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	// Until the next view, the old rules' mappings stay wanted.
	c.rules, c.loaded = compiled, c.now()
	c.rulesVersion++
	c.listAt = time.Time{}
}

// Rules returns those in force.
func (c *Catalog) Rules() []*rules.Compiled {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rules
}

// TypeOf returns the type of the series with a name in a namespace, "" for all namespaces. All
// jobs count that expose the name and can write series of the namespace. The type is empty or
// unknown if they differ or expose none.
func (c *Catalog) TypeOf(series, namespace string) model.MetricType {
	return c.types().of(series, namespace)
}

// MetricName returns the name of the metric that a rule makes of a series name in any
// namespace, and whether the rule selects the name.
func (c *Catalog) MetricName(r *rules.Compiled, series string) (string, bool) {
	return c.types().metricName(r, series)
}

func (c *Catalog) types() *typeTable {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view.types
}

// MappingsOf returns the mappings of a metric for the series of a namespace, best first. ""
// means all namespaces together.
func (c *Catalog) MappingsOf(ctx context.Context, metric rules.Metric, namespace string) ([]Mapping, error) {
	if err := c.refresh(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	all, types := c.view.mappings[metric], c.view.types
	c.mu.Unlock()
	differs := func(m Mapping) bool { return !types.holds(m, namespace) }
	if !slices.ContainsFunc(all, differs) {
		return all, nil
	}
	return slices.DeleteFunc(slices.Clone(all), differs), nil
}

// Mappings returns the mappings of every metric in any namespace, best first. The later rule
// precedes the earlier one, as in prometheus-adapter. Series names of one rule are sorted.
func (c *Catalog) Mappings(ctx context.Context) (map[rules.Metric][]Mapping, error) {
	if err := c.refresh(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view.mappings, nil
}

// Reads returns the matchers on the metric name of each selector that making a metric
// takes.
func (c *Catalog) Reads(metric rules.Metric) (all [][]*labels.Matcher) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.view.mappings[metric] {
		if _, known := c.queries[m][""]; !known {
			expr, err := m.Rule.Placeholder(m.Series)
			if err != nil {
				continue // evaluating it will say so
			}
			c.note(m, "", expr)
		}
		for _, q := range c.queries[m] {
			all = append(all, q.names...)
		}
	}
	return all
}

// Evaluated notes the query of a mapping for a kind of object: a template may read other
// series for each. It reports whether the query is new.
func (c *Catalog) Evaluated(m Mapping, groupBy, expr string) (q Query, isNew bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.queries[m][groupBy]; ok {
		return known, false
	}
	return c.note(m, groupBy, expr), true
}

// note notes an empty Query for what is not PromQL. c.mu is held.
func (c *Catalog) note(m Mapping, groupBy, expr string) (q Query) {
	if parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr); err == nil {
		q.names = rules.NameMatchers(parsed)
		if q.Grouping = tsdb.NewGrouping(parsed); groupBy != "" {
			q.Grouping = tsdb.NewGrouping(parsed, groupBy)
		}
	}
	if c.queries == nil {
		c.queries = map[Mapping]map[string]Query{}
	}
	if c.queries[m] == nil {
		c.queries[m] = map[string]Query{}
	}
	c.queries[m][groupBy] = q
	return q
}

// LabelNames returns the label names of a mapping's series from the Index, none when it has
// no series that satisfy the rule and the matchers.
func (c *Catalog) LabelNames(ctx context.Context, m Mapping, more ...*labels.Matcher) ([]string, error) {
	return c.index.LabelNames(ctx, m, more...)
}

// Exposure is what targets expose, as of a moment ago.
type Exposure struct {
	Labels  map[string][]string // by name
	Version uint64              // changes with the names
	Known   bool                // false: nobody says what targets expose

	limited map[string]bool // names that only jobs of one namespace expose
}

// Anywhere reports whether a job that may write series of any namespace exposes a name.
func (e Exposure) Anywhere(name string) bool {
	_, exposed := e.Labels[name]
	return exposed && !e.limited[name]
}

// Exposure returns what targets expose.
func (c *Catalog) Exposure() Exposure {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Exposure{Labels: c.view.labels, Version: c.view.exposedVersion, Known: c.exposed != nil, limited: c.view.limited}
}

// MatchingNames returns the names that matchers on the metric name match.
func (e Exposure) MatchingNames(on []*labels.Matcher) (names []string) {
	if name, ok := rules.OneName(on); ok {
		if _, exposed := e.Labels[name]; exposed {
			names = append(names, name)
		}
		return names
	}
	for name := range e.Labels {
		if rules.MatchesName(on, name) {
			names = append(names, name)
		}
	}
	return names
}
