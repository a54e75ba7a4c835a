package adapter

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/promlet/promlet/tsdb"
)

const (
	// namesMaxAge bounds how long a new series name stays unknown. Reading
	// the names is cheap (it copies the index's list of them).
	namesMaxAge = time.Second
	// listMaxAge bounds how old the API's discovery document may be. It is
	// fetched over and over, and making it looks at the labels of everything.
	listMaxAge = 10 * time.Second
	// listTimeout keeps discovery answering well within the aggregator's 5 s.
	listTimeout = 3 * time.Second
	// seriesMaxAge is how far back a series counts as one that is there.
	seriesMaxAge = 5 * time.Minute
)

// catalog knows which metrics the rules make of the series that targets expose or
// that are stored.
type catalog struct {
	queryable storage.Queryable
	now       func() time.Time

	exposed func(known uint64) ([]Exposed, uint64) // may be nil

	mu             sync.Mutex
	rules          []*rule
	names          []string // stored
	exposedVersion uint64
	labels         map[string][]string         // of what targets expose, by series name
	types          map[string]model.MetricType // likewise; unknown where targets differ
	namesAt        time.Time
	byMetric       map[metricKey][]candidate
	version        uint64 // counts the changes of byMetric
	unmatched      unmatched
	// readBy is what rules read, by the label that they group by ("" for a placeholder),
	// as far as it was asked for.
	readBy map[candidate]map[string]query

	stale bool // the rules are others than byMetric was made of

	listMu sync.Mutex
	listed *listing
	listAt time.Time
}

// Exposed is a series name that targets expose, whether its series are stored or
// not.
type Exposed struct {
	Name string
	// LabelNames are those of one of the series, sorted, without the name.
	LabelNames []string
	// Type is the one that the targets tell, of a series of a histogram or summary that
	// of the whole. Empty where it is not known.
	Type model.MetricType
}

// query is what is known of the query that a rule makes of a series.
type query struct {
	names    [][]*labels.Matcher // on the metric name, of each selector
	grouping *tsdb.Grouping      // nil where it is no query
}

// candidate is a series name that a rule serves under some metric name.
type candidate struct {
	*rule
	series string
}

// seriesMatchers select the series of the name that the rule takes. Those of the rule
// on the name have been asked already.
func (c candidate) seriesMatchers() []*labels.Matcher {
	matchers := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, c.series)}
	for _, m := range c.matchers {
		if m.Name != model.MetricNameLabel {
			matchers = append(matchers, m)
		}
	}
	return matchers
}

// candidates returns the ways to a metric, best first: the later rule wins, as
// in prometheus-adapter, and then the earlier series name.
func (c *catalog) candidates(ctx context.Context, metric metricKey) ([]candidate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refresh(ctx); err != nil {
		return nil, err
	}
	return c.byMetric[metric], nil
}

// all returns every candidate.
func (c *catalog) all(ctx context.Context) (map[metricKey][]candidate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refresh(ctx); err != nil {
		return nil, err
	}
	return c.byMetric, nil // replaced whole, never changed
}

func (c *catalog) refresh(ctx context.Context) error {
	now := c.now()
	if age := now.Sub(c.namesAt); c.byMetric != nil && !c.stale && age >= 0 && age < namesMaxAge {
		return nil
	}
	q, err := c.querier()
	if err != nil {
		return err
	}
	names, _, err := q.LabelValues(ctx, model.MetricNameLabel, nil)
	if err == nil && (c.readExposed() || c.byMetric == nil || c.stale || !slices.Equal(names, c.names)) {
		c.names = slices.Clone(names)
		all := c.allNames()
		c.byMetric, c.stale = candidatesByMetric(c.rules, all, c.types), false
		c.version++
		c.keepRead(all)
	}
	if closeErr := q.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("read series names: %w", err)
	}
	c.namesAt = now
	return nil
}

// allNames are those that are stored or exposed, sorted. c.mu is held.
func (c *catalog) allNames() []string {
	all := slices.AppendSeq(slices.Clone(c.names), maps.Keys(c.labels))
	slices.Sort(all)
	return slices.Compact(all)
}

// keepRead forgets what is read by candidates that there are no more.
func (c *catalog) keepRead(names []string) {
	kept := make(map[candidate]map[string]query, len(c.readBy))
	for cand, reads := range c.readBy {
		if _, there := slices.BinarySearch(names, cand.series); there && slices.Contains(c.rules, cand.rule) {
			kept[cand] = reads
		}
	}
	c.readBy = kept
}

// readExposed tells whether targets expose other names than before.
func (c *catalog) readExposed() (changed bool) {
	if c.exposed == nil {
		return false
	}
	exposed, version := c.exposed(c.exposedVersion)
	if version == c.exposedVersion {
		return false
	}
	c.exposedVersion = version
	c.labels = make(map[string][]string, len(exposed))
	c.types = make(map[string]model.MetricType, len(exposed))
	for _, e := range exposed {
		// Several jobs may expose it.
		if known, ok := c.labels[e.Name]; ok && !slices.Equal(known, e.LabelNames) {
			e.LabelNames = slices.Concat(known, e.LabelNames)
			slices.Sort(e.LabelNames)
			e.LabelNames = slices.Compact(e.LabelNames)
		}
		c.labels[e.Name] = e.LabelNames
		if known, ok := c.types[e.Name]; ok && known != e.Type {
			e.Type = model.MetricTypeUnknown
		}
		c.types[e.Name] = e.Type
	}
	return true
}

// reads returns the matchers on the metric name of each selector that making a
// metric takes.
func (c *catalog) reads(metric metricKey) (all [][]*labels.Matcher) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cand := range c.byMetric[metric] {
		if _, known := c.readBy[cand][""]; !known {
			expr, err := cand.placeholder(cand.series)
			if err != nil {
				continue // evaluating it will say so
			}
			c.note(cand, "", expr)
		}
		for _, q := range c.readBy[cand] {
			all = append(all, q.names...)
		}
	}
	return all
}

// evaluated notes what a candidate reads to answer for a kind of object: its template
// may read other series for each. It reports whether that is new.
func (c *catalog) evaluated(cand candidate, groupBy, expr string) (q query, isNew bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.readBy[cand][groupBy]; ok {
		return known, false
	}
	return c.note(cand, groupBy, expr), true
}

// note notes nothing for a query that is none. c.mu is held.
func (c *catalog) note(cand candidate, groupBy, expr string) (q query) {
	if parsed, err := cand.parser.ParseExpr(expr); err == nil {
		q.names = nameMatchers(parsed)
		if q.grouping = tsdb.NewGrouping(parsed); groupBy != "" {
			q.grouping = tsdb.NewGrouping(parsed, groupBy)
		}
	}
	if c.readBy[cand] == nil {
		c.readBy[cand] = map[string]query{}
	}
	c.readBy[cand][groupBy] = q
	return q
}

func candidatesByMetric(rules []*rule, names []string, types map[string]model.MetricType) map[metricKey][]candidate {
	byMetric := make(map[metricKey][]candidate, len(names))
	for _, r := range slices.Backward(rules) {
		for _, series := range names {
			if metric, ok := r.metricName(series, types[series]); ok {
				key := metricKey{r.api, metric}
				byMetric[key] = append(byMetric[key], candidate{r, series})
			}
		}
	}
	return byMetric
}

// labelNames returns the label names that the candidate's series carry, none
// when there are no series that satisfy the rule and the matchers.
func (c *catalog) labelNames(ctx context.Context, cand candidate, more ...*labels.Matcher) ([]string, error) {
	return c.read(cand, more, func(q storage.Querier, matchers []*labels.Matcher) ([]string, error) {
		names, _, err := q.LabelNames(ctx, nil, matchers...)
		return names, err
	})
}

func (c *catalog) read(cand candidate, more []*labels.Matcher, from func(storage.Querier, []*labels.Matcher) ([]string, error)) ([]string, error) {
	q, err := c.querier()
	if err != nil {
		return nil, err
	}
	matchers := append(cand.seriesMatchers(), more...)
	found, err := from(q, matchers)
	found = slices.Clone(found)
	if closeErr := q.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("read labels of %s: %w", cand.series, err)
	}
	return found, nil
}

func (c *catalog) querier() (storage.Querier, error) {
	now := c.now()
	q, err := c.queryable.Querier(now.Add(-seriesMaxAge).UnixMilli(), now.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("read the index: %w", err)
	}
	return q, nil
}

// setRules replaces the rules; what is known of series stays.
func (c *catalog) setRules(rules []*rule) {
	c.listMu.Lock()
	defer c.listMu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	// Until it is refreshed, what the old rules read is still wanted.
	c.rules, c.stale = rules, true
	c.unmatched = unmatched{loaded: c.now()}
	c.listAt = time.Time{}
}

// typeOf returns the type of what targets expose under a name, empty where it is not known.
func (c *catalog) typeOf(series string) model.MetricType {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.types[series]
}

// currentRules are never changed.
func (c *catalog) currentRules() []*rule {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rules
}
