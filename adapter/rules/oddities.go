package rules

import (
	"fmt"
	"maps"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/promlet/promlet/adapter/objects"
)

// Oddities returns warnings about rules that load.
func Oddities(compiled []*Compiled) []string {
	var odd []string
	warn := func(c *Compiled, text string) { odd = append(odd, c.String()+": "+text) }
	for _, c := range compiled {
		hasNamespace := c.Label(objects.Namespace()) != ""
		switch {
		case c.API == ExternalAPI && c.Namespaced() && !hasNamespace:
			warn(c, "no label is associated with namespaces, so no namespace has this metric: add namespace: {resource: namespace} to resources.overrides, or namespaced: false to resources")
		case c.API == CustomAPI && c.mapsNothing():
			warn(c, "resources has neither template nor overrides, so no object has this metric")
		case c.API == CustomAPI && !hasNamespace:
			warn(c, "no label is associated with namespaces, so only cluster-scoped objects have this metric: add namespace: {resource: namespace} to resources.overrides")
		}
		for _, label := range slices.Sorted(maps.Keys(c.later)) {
			warn(c, fmt.Sprintf("resources.overrides[%s]: no resource %s is known yet: it has this metric once its CRD is installed", label, c.later[label]))
		}
	}
	return append(odd, shadowed(compiled)...)
}

// shadowed warns of rules that make the same metric of one series name: only the later
// answers. It tries the names that the rules mention, so it need not find all.
func shadowed(compiled []*Compiled) []string {
	var odd []string
	warned := map[[2]*Compiled]bool{}
	for _, series := range examples(compiled) {
		by := map[Metric]*Compiled{} // the latest
		for _, c := range slices.Backward(compiled) {
			metric, ok := c.MetricName(series, model.MetricTypeUnknown)
			if !ok {
				continue
			}
			later := by[Metric{c.API, metric}]
			if later == nil {
				by[Metric{c.API, metric}] = c
				continue
			}
			pair := [2]*Compiled{later, c}
			if !warned[pair] && c.sharesSeries(later) && later.sharesSeries(c) && (c.API == ExternalAPI || c.overlaps(later.association)) {
				warned[pair] = true
				odd = append(odd, fmt.Sprintf("%s and %s both serve %s as %s: the later one, %s, answers", c, later, series, metric, later))
			}
		}
	}
	slices.Sort(odd)
	return odd
}

// sharesSeries reports whether two rules may take the same series of a name: not where
// this one asks for a label's value that the other rules out.
func (c *Compiled) sharesSeries(other *Compiled) bool {
	for _, want := range c.Matchers {
		excludes := func(m *labels.Matcher) bool { return m.Name == want.Name && !m.Matches(want.Value) }
		if want.Type == labels.MatchEqual && want.Name != model.MetricNameLabel && slices.ContainsFunc(other.Matchers, excludes) {
			return false
		}
	}
	return true
}
