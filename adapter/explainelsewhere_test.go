package adapter

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
)

// why returns the reason of an explanation.
func (th *monitored) why(q explain.Question) string {
	th.t.Helper()
	q.Namespace = "default"
	told, err := th.Explainer.Explain(th.t.Context(), q)
	require.NoError(th.t, err)
	return told.Reason
}

// withExporter adds an exporter of the series lag in another namespace, and a rule that serves lag as the external metric m.
func (th *monitored) withExporter(resources rules.Resources, series ...catalog.Exposed) {
	of := labels.FromStrings("namespace", "other", "pod", "treasure-1", "job", "treasure")
	th.targets = append(th.targets, values.Target{Job: "treasure", Address: "10.9.9.9:80/treasure", Labels: of, Discovered: of, Interval: step, LastScrape: th.now})
	th.exposed["treasure"] = series
	rule := rules.Rule{SeriesQuery: `lag{topic="a"}`, Resources: resources, Name: rules.Name{As: "m"}, MetricsQuery: "sum(<<.Series>>{<<.LabelMatchers>>})"}
	all := func(known uint64) ([]catalog.Exposed, uint64) {
		if known == 1 {
			return nil, 1
		}
		return append(series, th.exposed["job"]...), 1
	}
	th.provide(Options{Explain: th.explaining(), Exposed: all, Rules: rules.Set{External: []rules.Rule{rule}}})
}

// The explanation of a rule for all namespaces looks for targets in all of them. That of a rule for one namespace says that
// others have the metric.
func TestExplanationsOfExternalMetricsElsewhere(t *testing.T) {
	no := false
	everywhere := rules.Resources{Namespaced: &no}
	lag := catalog.Exposed{Name: "lag", LabelNames: []string{"namespace", "pod", "topic"}}
	f := func(name, want string, resources rules.Resources, series ...catalog.Exposed) {
		t.Run(name, func(t *testing.T) {
			th := newMonitored(t)
			th.withExporter(resources, series...)
			got := th.why(explain.Question{Metric: "m", External: true})
			require.Equal(t, want, got)
			require.NotContains(t, got, "treasure")
		})
	}
	f("of a namespace", "no target in namespace default exposes lag; the same metric is exposed elsewhere: `namespaced: false` in the resources of externalRules[0] reaches it",
		rules.Resources{Overrides: defaultOverrides()}, lag)
	f("nowhere, for a namespace", "target 10.0.0.1:80/metrics is up, but exposes no lag", rules.Resources{Overrides: defaultOverrides()})
	f("nowhere", "no target of any namespace exposes lag", everywhere)
	f("without the label", `lag is exposed, but externalRules[0] wants topic="a", and its series have no such label`, everywhere,
		catalog.Exposed{Name: "lag", LabelNames: []string{"namespace"}})
	f("exposed", "lag has no series that externalRules[0] selects", everywhere, lag)

	// A series of another namespace has no labels in the answer.
	th := newMonitored(t)
	th.withExporter(everywhere, lag)
	th.appendTo(labels.FromStrings("__name__", "lag", "namespace", "other", "pod", "treasure-1", "topic", "a", "gold", "treasure"), math.NaN())
	require.Equal(t, "the value is NaN: lag is NaN", th.why(explain.Question{Metric: "m", External: true}))

	// A target of the namespace that is down may expose the metric.
	th = newMonitored(t)
	th.withExporter(rules.Resources{Overrides: defaultOverrides()}, lag)
	th.targets[0].Err = errors.New("refused")
	require.Equal(t, "target 10.0.0.1:80/metrics is down: refused", th.why(explain.Question{Metric: "m", External: true}))

	th = newMonitored(t)
	th.withExporter(everywhere)
	th.targets[1].Err = errors.New("treasure")
	require.Equal(t, "no target of any namespace exposes lag; some targets are not up", th.why(explain.Question{Metric: "m", External: true}))
}

// "Collection has started" and "promlet has started" remain the reason, except if a link stays broken.
func TestExplanationsOfStarting(t *testing.T) {
	th := newMonitored(t)
	all := func(uint64) ([]catalog.Exposed, uint64) {
		return []catalog.Exposed{{Name: "edge_requests_total", LabelNames: []string{"ingress", "namespace", "pod"}}}, 1
	}
	rule := rules.Rule{SeriesQuery: "edge_requests_total", Resources: rules.Resources{Template: "<<.Resource>>"}, Name: rules.Name{As: "m"}, MetricsQuery: "sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)"}
	set := rules.Set{Custom: []rules.Rule{rule}, External: []rules.Rule{rule}}
	th.provide(Options{Explain: th.explaining(), Exposed: all, Rules: set, Demand: demand.Options{FirstValue: 5 * time.Second}})
	ingress := schema.GroupResource{Group: "networking.k8s.io", Resource: "ingresses"}
	const starting = "collection of edge_requests_total has started, first value in about 5s"
	require.Equal(t, starting, th.why(explain.Question{Metric: "m", Object: ingress, Name: "front"}))
	require.Equal(t, starting, th.why(explain.Question{Metric: "m", External: true}))

	// The rule does not take the exposed series, so the link stays broken.
	all = func(uint64) ([]catalog.Exposed, uint64) { return th.exposed["job"], 1 }
	th.exposed["job"] = []catalog.Exposed{{Name: "edge_requests_total", LabelNames: []string{"instance", "job", "pod"}}}
	th.provide(Options{Explain: th.explaining(), Exposed: all, Rules: set, Demand: demand.Options{FirstValue: 5 * time.Second}})
	require.Contains(t, th.reason("m"), "edge_requests_total is exposed, but without a label namespace, by which rules[0] knows the namespace")

	th = newMonitored(t)
	th.provide(Options{Explain: th.explaining(), Ready: func() error { return errors.New("1 of 1 targets has not been scraped twice yet") }})
	const notReady = "no value yet: 1 of 1 targets has not been scraped twice yet"
	require.Equal(t, notReady, th.reason("nobody_knows_this"))
	require.Equal(t, notReady, th.why(explain.Question{Metric: "nobody_knows_this", External: true}))
}

// The scrape has renamed an exporter's label.
func TestExplanationsProposeHonorLabels(t *testing.T) {
	f := func(series, metric, want string) {
		t.Helper()
		th := newMonitored(t)
		th.load(series + " 0+1x16")
		require.Equal(t, want, th.reason(metric))
	}
	f(`queue_depth{namespace="default",pod="exporter",exported_pod="shop-1",job="x"}`, "queue_depth",
		"the exporter's label pod was renamed to exported_pod, because the target has a label pod, too: set honorLabels: true on the endpoint of its monitor")
	f(`queue_depth{namespace="other",pod="exporter",exported_namespace="default",exported_service="shop",service="x"}`, "queue_depth",
		"the exporter's label service was renamed to exported_service, because the target has a label service, too: set honorLabels: true on the endpoint of its monitor")
	f(`queue_depth{namespace="other",pod="shop-1",exported_namespace="default"}`, "queue_depth",
		"the exporter's label namespace was renamed to exported_namespace, because the target has a label namespace, too: set honorLabels: true on the endpoint of its monitor")
	f(`queue_depth{namespace="other",pod="exporter",exported_pod="shop-1"}`, "queue_depth", "nothing of it is stored for this object yet")
}

// A pod without a Service, objects that are not watched, and values that no selector can have.
func TestExplanationsOfWhatIsNotSelected(t *testing.T) {
	th := newMonitored(t)
	th.pod("alone-1", "alone")
	th.services[""] = explain.Reach{Counted: 1}
	require.Equal(t, "no monitor selects the Pod, or a Service of it: the ServiceMonitors for namespace default select Services, and no Service has the Pod as an endpoint: add a Service that they select, or a PodMonitor",
		th.why(explain.Question{Metric: "queue_depth", Object: podResource, Name: "alone-1"}))
	th.pods["alone-1"] = explain.Reach{Counted: 1, Nearest: "PodMonitor pods: it wants the label app=x"}
	require.Equal(t, "no monitor selects the Pod, or a Service of it; the closest is PodMonitor pods: it wants the label app=x",
		th.why(explain.Question{Metric: "queue_depth", Object: podResource, Name: "alone-1"}))

	require.Equal(t, "ingresses.networking.k8s.io are not watched, so only those that own pods are known, and there are none in namespace default: ask for one by name",
		th.why(explain.Question{Metric: "queue_depth", Object: schema.GroupResource{Group: "networking.k8s.io", Resource: "ingresses"}}))
	require.Equal(t, "there are no services in namespace other", func() string {
		told, err := th.Explainer.Explain(t.Context(), explain.Question{Metric: "queue_depth", Object: serviceResource, Namespace: "other"})
		require.NoError(t, err)
		return told.Reason
	}())

	hpa := th.scaling("shop", ofObject("Service", "shop", "queue_depth", target(autoscalingv2.ValueMetricType, "10")))
	hpa.Spec.Metrics[0].Object.Metric.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"model": "org/model-7b"}}
	all, err := th.Autoscalers.List(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, "metric.selector: a selector cannot have the value org/model-7b of model: only letters, digits, -, _ and . are allowed; write the matcher in the metricsQuery of a rule, or change the value by metricRelabelings",
		all[0].Metrics[0].Reason)
}

// An HPA with another metric selector does not read the metric. Only the HPA whose target owns a pod reads the pod's metric.
func TestExplanationsCreditAutoscalers(t *testing.T) {
	th := newMonitored(t)
	th.pod("mail-1", "mail")
	autoscaler := func(q explain.Question) string {
		t.Helper()
		q.Namespace, q.Metric = "default", "queue_depth"
		told, err := th.Explainer.Explain(t.Context(), q)
		require.NoError(t, err)
		for _, s := range told.Steps {
			if s.Link == explain.LinkAutoscaler {
				return s.Text
			}
		}
		return ""
	}
	code500, err := apilabels.Parse("code=500")
	require.NoError(t, err)
	hpa := th.scaling("shop", podsMetric("queue_depth"))
	hpa.Spec.ScaleTargetRef.Name = "shop"
	hpa.Spec.Metrics[0].Pods.Metric.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"code": "500"}}
	require.Equal(t, "no HorizontalPodAutoscaler in namespace default scales on it with this metric selector; HorizontalPodAutoscaler shop scales on it with code=500",
		autoscaler(explain.Question{Object: deploymentResource, Name: "shop"}))
	require.Equal(t, "HorizontalPodAutoscaler shop scales on it", autoscaler(explain.Question{Object: deploymentResource, Name: "shop", MetricSelector: code500}))
	require.Equal(t, "HorizontalPodAutoscaler shop scales on it", autoscaler(explain.Question{Object: podResource, Name: "shop-1", MetricSelector: code500}))
	require.Equal(t, "no HorizontalPodAutoscaler in namespace default scales on it", autoscaler(explain.Question{Object: podResource, Name: "mail-1", MetricSelector: code500}))
}

// A rule makes nothing of series that do not exist.
func TestExplanationsOfRulesWithoutSeries(t *testing.T) {
	th := newMonitored(t)
	th.exposed["job"] = nil
	told, err := th.Explainer.Explain(t.Context(), explain.Question{Metric: "queue_lag", Object: serviceResource, Namespace: "default", Name: "shop"})
	require.NoError(t, err)
	require.Contains(t, told.Steps, explain.Step{Link: explain.LinkRule, State: explain.StateNote,
		Text: "it would be made by a default rule, of queue_lag, queue_lag_total or queue_lag_seconds_total"})

	th.scaling("fine", ofObject("Service", "shop", "queue_lag", target(autoscalingv2.ValueMetricType, "10")))
	code500, err := apilabels.Parse("code=500")
	require.NoError(t, err)
	told, err = th.Explainer.Explain(t.Context(), explain.Question{Metric: "queue_lag", Object: serviceResource, Namespace: "default", Name: "shop", MetricSelector: code500})
	require.NoError(t, err)
	require.Equal(t, "no HorizontalPodAutoscaler in namespace default scales on it with this metric selector; HorizontalPodAutoscaler fine scales on it without one", told.Steps[1].Text)
}

// kubectl's short names are known.
func TestExplanationsTakeShortNames(t *testing.T) {
	th := newMonitored(t)
	for short, long := range map[string]string{"svc": "services", "svc.": "services", "deploy": "deployments.apps", "ing": "ingresses.networking.k8s.io", "services": "services"} {
		told, err := th.Explainer.Explain(t.Context(), explain.Question{Metric: "m", Object: schema.ParseGroupResource(short), Namespace: "default", Name: "shop"})
		require.NoError(t, err)
		require.Equal(t, long+"/shop", told.Object)
		require.NotContains(t, told.Reason, "resolve", short)
	}
}

// A metric of the pods of a workload that has been scaled to zero.
func TestExplanationsAtZero(t *testing.T) {
	th := newMonitored(t)
	hpa := th.scaling("consumer", podsMetric("queue_depth"), ofObject("Service", "consumer", "http_requests", target(autoscalingv2.ValueMetricType, "10")))
	hpa.Spec.ScaleTargetRef.Name = "consumer"
	hpa.Spec.MinReplicas = new(int32)
	th.service("consumer")
	th.services["consumer"] = th.services["shop"]
	const scaledToZero = ": HorizontalPodAutoscaler consumer has scaled Deployment/consumer to zero, so " + explain.AtZeroAdvice
	require.Equal(t, "no series names it, and it owns no pods in namespace default"+scaledToZero, th.why(explain.Question{Metric: "queue_depth", Object: deploymentResource, Name: "consumer"}))
	require.Equal(t, "the Service has no endpoints"+scaledToZero, th.why(explain.Question{Metric: "http_requests", Object: serviceResource, Name: "consumer"}))
	require.Equal(t, `the selector "app=consumer" matches no pods in namespace default`+scaledToZero,
		th.why(explain.Question{Metric: "queue_depth", Object: podResource, Selector: apilabels.SelectorFromSet(apilabels.Set{"app": "consumer"})}))
	require.Equal(t, `404: the server could not find the metric queue_depth for pods: the selector "app=consumer" matches no pods in namespace default`+scaledToZero,
		th.ask("default/pods/*/queue_depth?app=consumer"))
	hpa.Status.CurrentReplicas = 1
	require.Equal(t, "the Service has no endpoints", th.why(explain.Question{Metric: "http_requests", Object: serviceResource, Name: "consumer"}))
}
