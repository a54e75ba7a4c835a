package rules

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
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
		compiled, _, err := rules.Compile(testKinds())
		require.NoError(t, err)
		require.Equal(t, want, Oddities(compiled))
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

	_, _, err := Set{Custom: []Rule{aRule("a"), aRule("{")}, External: []Rule{aRule("a", func(r *Rule) { r.MetricsQuery = "<<.Nonsense>>" })}, Keep: []string{"("}}.Compile(testKinds())
	require.ErrorContains(t, err, `rules[1]: seriesQuery "{" is no series selector`)
	require.ErrorContains(t, err, "externalRules[0]: metricsQuery: ")
	require.ErrorContains(t, err, "keep[0]: ")
}

// Mistakes in the configurations of prometheus-adapter's users.
func TestMistakesOfReports(t *testing.T) {
	f := func(change func(*Rule), want ...string) {
		t.Helper()
		compiled, _, err := Set{Custom: []Rule{aRule("visits_total", change)}}.Compile(testKinds())
		require.NoError(t, err)
		require.Equal(t, want, Oddities(compiled))
	}
	query := func(query string) func(*Rule) { return func(r *Rule) { r.MetricsQuery = query } }
	named := func(matches, as string) func(*Rule) { return func(r *Rule) { r.Name = Name{Matches: matches, As: as} } }
	f(query(`sum(rate(<<.Series>>{<<.LabelMatchers>>,instance="{{.Instance}}"}[2m])) by (<<.GroupBy>>)`),
		"rules[0]: metricsQuery: {{.Instance}} is not replaced: write fields between << and >>")
	f(query(`sum(rate(<<.Series>>{namespace="<<index .LabelValuesByName "namespace">>"}[2m])) by (<<.GroupBy>>)`))
	f(query(`sum(rate(<<.Series>>[2m])) by (<<.GroupBy>>)`),
		"rules[0]: metricsQuery has no <<.LabelMatchers>>, so every request reads the same series, of all namespaces: add it")
	f(query(`sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m]))`),
		"rules[0]: metricsQuery keeps no label namespace or pod, so its objects have no value: aggregate by (<<.GroupBy>>)")
	f(query(`sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (pod)`),
		"rules[0]: metricsQuery keeps no label namespace, so its objects have no value: aggregate by (<<.GroupBy>>)")
	f(named("^(.*)_total$", "{1}_per_second"), `rules[0]: name.as "{1}_per_second": {1} is not replaced: write ${1} for the group`)
	f(named("^(.*)_total$", "$1_per_second"), `rules[0]: name.as "$1_per_second": name.matches "^(.*)_total$" has no group called 1_per_second: write ${1}_per_second`)
	f(named("^(.*)_total$", "${2}"), `rules[0]: name.as "${2}": name.matches "^(.*)_total$" has no group called 2: name one of its groups`)
	f(named("^(?P<what>.*)_total$", "${what}_per_second"))
	f(named("^(.*)_count$", ""), `rules[0]: seriesQuery "visits_total" matches series, such as visits_total, but name.matches "^(.*)_count$" matches none of their names`)
	f(func(r *Rule) { r.Resources.Overrides["kube_pod"] = GroupResource{Resource: "pod"} },
		"rules[0]: resources.overrides: the labels kube_pod and pod both mean pods: queries use kube_pod")
	f(func(r *Rule) { r.Resources.Template = "kube_<<.Resource>>" })
	f(func(r *Rule) { r.Resources = Resources{Template: "<<.Resource>>"} },
		`rules[0]: resources.template "<<.Resource>>": the label job, which all series have, means jobs.batch, so all of these metrics are listed for Jobs as well: use overrides in its place, with only the labels you mean`)

	no := false
	compiled, _, err := Set{External: []Rule{aRule("a", query(`sum(<<.Series>>{<<.LabelMatchers>>,queue="x"})`), func(r *Rule) { r.Resources.Namespaced = &no })}, Custom: []Rule{}}.Compile(testKinds())
	require.NoError(t, err)
	require.Len(t, Oddities(compiled), 1)
	require.Contains(t, Oddities(compiled)[0], "externalRules[0]: metricsQuery gives no PromQL for an HPA without a metric selector: ")

	window := query(`sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m] offset 2h)) by (<<.GroupBy>>)`)
	compiled, _, err = Set{Custom: []Rule{aRule("a", window), aRule("b", window)}}.Compile(testKinds())
	require.NoError(t, err)
	require.Equal(t, []string{
		"rules[0], rules[1]: metricsQuery: [1m] is shorter than 4 scrape intervals of 30s: with fewer than two samples in it, a rate also uses those before it",
		"rules[0], rules[1]: metricsQuery reads samples of the last 2h1m, but they are kept for 2h: raise --retention",
	}, OddWindows(compiled, 30*time.Second, 2*time.Hour))
	require.Empty(t, OddWindows(compiled, 15*time.Second, 3*time.Hour))
}

func TestKeptLabels(t *testing.T) {
	f := func(want bool, expr string) {
		t.Helper()
		parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
		require.NoError(t, err)
		require.Equal(t, want, mayKeep(parsed, "pod"), expr)
	}
	for _, expr := range []string{
		"a", "-a", "(a)", "a * 2", "2 * a", "rate(a[1m])", "sum by (pod) (a)", "sum without (node) (a)", "topk(1, a)", "a / b", "a / on(pod) b", "a / ignoring(x) b",
		"a * on(node) group_left b", "a * on(node) group_right(pod) sum(b)", "sum(a) or b", "a and on() sum(b)", "histogram_quantile(0.9, sum by (le, pod) (a))",
		`label_replace(sum(a), "pod", "x", "", "")`, `absent(a{pod="x"})`, "max_over_time(a[5m:1m])", "clamp_max(a, 1)", "a > bool 1",
	} {
		f(true, expr)
	}
	for _, expr := range []string{
		"1", "vector(1)", "sum(a)", "sum by (node) (a)", "sum without (pod) (a)", "topk(1, sum(a))", "a / on(node) b", "a / ignoring(pod) b", "sum(a) and b",
		"sum(a) * on() group_left(node) b", `label_replace(sum(a), "node", "x", "", "")`, "absent(a)", "scalar(a) * sum(b)", "max_over_time(sum(a)[5m:1m])",
	} {
		f(false, expr)
	}
}

func TestSummaries(t *testing.T) {
	compiled, _, err := Set{
		Custom: []Rule{
			aRule("istio_requests_total", func(r *Rule) {
				r.Resources.Overrides = map[string]GroupResource{"namespace": {Resource: "namespace"}, "app": {Group: "apps", Resource: "deployment"}}
				r.Name = Name{Matches: "^(.*)_total$", As: "${1}_per_second"}
				r.MetricsQuery = "sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)"
			}),
			aRule(`{__name__=~"^jvm_.*"}`, func(r *Rule) {
				r.Name = Name{}
				r.MetricsQuery = "max_over_time(<<.Series>>{<<.LabelMatchers>>}[10m]) / rate(<<.Series>>{<<.LabelMatchers>>}[5m:1m])"
			}),
		},
		External: []Rule{aRule("queue_length")},
	}.Compile(testKinds())
	require.NoError(t, err)
	var lines []string
	for _, s := range Summaries(compiled) {
		lines = append(lines, s.String())
	}
	require.Equal(t, []string{
		"rules[0]: istio_requests_total -> istio_requests_per_second (deployments.apps, namespaces), rate over 2m",
		`rules[1]: {__name__=~"^jvm_.*"}, such as jvm_x -> jvm_x (namespaces, pods), max_over_time over 10m and rate over 5m`,
		"externalRules[0]: queue_length -> m (external), last values",
	}, lines)
}
