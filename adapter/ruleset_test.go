package adapter

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
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
	f := func(rules Rules, want ...string) {
		t.Helper()
		if rules.Custom == nil {
			rules.Custom = []Rule{}
		}
		got, err := rules.Check(nil)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	custom := func(rules ...Rule) Rules { return Rules{Custom: rules} }
	no := false
	f(Rules{Custom: DefaultRules(DefaultRateWindow)})
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
	f(Rules{External: []Rule{aRule("a"), aRule("a")}, Custom: []Rule{aRule("a")}}, "externalRules[0] and externalRules[1] both serve a as m: the later one, externalRules[1], answers")
	f(custom(aRule("a", func(r *Rule) { r.Resources = Resources{} })), "rules[0]: resources has neither template nor overrides, so no object has this metric")
	f(custom(aRule("a", func(r *Rule) { r.Resources.Overrides = map[string]GroupResource{"node": {Resource: "node"}} })),
		"rules[0]: no label is associated with namespaces, so only cluster-scoped objects have this metric: add namespace: {resource: namespace} to resources.overrides")
	f(Rules{External: []Rule{aRule("a", func(r *Rule) { r.Resources = Resources{} })}},
		"externalRules[0]: no label is associated with namespaces, so no namespace has this metric: add namespace: {resource: namespace} to resources.overrides, or namespaced: false to resources")
	f(Rules{External: []Rule{aRule("a", func(r *Rule) { r.Resources = Resources{Namespaced: &no} })}})
	f(custom(aRule("a", func(r *Rule) {
		r.Resources.Overrides["widget"] = GroupResource{Group: "example.com", Resource: "widgets"}
	})),
		"rules[0]: resources.overrides[widget]: no resource widgets.example.com is known yet: it has this metric once its CRD is installed")

	_, err := Rules{Custom: []Rule{aRule("a"), aRule("{")}, External: []Rule{aRule("a", func(r *Rule) { r.MetricsQuery = "<<.Nonsense>>" })}, Keep: []string{"("}}.Check(nil)
	require.ErrorContains(t, err, `rules[1]: seriesQuery "{" is no series selector`)
	require.ErrorContains(t, err, "externalRules[0]: metricsQuery: ")
	require.ErrorContains(t, err, "keep[0]: ")
}

// New rules are in force at once; wrong ones change nothing.
func TestSetRules(t *testing.T) {
	f := scenario(t)
	require.Equal(t, "sample=30@120s", f.ask("default/services/sample/http_requests"))
	require.NotEmpty(t, f.ListAllMetrics())
	require.NoError(t, f.SetRules(Rules{Custom: []Rule{aRule("queue_depth")}, External: []Rule{aRule("queue_depth")}, Keep: []string{"kept"}}))
	require.Contains(t, f.ask("default/services/sample/http_requests"), "404: ")
	require.Equal(t, "sample-1=3@instant sample-2=4@instant", f.ask("default/pods/*/m"))
	require.Equal(t, "{}=7@instant", f.askExternal("default/m"))
	require.Equal(t, []provider.ExternalMetricInfo{{Metric: "m"}}, f.ListAllExternalMetrics())
	require.Len(t, f.ListAllMetrics(), 2)
	require.Equal(t, []string{"kept"}, f.wanted("kept", "else"))

	err := f.SetRules(Rules{Custom: []Rule{aRule("queue_depth"), aRule("x", func(r *Rule) { r.SeriesFilters = []Filter{{}} })}})
	require.ErrorContains(t, err, "rules[1]: seriesFilters[0]: give exactly one of is and isNot")
	require.Equal(t, "sample-1=3@instant sample-2=4@instant", f.ask("default/pods/*/m"))
	require.Equal(t, []string{"kept"}, f.wanted("kept", "else"))
	require.NoError(t, f.SetRules(Rules{}))
	require.Equal(t, "sample=30@120s", f.ask("default/services/sample/http_requests"))
}

// An override may name a resource whose CRD is installed later.
func TestOverridesOfCustomResources(t *testing.T) {
	mapper, ok := BuiltinMapper().(*meta.DefaultRESTMapper)
	require.True(t, ok)
	widget := aRule("queue_depth", func(r *Rule) {
		r.Resources.Overrides["service"] = GroupResource{Group: "example.com", Resource: "widget"}
	})
	f := scenario(t)
	f.again(func(o *Options) { o.Mapper, o.Rules = mapper, Rules{Custom: []Rule{widget}} })
	require.Contains(t, f.ask("default/widgets.example.com/sample/m"), "404: ")
	mapper.Add(schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Widget"}, meta.RESTScopeNamespace)
	require.Equal(t, "sample=7@instant", f.ask("default/widgets.example.com/sample/m"))
}

// What rules make twice of the series that there are is told, an example of each pair.
func TestShadowed(t *testing.T) {
	f := scenario(t)
	require.Empty(t, f.Shadowed())
	f.now = f.now.Add(listMaxAge)
	f.append("http_requests", "sample-1", 1)
	f.append("queue_depth_total", "sample-1", 1)
	require.Equal(t, []string{"http_requests is made by rules[3] of http_requests_total and by rules[2] of http_requests: the former answers where it can"}, f.Shadowed())
}
