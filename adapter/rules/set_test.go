package rules

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// aRule takes a series name by a selector and calls the metric m.
func aRule(series string, change ...func(*Rule)) Rule {
	r := Rule{
		SeriesQuery:  series,
		Resources:    Resources{Overrides: map[string]GroupResource{"namespace": {Resource: "namespace"}, "pod": {Resource: "pod"}}},
		Name:         Name{As: "m"},
		MetricsQuery: `sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)`,
	}
	for _, f := range change {
		f(&r)
	}
	return r
}

// Rules that load, and of which something is said all the same.
func TestOddities(t *testing.T) {
	f := func(rules Set, want ...string) {
		t.Helper()
		if rules.Custom == nil {
			rules.Custom = []Rule{}
		}
		got, err := rules.Check(nil)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	custom := func(rules ...Rule) Set { return Set{Custom: rules} }
	no := false
	f(Set{Custom: Defaults(DefaultRateWindow)})
	f(custom(aRule("a"), aRule("b")))
	f(custom(aRule("a"), aRule("a")), "rules[0] and rules[1] both serve a as m: the later one, rules[1], answers")
	f(custom(aRule(`{__name__=~"^a_.*"}`), aRule(`{__name__=~"^a_b_(c|d)$"}`)), "rules[0] and rules[1] both serve a_b_c as m: the later one, rules[1], answers")
	f(custom(aRule(`a{kind="x"}`), aRule(`a{kind="y"}`)))
	f(custom(aRule(`a{kind="x"}`), aRule(`a{kind!=""}`)), "rules[0] and rules[1] both serve a as m: the later one, rules[1], answers")
	f(custom(aRule("a"), aRule("a", func(r *Rule) { r.Name.As = "other" })))
	f(custom(aRule("a", func(r *Rule) {
		r.Resources.Overrides = map[string]GroupResource{"service": {Resource: "service"}, "namespace": {Resource: "namespace"}}
	}),
		aRule("a", func(r *Rule) { r.Resources = Resources{Template: "kube_<<.Resource>>"} })))
	f(Set{External: []Rule{aRule("a"), aRule("a")}, Custom: []Rule{aRule("a")}}, "externalRules[0] and externalRules[1] both serve a as m: the later one, externalRules[1], answers")
	f(custom(aRule("a", func(r *Rule) { r.Resources = Resources{} })), "rules[0]: resources has neither template nor overrides, so no object has this metric")
	f(custom(aRule("a", func(r *Rule) { r.Resources.Overrides = map[string]GroupResource{"node": {Resource: "node"}} })),
		"rules[0]: no label is associated with namespaces, so only cluster-scoped objects have this metric: add namespace: {resource: namespace} to resources.overrides")
	f(Set{External: []Rule{aRule("a", func(r *Rule) { r.Resources = Resources{} })}},
		"externalRules[0]: no label is associated with namespaces, so no namespace has this metric: add namespace: {resource: namespace} to resources.overrides, or namespaced: false to resources")
	f(Set{External: []Rule{aRule("a", func(r *Rule) { r.Resources = Resources{Namespaced: &no} })}})
	f(custom(aRule("a", func(r *Rule) {
		r.Resources.Overrides["widget"] = GroupResource{Group: "example.com", Resource: "widgets"}
	})),
		"rules[0]: resources.overrides[widget]: no resource widgets.example.com is known yet: it has this metric once its CRD is installed")

	_, err := Set{Custom: []Rule{aRule("a"), aRule("{")}, External: []Rule{aRule("a", func(r *Rule) { r.MetricsQuery = "<<.Nonsense>>" })}, Keep: []string{"("}}.Check(nil)
	require.ErrorContains(t, err, `rules[1]: seriesQuery "{" is no series selector`)
	require.ErrorContains(t, err, "externalRules[0]: metricsQuery: ")
	require.ErrorContains(t, err, "keep[0]: ")
}
