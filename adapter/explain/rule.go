package explain

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/rules"
)

// rule reports which rule makes the metric, and of what.
func (c *chain) rule(ctx context.Context) bool {
	known, err := c.x.mappings(ctx, &c.req)
	if err != nil {
		return c.broken(LinkRule, "%v", err)
	}
	metric := c.req.Metric
	if len(known) == 0 {
		if as := c.servedAs(); as != "" {
			return c.broken(LinkRule, "%s", as)
		}
	}
	c.sources = c.findSources(known)
	if len(c.sources) == 0 {
		of := ""
		if metric.API == rules.ExternalAPI {
			of = " of externalRules"
		}
		return c.broken(LinkRule, "no rule%s makes a metric called %s%s", of, metric.Name, c.closestMetric())
	}
	if exists := c.existing(known); len(exists) > 0 {
		c.ok(LinkRule, "made by %s", origins(exists))
	} else {
		c.note(LinkRule, "it would be made by %s", origins(c.sources))
	}
	return true
}

// existing returns the sources whose series exist, as far as is known of the object: its targets expose them, or they are
// stored. Of an object without targets of its own it returns those that exist anywhere.
func (c *chain) existing(known []catalog.Mapping) (exists []catalog.Mapping) {
	own := c.ownJobs()
	exposed := c.exposedBy(own)
	elsewhere := c.stores || len(own) < len(c.jobs) || len(own) == 0
	for _, source := range c.sources {
		here := slices.ContainsFunc(exposed, func(e catalog.Exposed) bool { return e.Name == source.Series })
		if here || elsewhere && slices.ContainsFunc(known, func(m catalog.Mapping) bool { return m.Series == source.Series }) {
			exists = append(exists, source)
		}
	}
	return exists
}

// origins lists a few of the rules that make a metric, and of what series.
func origins(sources []catalog.Mapping) string {
	sources = sources[:min(len(sources), 3)]
	var made, names []string
	sameOrigin := true
	for _, m := range sources {
		sameOrigin = sameOrigin && m.Rule.Origin() == sources[0].Rule.Origin()
		made = append(made, fmt.Sprintf("%s of %s", m.Rule.Origin(), m.Series))
		names = append(names, m.Series)
	}
	last := len(names) - 1
	if last < 1 || !sameOrigin {
		return strings.Join(made, ", or ")
	}
	return fmt.Sprintf("%s, of %s or %s", sources[0].Rule.Origin(), strings.Join(names[:last], ", "), names[last])
}

// servedAs returns what to ask for if the metric has the name of a series that the object's
// targets expose and that a rule serves under another name, "" otherwise.
func (c *chain) servedAs() string {
	for _, e := range c.exposedBy(c.ownJobs()) {
		if e.Name == c.req.Metric.Name {
			return servedName(c.x.values.Catalog.Rules(), c.req.Metric, func(r *rules.Compiled) (string, bool) { return r.MetricName(e.Name, e.Type) })
		}
	}
	return ""
}

// servedName says under which name rules serve a series that is called as the metric, "" for
// none. metricName returns the metric that a rule makes of the series.
func servedName(inForce []*rules.Compiled, asked rules.Metric, metricName func(*rules.Compiled) (string, bool)) string {
	for _, r := range slices.Backward(inForce) {
		if name, ok := metricName(r); ok && r.API == asked.API && name != asked.Name {
			rate := ""
			if r.ByDefault() && r.Window > 0 {
				rate = ", per second"
			}
			return fmt.Sprintf("%s is served as %s%s: use that name", asked.Name, name, rate)
		}
	}
	return ""
}

// findSources returns the series that rules could make the metric of. It tries names that the
// rules or the metric suggest, and otherwise returns the known ones.
func (c *chain) findSources(known []catalog.Mapping) (sources []catalog.Mapping) {
	cat := c.x.values.Catalog
	add := func(r *rules.Compiled, series string) {
		source := catalog.Mapping{Rule: r, Series: series}
		metric, ok := r.MetricName(series, cat.TypeOf(series, c.req.TypesWithin()))
		if ok && (rules.Metric{API: r.API, Name: metric}) == c.req.Metric && !slices.Contains(sources, source) {
			sources = append(sources, source)
		}
	}
	inForce := cat.Rules()
	for _, r := range slices.Backward(inForce) {
		for _, m := range rules.OnName(r.Matchers) {
			if m.Type == labels.MatchEqual {
				add(r, m.Value)
			}
		}
	}
	name := c.req.Metric.Name
	for _, guess := range []string{name, name + "_total", name + "_seconds_total", "container_" + name, "container_" + name + "_total", "container_" + name + "_seconds_total"} {
		for _, r := range slices.Backward(inForce) {
			add(r, guess)
		}
	}
	if len(sources) == 0 {
		return known
	}
	return sources
}

// exposedMetrics are the names of metrics that rules make of what the object's targets
// expose.
func (c *chain) exposedMetrics() (metrics []string) {
	for _, e := range c.exposedBy(c.ownJobs()) {
		for _, r := range c.x.values.Catalog.Rules() {
			if metric, ok := r.MetricName(e.Name, e.Type); ok && r.API == c.req.Metric.API {
				metrics = append(metrics, metric)
			}
		}
	}
	return metrics
}

// closestMetric names the metric of the object's targets that comes nearest to the one wanted,
// if any comes near.
func (c *chain) closestMetric() string { return closestMetricOf(c.exposedMetrics(), c.req.Metric.Name) }

func closestMetricOf(metrics []string, wanted string) string {
	if nearest := rules.Closest(metrics, wanted); nearest != "" {
		return fmt.Sprintf(" (closest metric: %s)", nearest)
	}
	return ""
}

// closestOf returns a text with the name that is closest to the wanted one, "" if none is close.
func closestOf(names []string, wanted string) string {
	if nearest := rules.Closest(names, wanted); nearest != "" {
		return fmt.Sprintf(" (closest: %s)", nearest)
	}
	return ""
}
