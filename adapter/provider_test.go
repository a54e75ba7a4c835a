package adapter

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter/rules"
)

// ask is a request in the API's own notation, "namespace/resource/name/metric"
// (namespace empty for the root), with selectors behind it: "?objects?series".
// The answer is written "name=value@window", an error "code: message".
func (f *fixture) ask(path string) string {
	f.t.Helper()
	path, selectors, _ := strings.Cut(path, "?")
	objectSelector, seriesSelector, _ := strings.Cut(selectors, "?")
	part := strings.Split(path, "/")
	require.Len(f.t, part, 4, path)
	info := provider.CustomMetricInfo{GroupResource: schema.ParseGroupResource(part[1]), Metric: part[3], Namespaced: part[0] != ""}
	objects, err := apilabels.Parse(objectSelector)
	require.NoError(f.t, err)
	series, err := apilabels.Parse(seriesSelector)
	require.NoError(f.t, err)
	if part[2] == "*" {
		list, err := f.GetMetricBySelector(f.t.Context(), part[0], objects, info, series)
		if err != nil {
			return apiError(err)
		}
		var shown []string
		for _, item := range list.Items {
			shown = append(shown, show(item))
		}
		return strings.Join(shown, " ")
	}
	item, err := f.GetMetricByName(f.t.Context(), types.NamespacedName{Namespace: part[0], Name: part[2]}, info, series)
	if err != nil {
		return apiError(err)
	}
	return show(*item)
}

func show(v custom_metrics.MetricValue) string {
	window := "instant"
	if v.WindowSeconds != nil {
		window = fmt.Sprintf("%ds", *v.WindowSeconds)
	}
	return fmt.Sprintf("%s=%s@%s", v.DescribedObject.Name, v.Value.String(), window)
}

func apiError(err error) string {
	status, ok := err.(apierrors.APIStatus)
	if !ok {
		return "no status: " + err.Error()
	}
	return fmt.Sprintf("%d: %s", status.Status().Code, status.Status().Message)
}

func TestDefaultRules(t *testing.T) {
	f := scenario(t)
	ask := func(path, want string) {
		t.Helper()
		require.Equal(t, want, f.ask(path), path)
	}
	ask("default/services/sample/http_requests", "sample=30@120s")
	ask("default/pods/sample-1/http_requests", "sample-1=10@120s")
	ask("default/pods/*/http_requests", "sample-1=10@120s sample-2=20@120s")
	ask("default/pods/*/http_requests?app=sample", "sample-1=10@120s sample-2=20@120s")
	ask("default/services/*/http_requests", "sample=30@120s")
	ask("/namespaces/default/http_requests", "default=30@120s")
	ask("default/deployments.apps/sample/http_requests", "sample=30@120s")
	ask("default/replicasets.apps/sample-6d4cf56db6/http_requests", "sample-6d4cf56db6=30@120s")
	ask("default/deployments.apps/*/http_requests", "sample=30@120s")
	ask("default/services/sample/queue_depth", "sample=7@instant")
	ask("default/pods/*/queue_depth", "sample-1=3@instant sample-2=4@instant")
	ask("default/pod/sample-1/queue_depth", "sample-1=3@instant")
	ask("default/services/sample/http_requests??code=200", "sample=30@120s")
	ask("default/services/sample/http_requests??code in (200,201),!host", "sample=30@120s")
	ask("default/pods/*/http_requests??pod!=sample-1", "sample-2=20@120s")
}

func TestAbsencesSayWhy(t *testing.T) {
	f := scenario(t)
	ask := func(path, want string) {
		t.Helper()
		require.Contains(t, f.ask(path), want, path)
	}
	ask("default/services/sample/nonsense", "404: the server could not find the metric nonsense for services sample: no series has been collected that a rule serves under that name")
	ask("default/services/other/http_requests", "404: the server could not find the metric http_requests for services other: there is no such object in namespace default")
	ask("default/pods/*/http_requests?app=none", `the selector "app=none" matches no pods in namespace default`)
	ask("default/pods/*/nonsense", "404: ")
	ask("default/widgets.example.com/x/http_requests", "404: ")
	ask("/pods/sample-1/http_requests", "pods are namespaced")
	ask("default/services/sample/http_requests??code>100", `404: the server could not find the metric http_requests for services sample: unsupported operator "gt"`)
	ask("/namespaces/empty/http_requests", "404: ")
	ask("default/deployments.apps/none/http_requests", "it has no pods in namespace default")
	ask("default/deployments.apps/*/http_requests?app=x", "known by the pods they own")
	ask("default/services/sample/http_requests??code=500", "http_requests_total has no value yet for its pods sample-1, sample-2")
	ask("default/pods/sample-1/http_requests??code=500", "http_requests_total has no rate for it over the last 2m: that needs two samples")
	ask("default/pods/sample-1/queue_depth??code=500", "queue_depth has no current sample for it")
	// A key that is no plain label name is quoted, and another namespace is not reached.
	ask("default/pods/sample-1/queue_depth??app.kubernetes.io/name=x", "404: ")
	ask("default/pods/sample-1/queue_depth??namespace=other", "404: ")
	ask("default/ingresses.networking.k8s.io/x/queue_depth", "it has no pods in namespace default")
	require.Empty(t, f.ask("default/pods/*/http_requests??code=500"), "a list of nothing is an empty list, not an error")
}

func TestValuesThatAreNoneAreAbsent(t *testing.T) {
	f := scenario(t)
	f.append("ratio", "sample-1", math.NaN())
	f.append("ratio", "sample-2", 1)
	f.append("limit", "sample-1", math.Inf(1))
	require.Equal(t, "404: the server could not find the metric ratio for pods sample-1: the value is NaN", f.ask("default/pods/sample-1/ratio"))
	require.Equal(t, "404: the server could not find the metric limit for pods sample-1: the value is +Inf", f.ask("default/pods/sample-1/limit"))
	require.Equal(t, "sample-2=1@instant", f.ask("default/pods/*/ratio"))
}

func TestGonePodsHaveNoValue(t *testing.T) {
	f := scenario(t)
	require.NoError(t, f.objects[podResource].Delete(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "sample-2"}}))
	require.Equal(t, "sample-1=10@120s", f.ask("default/pods/*/http_requests"))
	require.Contains(t, f.ask("default/pods/sample-2/http_requests"), "404: ")
}

func TestNewPodIsAbsentNotZero(t *testing.T) {
	f := scenario(t)
	f.pod("sample-3", "sample")
	f.start = f.now
	f.load(`http_requests_total{namespace="default",pod="sample-3",service="sample",job="sample",endpoint="web",instance="10.0.0.3:8080"} 1000`)
	require.Equal(t, "sample-1=10@120s sample-2=20@120s", f.ask("default/pods/*/http_requests"))
}

// A Service that no series names is known by its endpoints.
func TestServiceByItsEndpoints(t *testing.T) {
	f := scenario(t)
	f.service("headless", "sample-2")
	require.Equal(t, "headless=20@120s", f.ask("default/services/headless/http_requests"))
}

// The HPA asks for a node through its own namespace, and is answered with the series of that one.
func TestNodesThroughNamespaces(t *testing.T) {
	f := newFixture(t)
	f.add(schema.GroupResource{Resource: "nodes"}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "edge-1"}})
	f.load(
		`node_load1{namespace="monitoring",node="edge-1",instance="10.0.0.9:9100"} 2x16`,
		`node_load1{namespace="tenant",node="edge-1",instance="10.0.0.8:9100"} 700x16`,
	)
	require.Equal(t, "edge-1=702@instant", f.ask("/nodes/edge-1/node_load1"))
	require.Equal(t, "edge-1=2@instant", f.ask("monitoring/nodes/edge-1/node_load1"))
	require.Equal(t, "edge-1=2@instant", f.ask("monitoring/nodes/*/node_load1"))
	require.Equal(t, "edge-1=700@instant", f.ask("tenant/nodes/edge-1/node_load1"))
	require.Contains(t, f.ask("default/nodes/edge-1/node_load1"), "node_load1 has no series in namespace default")
}

// A rule that has no label for namespaces cannot answer through one.
func TestNodesThroughNamespacesWithoutALabel(t *testing.T) {
	f := newFixtureWith(t, Options{Rules: rules.Set{Custom: []rules.Rule{aRule("node_load1", func(r *rules.Rule) {
		r.Resources = rules.Resources{Overrides: map[string]rules.GroupResource{"node": {Resource: "node"}}}
	})}}})
	f.add(schema.GroupResource{Resource: "nodes"}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "edge-1"}})
	f.load(`node_load1{namespace="monitoring",node="edge-1"} 2x16`)
	require.Equal(t, "edge-1=2@instant", f.ask("/nodes/edge-1/m"))
	require.Contains(t, f.ask("monitoring/nodes/edge-1/m"), "has no label for namespaces")
}

func TestAnswerFields(t *testing.T) {
	f := scenario(t)
	f.now = f.now.Add(9 * time.Second) // after the last scrape
	series, err := apilabels.Parse("code=200")
	require.NoError(t, err)
	v, err := f.GetMetricByName(t.Context(), types.NamespacedName{Namespace: "default", Name: "sample"},
		provider.CustomMetricInfo{GroupResource: serviceResource, Metric: "http_requests", Namespaced: true}, series)
	require.NoError(t, err)
	require.Equal(t, custom_metrics.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: "default", Name: "sample"}, v.DescribedObject)
	require.Equal(t, map[string]string{"code": "200"}, v.Metric.Selector.MatchLabels)
	require.True(t, v.Timestamp.Time.Equal(f.now.Add(-9*time.Second)), "the timestamp is the last sample's, not now")

	v, err = f.GetMetricByName(t.Context(), types.NamespacedName{Namespace: "default", Name: "sample"},
		provider.CustomMetricInfo{GroupResource: deploymentResource, Metric: "http_requests", Namespaced: true}, apilabels.Everything())
	require.NoError(t, err)
	require.Equal(t, custom_metrics.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "default", Name: "sample"}, v.DescribedObject)
	require.Nil(t, v.Metric.Selector)
}

func TestInstantValuesLookBackTwoIntervals(t *testing.T) {
	f := scenario(t)
	f.now = f.now.Add(2*step - time.Second)
	require.Equal(t, "sample=7@instant", f.ask("default/services/sample/queue_depth"))
	f.now = f.now.Add(2 * time.Second)
	require.Contains(t, f.ask("default/services/sample/queue_depth"), "404: ", "the target is long dead")
}

func TestSeveralSamplesForOneObjectAreAnError(t *testing.T) {
	rule := aRule("queue_depth", func(r *rules.Rule) { r.Name, r.Resources.Overrides = rules.Name{}, defaultOverrides() })
	rule.MetricsQuery = `<<.Series>>{<<.LabelMatchers>>}`
	f := scenario(t, rule)
	require.Contains(t, f.ask("default/services/sample/queue_depth"), `500: Internal error occurred: metric queue_depth for services sample: queue_depth{namespace="default",service="sample"} gives several samples`)
}

func TestEvaluationThatFailsIsAnErrorWithTheExpression(t *testing.T) {
	rule := aRule("queue_depth", func(r *rules.Rule) { r.Name, r.Resources.Overrides = rules.Name{}, defaultOverrides() })
	rule.MetricsQuery = `sum by (<<.GroupBy>>) (<<.Series>>{<<.LabelMatchers>>} * on (namespace) <<.Series>>{<<.LabelMatchers>>})`
	f := scenario(t, rule)
	got := f.ask("default/services/sample/queue_depth")
	require.Contains(t, got, "500: ")
	require.Contains(t, got, `evaluate sum by (service)`)
}

func TestListAllMetrics(t *testing.T) {
	f := scenario(t)
	var listed []string
	for _, info := range f.ListAllMetrics() {
		listed = append(listed, fmt.Sprintf("%s namespaced=%v", info, info.Namespaced))
	}
	require.Equal(t, []string{
		"namespaces/http_requests namespaced=false",
		"namespaces/queue_depth namespaced=false",
		"pods/http_requests(namespaced) namespaced=true",
		"pods/queue_depth(namespaced) namespaced=true",
		"services/http_requests(namespaced) namespaced=true",
		"services/queue_depth(namespaced) namespaced=true",
	}, listed)
}

func TestNewSeriesAreFoundWithoutARestart(t *testing.T) {
	f := scenario(t)
	require.Contains(t, f.ask("default/services/sample/late"), "404: ")
	f.start = f.now
	f.load(`late{namespace="default",pod="sample-1",service="sample",instance="a"} 5 5`)
	require.Equal(t, "sample=5@instant", f.ask("default/services/sample/late"))
}

// Selectors may be nil. After Close a second Provider may use the same registry.
func TestNilSelectorsAndClose(t *testing.T) {
	registry := prometheus.NewRegistry()
	f := newFixtureWith(t, Options{Registerer: registry})
	f.namespaces("default")
	f.pod("a", "app")
	f.load(`queue_depth{namespace="default",pod="a"} 3x20`)
	info := provider.CustomMetricInfo{GroupResource: podResource, Metric: "queue_depth", Namespaced: true}
	list, err := f.GetMetricBySelector(t.Context(), "default", nil, info, nil)
	require.NoError(t, err)
	require.Len(t, list.Items, 1)
	_, err = f.GetMetricByName(t.Context(), types.NamespacedName{Namespace: "default", Name: "a"}, info, nil)
	require.NoError(t, err)
	_, err = f.GetMetricBySelector(t.Context(), "", nil, provider.CustomMetricInfo{GroupResource: schema.GroupResource{Resource: "nodes"}, Metric: "queue_depth"}, nil)
	require.Error(t, err)
	_, err = f.GetExternalMetric(t.Context(), "default", nil, provider.ExternalMetricInfo{Metric: "none"})
	require.Error(t, err)
	f.Close()
	f.provide(Options{Registerer: registry})
}
