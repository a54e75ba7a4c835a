package demand

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/rules"
)

// Demand is who reads the series of each name, at one moment. It does not change, and is
// safe for concurrent use.
type Demand struct {
	at        time.Time
	rules     []*rules.Compiled
	catalog   *catalog.Catalog
	metrics   map[rules.Metric]*readers // which the rules make of series
	names     map[string][]readers      // of series
	selectors []selectorReaders
	usage     [][]*labels.Matcher // what resourceRules read
	elsewhere map[string]bool     // names of usage that the targets of monitors expose
}

// readers are those who read a metric, or series.
type readers struct {
	hpas       []string  // namespace/name
	api, query time.Time // last; zero for never
	keep       bool
}

// selectorReaders read the series whose names matchers match.
type selectorReaders struct {
	on []*labels.Matcher
	readers
}

func newDemand(c *catalog.Catalog, at time.Time) *Demand {
	return &Demand{at: at, rules: c.Rules(), catalog: c, metrics: map[rules.Metric]*readers{}, names: map[string][]readers{}}
}

// noteUsage notes the names that resourceRules read, and which of them targets of monitors expose.
func (d *Demand) noteUsage(usage map[rules.Metric][][]*labels.Matcher) {
	d.elsewhere = map[string]bool{}
	exposed := d.catalog.Exposure()
	for _, reads := range usage {
		d.usage = append(d.usage, reads...)
		for _, on := range reads {
			for _, name := range exposed.MatchingNames(on) {
				if exposed.Anywhere(name) {
					d.elsewhere[name] = true
				}
			}
		}
	}
}

// fromElsewhere reports whether the targets of monitors expose names that matchers match.
func (d *Demand) fromElsewhere(on []*labels.Matcher) bool {
	for name := range d.elsewhere {
		if rules.MatchesName(on, name) {
			return true
		}
	}
	return false
}

// OfKubelets reports whether series of a name that kubelets expose at /metrics/resource may be
// stored: resourceRules read the name, and no target of a monitor exposes it. With both sources
// every container would count twice. Targets that can only write series of one namespace are
// ignored, so that they cannot decide for other namespaces.
func (d *Demand) OfKubelets(series string) bool {
	return !d.elsewhere[series] && slices.ContainsFunc(d.usage, func(on []*labels.Matcher) bool { return rules.MatchesName(on, series) })
}

// of returns the readers of a metric.
func (d *Demand) of(metric rules.Metric) *readers {
	r := d.metrics[metric]
	if r == nil {
		r = &readers{}
		d.metrics[metric] = r
	}
	return r
}

func (d *Demand) addAutoscaler(metric rules.Metric, hpa string) {
	if r := d.of(metric); !slices.Contains(r.hpas, hpa) {
		r.hpas = append(r.hpas, hpa)
	}
}

// add adds readers of the series whose names matchers match.
func (d *Demand) add(on []*labels.Matcher, r readers) {
	if name, ok := rules.OneName(on); ok {
		d.names[name] = append(d.names[name], r)
		return
	}
	d.selectors = append(d.selectors, selectorReaders{on, r})
}

// readersOf yields the readers of the series with a name. metricName returns the metric that a
// rule makes of the name.
func (d *Demand) readersOf(series string, metricName func(r *rules.Compiled, series string) (string, bool)) iter.Seq[readers] {
	return func(yield func(readers) bool) {
		for _, r := range d.names[series] {
			if !yield(r) {
				return
			}
		}
		for _, s := range d.selectors {
			if rules.MatchesName(s.on, series) && !yield(s.readers) {
				return
			}
		}
		if len(d.metrics) == 0 {
			return
		}
		for _, rule := range d.rules {
			if name, ok := metricName(rule, series); ok {
				if r := d.metrics[rules.Metric{API: rule.API, Name: name}]; r != nil && !yield(*r) {
					return
				}
			}
		}
	}
}

// Wanted reports whether anybody reads the series of a name: HPAs, API clients, queries,
// or keep in the configuration.
func (d *Demand) Wanted(series string) bool {
	for range d.readersOf(series, withoutType) {
		return true
	}
	return false
}

// withoutType returns the name of the metric that a rule makes of a series name without a
// type. If the type of a name matters, the name is in Demand.names once it is exposed.
func withoutType(r *rules.Compiled, series string) (string, bool) {
	return r.MetricName(series, model.MetricTypeUnknown)
}

// Scaled reports whether an HPA reads the series of a name.
func (d *Demand) Scaled(series string) bool {
	for r := range d.readersOf(series, withoutType) {
		if len(r.hpas) > 0 {
			return true
		}
	}
	return false
}

// ReaderHPA is the prefix of an HPA's name in the result of Readers.
const ReaderHPA = "HPA "

// Readers returns who reads the series of a name, sorted: HPAs, clients of the API and how
// long ago, queries, and keep in the configuration.
func (d *Demand) Readers(series string) (who []string) {
	ago := func(at time.Time) string { return max(0, d.at.Sub(at)).Round(time.Second).String() + " ago" }
	for r := range d.readersOf(series, d.catalog.MetricName) {
		for _, hpa := range r.hpas {
			who = append(who, ReaderHPA+hpa)
		}
		if !r.api.IsZero() {
			who = append(who, "API, "+ago(r.api))
		}
		if !r.query.IsZero() {
			who = append(who, "query, "+ago(r.query))
		}
		if r.keep {
			who = append(who, "keep")
		}
	}
	slices.Sort(who)
	return slices.Compact(who)
}

// ServedMetric is a metric that a rule makes of a series.
type ServedMetric struct {
	Metric   string `json:"metric"`
	External bool   `json:"external,omitempty"` // of external.metrics.k8s.io
	Rule     string `json:"rule"`               // such as rules[3]
}

// Served returns the metrics that rules make of a series, the ones that win first.
func (d *Demand) Served(series string) (served []ServedMetric) {
	for _, r := range slices.Backward(d.rules) {
		if metric, ok := d.catalog.MetricName(r, series); ok {
			served = append(served, ServedMetric{Metric: metric, External: r.API == rules.ExternalAPI, Rule: r.Origin()})
		}
	}
	return served
}

// key returns a text that is the same for Demands with the same results of Wanted, Scaled and OfKubelets.
func (d *Demand) key() string {
	var parts []string
	add := func(r readers, what string) { parts = append(parts, fmt.Sprint(len(r.hpas) > 0, " ", what)) }
	for metric, r := range d.metrics {
		add(*r, fmt.Sprint("metric ", metric.API, " ", metric.Name))
	}
	for name, all := range d.names {
		for _, r := range all {
			add(r, "name "+name)
		}
	}
	for _, s := range d.selectors {
		add(s.readers, selectorText(s.on))
	}
	for _, on := range d.usage {
		parts = append(parts, "usage "+selectorText(on))
	}
	for name := range d.elsewhere {
		parts = append(parts, "elsewhere "+name)
	}
	slices.Sort(parts)
	return strings.Join(slices.Compact(parts), "\n")
}
