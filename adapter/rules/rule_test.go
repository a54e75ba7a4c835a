package rules

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/adapter/objects"
)

func testKinds() *objects.Kinds { return objects.NewKinds(nil, time.Now) }

func mustCompile(t *testing.T, rules ...Rule) []*Compiled {
	t.Helper()
	compiled, err := compile(CustomAPI, rules, testKinds())
	require.NoError(t, err)
	return compiled
}

// The names that prometheus-adapter's default rules give.
func TestDefaultMetricNames(t *testing.T) {
	rules := mustCompile(t, Defaults(2*time.Minute)...)
	f := func(series, want string, wantWindow time.Duration) {
		t.Helper()
		made := 0
		for _, r := range rules {
			if name, ok := r.MetricName(series, ""); ok {
				made++
				require.Equal(t, want, name, series)
				require.Equal(t, wantWindow, r.Window, series)
			}
		}
		require.Equal(t, 1, made, "%s has one name", series)
	}
	const rate = 2 * time.Minute
	f("http_requests_total", "http_requests", rate)
	f("http_request_duration_seconds_total", "http_request_duration", rate)
	f("queue_depth", "queue_depth", 0)
	f("container_cpu_usage_seconds_total", "cpu_usage", rate)
	f("container_network_receive_bytes_total", "network_receive_bytes", rate)
	f("container_memory_working_set_bytes", "memory_working_set_bytes", 0)
}

// A rule whose query does not quote the series name does not take a name that is PromQL.
func TestSeriesNamesThatAreQueries(t *testing.T) {
	r := mustCompile(t, aRule("", func(r *Rule) { r.SeriesQuery = `{namespace!=""}` }))[0]
	_, ok := r.MetricName(`label_replace(sum(secret{namespace="other"}),"pod","spy","","") or x`, "")
	require.False(t, ok)
}

func TestWrongRulesAreAllNamed(t *testing.T) {
	good := Defaults(2 * time.Minute)[3]
	good.only = anyType
	f := func(change func(*Rule), want string) {
		t.Helper()
		bad := good
		change(&bad)
		_, err := compile(CustomAPI, []Rule{good, bad}, testKinds())
		require.ErrorContains(t, err, "rules[1]: "+want)
	}
	f(func(r *Rule) { r.SeriesQuery = `{` }, `seriesQuery "{" is no series selector`)
	f(func(r *Rule) { r.SeriesQuery = `` }, `seriesQuery "" is no series selector`)
	f(func(r *Rule) { r.SeriesFilters = []Filter{{}} }, `seriesFilters[0]: give exactly one of is and isNot`)
	f(func(r *Rule) { r.SeriesFilters = []Filter{{Is: "a", IsNot: "b"}} }, `seriesFilters[0]: give exactly one of is and isNot`)
	f(func(r *Rule) { r.SeriesFilters = []Filter{{Is: "("}} }, `seriesFilters[0]: `)
	f(func(r *Rule) { r.Name.Matches = "(" }, `name.matches: `)
	f(func(r *Rule) { r.Name.Matches = "(a)(b)" }, `name.matches "(a)(b)" has 2 groups: say in name.as which make the metric's name`)
	f(func(r *Rule) { r.MetricsQuery = "" }, `metricsQuery is empty`)
	f(func(r *Rule) { r.MetricsQuery = "<<" }, `metricsQuery: `)
	f(func(r *Rule) { r.MetricsQuery = "<<.Sereis>>" }, `metricsQuery: `)
	f(func(r *Rule) { r.MetricsQuery = "<<if false>>x<<end>>" }, `metricsQuery gives an empty query`)
	f(func(r *Rule) { r.MetricsQuery = "sum(" }, `metricsQuery gives no PromQL`)
	f(func(r *Rule) { r.MetricsQuery = "<<.Series>>[5m]" }, `metricsQuery gives a matrix, not an instant vector`)
	f(func(r *Rule) { r.Resources = Resources{Template: "<<"} }, `resources.template: `)
	f(func(r *Rule) { r.Resources = Resources{Template: "kube"} }, `resources.template: it must use <<.Resource>>`)
	f(func(r *Rule) { r.Resources = Resources{Overrides: map[string]GroupResource{"x": {Resource: "widget"}}} }, `resources.overrides[x]: `)
}

func TestConfigOfPrometheusAdapter(t *testing.T) {
	var cfg Config
	require.NoError(t, yaml.UnmarshalStrict([]byte(`
rules:
- seriesQuery: 'http_requests_total{kubernetes_namespace!="",kubernetes_pod!=""}'
  seriesFilters: []
  resources:
    template: kubernetes_<<.Resource>>
  name:
    matches: "^(.*)_total"
    as: "${1}_per_second"
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'
resourceRules:
  cpu:
    containerQuery: sum(x)
  window: 3m
externalRules: []
`), &cfg))
	r := mustCompile(t, cfg.Rules...)[0]
	name, ok := r.MetricName("http_requests_total", "")
	require.True(t, ok)
	require.Equal(t, "http_requests_per_second", name)
	require.Equal(t, 2*time.Minute, r.Window)
	pods, err := testKinds().Resolve(corev1.Resource("pods"))
	require.NoError(t, err)
	require.Equal(t, "kubernetes_pod", r.Label(pods))
	k, ok := r.Kind("kubernetes_namespace")
	require.True(t, ok)
	require.Equal(t, corev1.Resource("namespaces"), k.GroupResource)
	_, ok = r.Kind("kubernetes_nonsense")
	require.False(t, ok)
	_, ok = r.Kind("pod")
	require.False(t, ok)
}

func TestTemplateWithGroup(t *testing.T) {
	a, err := newAssociation(Resources{Template: "kube_<<.Group>>_<<.Resource>>"}, testKinds())
	require.NoError(t, err)
	deployments, err := testKinds().Resolve(schema.GroupResource{Group: "apps", Resource: "deployment"})
	require.NoError(t, err)
	require.Equal(t, "kube_apps_deployment", a.Label(deployments))
	k, ok := a.Kind("kube_apps_deployment")
	require.True(t, ok)
	require.Equal(t, appsv1.Resource("deployments"), k.GroupResource)
}

// Every value a client sends is quoted, whatever it holds.
func TestExpandQuotesValues(t *testing.T) {
	r := mustCompile(t, Rule{
		SeriesQuery:  `{namespace!=""}`,
		Resources:    Resources{Overrides: defaultOverrides()},
		MetricsQuery: `sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>) + 0 * <<index .LabelValuesByName "pod" | len>>`,
	})[0]
	expr, err := r.Expand("m", []Matcher{Equal("namespace", `a"}) or vector(1) #`), OneOf("pod", []string{"a.b", "c"})}, "pod")
	require.NoError(t, err)
	require.Equal(t, `sum(m{namespace="a\"}) or vector(1) #",pod=~"a\\.b|c"}) by (pod) + 0 * 5`, expr)
	_, err = parser.NewParser(parser.Options{}).ParseExpr(expr)
	require.NoError(t, err)
}

func TestSelectorMatchers(t *testing.T) {
	f := func(selector, want string) {
		t.Helper()
		sel, err := apilabels.Parse(selector)
		require.NoError(t, err)
		matchers, err := SelectorMatchers(sel)
		require.NoError(t, err)
		var got string
		for _, m := range matchers {
			got += m.String() + ";"
		}
		require.Equal(t, want, got)
	}
	f("", "")
	f("a=b", `a="b";`)
	f("a==b", `a="b";`)
	f("a!=b", `a!="b";`)
	f("a in (b,c.d)", `a=~"b|c\\.d";`)
	f("a notin (b)", `a!~"b";`)
	f("a", `a!="";`)
	f("!a", `a="";`)
	f("app.kubernetes.io/name=x", `"app.kubernetes.io/name"="x";`)
	for _, unsupported := range []string{"a>1", "a<1"} {
		sel, err := apilabels.Parse(unsupported)
		require.NoError(t, err)
		_, err = SelectorMatchers(sel)
		require.ErrorIs(t, err, ErrUnsupportedOperator)
	}
	_, err := SelectorMatchers(apilabels.Nothing())
	require.ErrorIs(t, err, ErrUnsupportedOperator)
}
