package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/cmd/promlet/configfile"
	"github.com/promlet/promlet/scrape"
)

func TestMetricsPage(t *testing.T) {
	opts := nothing(t)
	opts.Metrics = func() []scrape.Metric {
		return []scrape.Metric{
			{Job: "b", Name: "http_requests_total", Series: 2, Stored: true},
			{Job: "a", Name: "http_requests_total", Series: 3, Metadata: metadata.Metadata{Type: "counter", Help: "Requests & more."}, LabelNames: []string{"code"}},
			{Job: "a", Name: "go_threads", Series: 1, Metadata: metadata.Metadata{Type: "gauge"}},
		}
	}
	var twin metricsData
	require.NoError(t, json.Unmarshal([]byte(get(t, opts, "/catalog.json", http.StatusOK)), &twin))
	require.Equal(t, 2, twin.Names)
	require.Equal(t, 1, twin.Stored)
	require.Len(t, twin.Metrics, 2)
	require.Equal(t, metric{
		Name: "http_requests_total", Type: "counter", Help: "Requests & more.", Jobs: []string{"a", "b"}, Series: 5, Stored: true, Labels: []string{"code"},
		Served: []demand.ServedMetric{{Metric: "http_requests", Rule: "a default rule"}},
	}, twin.Metrics[1])
	page := get(t, opts, "/catalog?stored=yes", http.StatusOK)
	require.Contains(t, page, "Requests &amp; more.")
	require.NotContains(t, page, "go_threads")
	require.Contains(t, get(t, opts, "/catalog?q=threads", http.StatusOK), "1 matches")
	require.Contains(t, get(t, opts, "/explain", http.StatusOK), `<option value="http_requests">`)
}

// shownMetric renders the page Metrics with one series, which has a target, and returns its row.
func shownMetric(t *testing.T, opts Options, m scrape.Metric, target Target) (row metric, page string) {
	t.Helper()
	opts.Metrics = func() []scrape.Metric { return []scrape.Metric{m} }
	opts.Targets = func() []Target { return []Target{target} }
	s, err := New(opts)
	require.NoError(t, err)
	data, err := s.metrics(httptest.NewRequest(http.MethodGet, "/catalog", nil))
	require.NoError(t, err)
	return data.(*metricsData).Metrics[0], get(t, opts, "/catalog", http.StatusOK)
}

var shopTarget = Target{
	Job: "shop/0", Labels: labels.FromStrings("namespace", "team", "service", "shop", "pod", "shop-abc-1"),
	Discovered: labels.FromStrings("__meta_kubernetes_pod_controller_kind", "ReplicaSet", "__meta_kubernetes_pod_controller_name", "shop-abc",
		"__meta_kubernetes_pod_label_pod_template_hash", "abc"),
}

// Kubernetes' types accept the manifest of "copy an HPA" strictly, and it scales on the metric.
func TestCopiedHPA(t *testing.T) {
	row, page := shownMetric(t, nothing(t), scrape.Metric{Job: "shop/0", Name: "http_requests_total", Series: 2, Metadata: metadata.Metadata{Type: "counter"}}, shopTarget)
	require.Contains(t, page, "copy an HPA")
	require.Contains(t, page, "/explain?metric=http_requests&amp;name=shop&amp;namespace=team&amp;resource=services")
	require.Len(t, row.Manifests, 2)
	read := func(m manifest) (hpa autoscalingv2.HorizontalPodAutoscaler) {
		t.Helper()
		require.NoError(t, yaml.UnmarshalStrict([]byte(m.Text), &hpa), m.Text)
		require.NotContains(t, m.Text, "null")
		require.NotContains(t, m.Text, "status")
		require.Equal(t, "autoscaling/v2", hpa.APIVersion)
		require.Equal(t, "HorizontalPodAutoscaler", hpa.Kind)
		require.Equal(t, "team/shop", hpa.Namespace+"/"+hpa.Name)
		require.Equal(t, autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "shop"}, hpa.Spec.ScaleTargetRef)
		require.Len(t, hpa.Spec.Metrics, 1)
		require.Positive(t, hpa.Spec.MaxReplicas)
		return hpa
	}
	object := read(row.Manifests[0]).Spec.Metrics[0]
	require.Equal(t, autoscalingv2.ObjectMetricSourceType, object.Type)
	require.Equal(t, autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: "shop"}, object.Object.DescribedObject)
	require.Equal(t, "http_requests", object.Object.Metric.Name)
	require.Equal(t, "100", object.Object.Target.Value.String())
	pods := read(row.Manifests[1]).Spec.Metrics[0]
	require.Equal(t, autoscalingv2.PodsMetricSourceType, pods.Type)
	require.Equal(t, "http_requests", pods.Pods.Metric.Name)
	require.Equal(t, autoscalingv2.AverageValueMetricType, pods.Pods.Target.Type)

	// A StatefulSet behind a PodMonitor has no Service.
	target := shopTarget
	target.Labels = labels.FromStrings("namespace", "team", "pod", "shop-0")
	target.Discovered = labels.FromStrings("__meta_kubernetes_pod_controller_kind", "StatefulSet", "__meta_kubernetes_pod_controller_name", "shop")
	row, page = shownMetric(t, nothing(t), scrape.Metric{Job: "shop/0", Name: "depth", Metadata: metadata.Metadata{Type: "gauge"}}, target)
	require.Len(t, row.Manifests, 1)
	require.Contains(t, row.Manifests[0].Text, "kind: StatefulSet")
	require.Contains(t, page, "/explain?metric=depth&amp;name=shop-0&amp;namespace=team&amp;resource=pods")
}

func TestCopiedHPAOfAnExternalMetric(t *testing.T) {
	manifests, err := hpaManifests(&demand.ServedMetric{Metric: "lag: <b>", External: true}, place{Namespace: "team", Service: "shop"})
	require.NoError(t, err)
	require.Len(t, manifests, 1)
	var hpa autoscalingv2.HorizontalPodAutoscaler
	require.NoError(t, yaml.UnmarshalStrict([]byte(manifests[0].Text), &hpa))
	require.Equal(t, "lag: <b>", hpa.Spec.Metrics[0].External.Metric.Name, "a name of any characters stays one")
}

// The rule of "copy a rule" compiles, and serves the series.
func TestCopiedRule(t *testing.T) {
	f := func(series string, typ model.MetricType, want string) {
		t.Helper()
		provider, opts := servingNothing(t)
		row, page := shownMetric(t, opts, scrape.Metric{Job: "shop/0", Name: series, Metadata: metadata.Metadata{Type: typ}, LabelNames: []string{"namespace", "pod"}}, shopTarget)
		require.Contains(t, page, "not served:")
		require.Len(t, row.Manifests, 1)
		config, err := configfile.Parse([]byte(row.Manifests[0].Text))
		require.NoError(t, err, row.Manifests[0].Text)
		checked, err := config.Check(configfile.Collection{RateWindow: 2 * time.Minute, ScrapeInterval: 30 * time.Second, Retention: 2 * time.Hour})
		require.NoError(t, err, row.Manifests[0].Text)
		require.Empty(t, checked.Warnings, "promlet check has nothing against it")
		require.NoError(t, provider.SetRules(rules.Set{Custom: config.Rules}), row.Manifests[0].Text)
		require.Empty(t, provider.Oddities())
		row, _ = shownMetric(t, opts, scrape.Metric{Job: "shop/0", Name: series, Metadata: metadata.Metadata{Type: typ}, LabelNames: []string{"namespace", "pod"}}, shopTarget)
		require.Equal(t, []demand.ServedMetric{{Metric: want, Rule: "rules[0]"}}, row.Served)
		require.Equal(t, strings.Contains(config.Rules[0].MetricsQuery, "rate("), want != series && !strings.Contains(series, "."), config.Rules[0].MetricsQuery)
	}
	f("orders_total", model.MetricTypeCounter, "orders")
	f("busy_seconds_total", model.MetricTypeUnknown, "busy")
	f("depth", model.MetricTypeGauge, "depth")
	f("queue.depth", model.MetricTypeGauge, "queue_depth")
	f(`queue."x"`, model.MetricTypeGauge, "queue__x_")
}

// servingNothing has a rule that takes no series.
func servingNothing(t *testing.T) (*adapter.Provider, Options) {
	provider, opts := withProvider(t)
	require.NoError(t, provider.SetRules(rules.Set{Custom: []rules.Rule{}}))
	return provider, opts
}

// Of forty HPAs the row names three, and links to all.
func TestHPAsOfAMetric(t *testing.T) {
	m := metric{Name: "depth", Stored: true, Served: []demand.ServedMetric{{Metric: "queue depth"}}, By: []string{"API, 3s ago", "keep"}}
	require.Empty(t, m.HPAs())
	require.Zero(t, m.MoreHPAs())
	for i := range 40 {
		m.By = append(m.By, fmt.Sprintf("HPA team/h-%02d", i))
	}
	require.Equal(t, []reader{{"team/h-00", "/autoscalers?q=team%2Fh-00"}, {"team/h-01", "/autoscalers?q=team%2Fh-01"}, {"team/h-02", "/autoscalers?q=team%2Fh-02"}}, m.HPAs())
	require.Equal(t, 37, m.MoreHPAs())
	require.Equal(t, "/autoscalers?q=queue+depth", m.HPAsURL())
	require.Equal(t, []string{"API, 3s ago", "keep"}, m.Others())
}
