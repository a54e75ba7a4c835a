package explain

import (
	"context"
	"slices"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
)

// searchExternal looks for the first broken link of an external metric without series. It names nothing of other
// namespaces.
func (c *chain) searchExternal() {
	names := c.sourceNames()
	isSource := func(e catalog.Exposed) bool { return slices.Contains(names, e.Name) }
	exposure := c.x.values.Catalog.Exposure()
	exposed := func(name string) bool { _, ok := exposure.Labels[name]; return ok }
	switch {
	case c.readsAllNamespaces():
		c.searchEverywhere(names, exposure)
	case exposure.Known && !slices.ContainsFunc(c.targetsOf(""), isDown) && !slices.ContainsFunc(c.exposedBy(c.jobs), isSource) && slices.ContainsFunc(names, exposed):
		c.broken(LinkSeries, "no target%s exposes %s; the same metric is exposed elsewhere: `namespaced: false` in the resources of %s reaches it",
			values.InNamespace(c.within()), strings.Join(names, " or "), c.sources[0].Rule.Origin())
	case c.scraped() && c.series():
		c.uncollected()
	}
}

func isDown(t values.Target) bool { return !t.Up() }

// sourceNames returns the names of the first two series that rules could make the metric of.
func (c *chain) sourceNames() (names []string) {
	for _, source := range c.sources {
		if !slices.Contains(names, source.Series) {
			names = append(names, source.Series)
		}
	}
	return names[:min(len(names), 2)]
}

// readsAllNamespaces reports whether any target may expose series of the metric: a rule reads all namespaces, or it takes
// the namespace from a label that discovery does not add.
func (c *chain) readsAllNamespaces() bool {
	return slices.ContainsFunc(c.sources, func(m catalog.Mapping) bool {
		return !m.Rule.Namespaced() || m.Rule.AllNamespaces || m.Rule.Label(objects.Namespace()) != "namespace"
	})
}

// searchEverywhere looks for the broken link among the targets of all namespaces.
func (c *chain) searchEverywhere(names []string, exposure catalog.Exposure) {
	if !exposure.Known {
		return // the evaluation has found a reason
	}
	for _, source := range c.sources {
		series, ok := exposure.Labels[source.Series]
		if !ok {
			continue
		}
		if matcher, ok := source.Rule.Takes(series); !ok {
			c.broken(LinkSeries, "%s is exposed, but %s wants %s, and its series have no such label", source.Series, source.Rule.Origin(), matcher)
			return
		}
		c.source = source.Series
		c.ok(LinkSeries, "%s is exposed", source.Series)
		c.outOfBounds(c.allJobs())
		return // if outOfBounds finds no reason, the evaluation has found one
	}
	also := ""
	if slices.ContainsFunc(c.allTargets(), isDown) {
		also = "; some targets are not up"
	}
	c.broken(LinkSeries, "no target of any namespace exposes %s%s%s", strings.Join(names, " or "), c.closestMetric(), also)
}

// allJobs returns the jobs of all targets.
func (c *chain) allJobs() (jobs []string) {
	for _, t := range c.allTargets() {
		jobs = append(jobs, t.Job)
	}
	slices.Sort(jobs)
	return slices.Compact(jobs)
}

// exportedLabel returns the label that begins with exported_ and names the object in stored series, "" if there is none.
// A scrape renames an exporter's own label so if the target has a label of that name.
func (c *chain) exportedLabel(ctx context.Context) string {
	for _, source := range c.sources {
		for _, matchers := range c.exportedMatchers(source.Rule) {
			found, err := c.x.values.Catalog.LabelNames(ctx, source, rules.Plain(matchers)...)
			if err == nil && len(found) > 0 {
				at := slices.IndexFunc(matchers, func(m rules.Matcher) bool { return strings.HasPrefix(m.Name, model.ExportedLabelPrefix) })
				return matchers[at].Name
			}
		}
	}
	return ""
}

// exportedMatchers returns the matchers of series that name the object in a label that begins with exported_. Each element
// of ways is a list of matchers to try.
func (c *chain) exportedMatchers(rule *rules.Compiled) (ways [][]rules.Matcher) {
	namespaceLabel, within := rule.Label(objects.Namespace()), c.within()
	if namespaceLabel == "" || within == "" {
		return nil
	}
	exported := rules.Equal(model.ExportedLabelPrefix+namespaceLabel, within)
	if c.req.Metric.API == rules.ExternalAPI || c.req.Kind.IsNamespace() {
		if !rule.Namespaced() {
			return nil
		}
		return [][]rules.Matcher{{exported}}
	}
	add := func(label string, names []string) {
		if label == "" || len(names) == 0 {
			return
		}
		renamed := rules.OneOf(model.ExportedLabelPrefix+label, names)
		ways = append(ways, []rules.Matcher{renamed, exported}, []rules.Matcher{renamed, rules.Equal(namespaceLabel, within)}, []rules.Matcher{exported, rules.OneOf(label, names)})
	}
	add(rule.Label(c.req.Kind), []string{c.name})
	if !c.req.Kind.IsPod() {
		add(rule.Label(objects.Pod()), c.pods)
	}
	return ways
}
