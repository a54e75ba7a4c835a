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
	var err error
	if c.sources, err = c.findSources(ctx); err != nil {
		return c.broken(LinkRule, "%v", err)
	}
	metric := c.req.Metric
	if len(c.sources) == 0 {
		of := ""
		if metric.API == rules.ExternalAPI {
			of = " of externalRules"
		}
		return c.broken(LinkRule, "no rule%s makes a metric called %s%s", of, metric.Name, closestOf(c.exposedMetrics(), metric.Name))
	}
	var made []string
	for _, m := range c.sources[:min(len(c.sources), 3)] {
		made = append(made, fmt.Sprintf("%s of %s", m.Rule.Origin(), m.Series))
	}
	c.ok(LinkRule, "made by %s", strings.Join(made, ", or "))
	return true
}

// findSources returns the series that rules could make the metric of, by names that the
// rules or the metric suggest; or else those that exist.
func (c *chain) findSources(ctx context.Context) (sources []catalog.Mapping, err error) {
	known, err := c.x.mappings(ctx, &c.req)
	if err != nil {
		return nil, err
	}
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
		return known, nil
	}
	return sources, nil
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

// closestOf names the nearest of names to one of those wanted, if any comes near.
func closestOf(names []string, wanted ...string) string {
	if nearest := rules.Closest(names, wanted...); nearest != "" {
		return fmt.Sprintf(" (closest: %s)", nearest)
	}
	return ""
}
