package adapter

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter/autoscalers"
	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/adapter/rules"
)

func target(kind autoscalingv2.MetricTargetType, quantity string) autoscalingv2.MetricTarget {
	q := resource.MustParse(quantity)
	if kind == autoscalingv2.AverageValueMetricType {
		return autoscalingv2.MetricTarget{Type: kind, AverageValue: &q}
	}
	return autoscalingv2.MetricTarget{Type: kind, Value: &q}
}

func ofObject(kind, name, metric string, of autoscalingv2.MetricTarget) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
		DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: kind, Name: name},
		Metric:          autoscalingv2.MetricIdentifier{Name: metric}, Target: of,
	}}
}

// scaling makes an HPA of the Deployment sample, of 1 to 10 replicas.
func (f *fixture) scaling(name string, metrics ...autoscalingv2.MetricSpec) *autoscalingv2.HorizontalPodAutoscaler {
	hpa := f.hpa(name, metrics...)
	hpa.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "sample"}
	hpa.Spec.MaxReplicas = 10
	return hpa
}

// ready makes pods of the fixture so.
func (f *fixture) ready(names ...string) {
	f.t.Helper()
	for _, name := range names {
		obj, ok, err := f.objects[podResource].GetByKey("default/" + name)
		require.NoError(f.t, err)
		require.True(f.t, ok)
		pod := obj.(*corev1.Pod).DeepCopy()
		pod.Status.Phase = corev1.PodRunning
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		f.add(podResource, pod)
	}
}

// told writes what an HPA is told, in a line.
func told(a *autoscalers.Autoscaler) string {
	var parts []string
	for i := range a.Metrics {
		m := &a.Metrics[i]
		value := "none (" + m.Reason + ")"
		if m.Value != nil {
			value = fmt.Sprintf("%d of %d asks %d", *m.Value, m.Target, m.Asks)
		}
		if m.Pods > 0 {
			value = fmt.Sprintf("%d/%d pods ", m.With, m.Pods) + value
		}
		parts = append(parts, fmt.Sprintf("%s %s: %s", m.Object, m.Metric, value))
	}
	return fmt.Sprintf("%s %d-%d has %d asks %d; %s", a.Target, a.Min, a.Max, a.Replicas, a.Asks, strings.Join(parts, "; "))
}

func TestAutoscalers(t *testing.T) {
	const value, average = autoscalingv2.ValueMetricType, autoscalingv2.AverageValueMetricType
	f := scenario(t)
	f.again(func(o *Options) {
		o.Rules.External = []rules.Rule{{
			SeriesQuery: `queue_depth{namespace!=""}`, Resources: rules.Resources{Overrides: map[string]rules.GroupResource{"namespace": {Resource: "namespace"}}},
			MetricsQuery: `sum(<<.Series>>{<<.LabelMatchers>>}) by (job)`,
		}}
	})
	f.ready("sample-1", "sample-2")
	cpu := autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: "cpu"}}
	pods := podsMetric("queue_depth")
	pods.Pods.Target = target(average, "1")
	external := autoscalingv2.MetricSpec{External: &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "queue_depth"}, Target: target(average, "1")}}
	filtered := ofObject("Service", "sample", "http_requests", target(value, "10"))
	filtered.Object.Metric.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"pod": "sample-1"}}

	for _, c := range []struct {
		metrics []autoscalingv2.MetricSpec
		want    string
	}{
		{[]autoscalingv2.MetricSpec{ofObject("Service", "sample", "http_requests", target(value, "10"))}, "asks 6; services/sample http_requests: 30000 of 10000 asks 6"},
		{[]autoscalingv2.MetricSpec{ofObject("Service", "sample", "http_requests", target(average, "10"))}, "asks 3; services/sample http_requests: 15000 of 10000 asks 3"},
		{[]autoscalingv2.MetricSpec{filtered}, "asks 2; services/sample http_requests: 10000 of 10000 asks 2"},
		{[]autoscalingv2.MetricSpec{pods}, "asks 7; pods queue_depth: 2/2 pods 3500 of 1000 asks 7"},
		{[]autoscalingv2.MetricSpec{external}, "asks 7; external queue_depth: 3500 of 1000 asks 7"},
		{[]autoscalingv2.MetricSpec{cpu}, "asks 0; resource cpu: none (metrics-server's, not promlet's)"},
		// One that is missing keeps replicas from being taken away, and no others from being added.
		{
			[]autoscalingv2.MetricSpec{ofObject("Service", "sample", "http_requests", target(value, "1000")), ofObject("Service", "sample", "nonsense", target(value, "1"))},
			"asks 2; services/sample http_requests: 30000 of 1000000 asks 1; services/sample nonsense: none (no series has been collected that a rule serves under that name)",
		},
		{[]autoscalingv2.MetricSpec{ofObject("Unicorn", "x", "http_requests", target(value, "1"))}, `asks 0; Unicorn/x http_requests: none (resolve kind Unicorn of v1: no matches for kind "Unicorn" in version "v1")`},
	} {
		f.scaling("sample", c.metrics...)
		all, err := f.Autoscalers.List(t.Context(), nil)
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Equal(t, "Deployment/sample 1-10 has 2 "+c.want, told(&all[0]))
	}
}

func TestAutoscalersWithPodsMissing(t *testing.T) {
	f := scenario(t)
	metric := podsMetric("queue_depth")
	metric.Pods.Target = target(autoscalingv2.AverageValueMetricType, "1")
	f.scaling("sample", metric)
	f.pod("sample-3", "sample")
	f.pod("other-1", "other")
	of := func() (string, explain.Question) {
		all, err := f.Autoscalers.List(t.Context(), nil)
		require.NoError(t, err)
		return told(&all[0]), all[0].Metrics[0].Question
	}
	got, question := of()
	require.Equal(t, "Deployment/sample 1-10 has 3 asks 7; pods queue_depth: 2/3 pods 3500 of 1000 asks 7", got)
	require.Equal(t, "sample-3", question.Name, "the one that has none is to be explained")

	f.now = f.now.Add(10 * time.Minute)
	got, _ = of()
	require.Contains(t, got, "has 3 asks 0; pods queue_depth: 0/3 pods none (pod sample-1: ")
	for _, pod := range []string{"sample-1", "sample-2", "sample-3"} {
		obj, _, err := f.objects[podResource].GetByKey("default/" + pod)
		require.NoError(t, err)
		require.NoError(t, f.objects[podResource].Delete(obj))
	}
	got, _ = of()
	require.Contains(t, got, "has 0 asks 0; pods queue_depth: none (no pod that has started is owned by Deployment sample)")

	all, err := f.Autoscalers.List(t.Context(), func(_, name string) bool { return name != "sample" })
	require.NoError(t, err)
	require.Empty(t, all)
}

// An HPA that scales nothing, whatever its metrics are, says why. A metric without a value has its own reason.
func TestAutoscalerStuck(t *testing.T) {
	for _, c := range []struct {
		condition autoscalingv2.HorizontalPodAutoscalerCondition
		want      string
	}{
		{autoscalingv2.HorizontalPodAutoscalerCondition{Type: autoscalingv2.AbleToScale, Status: corev1.ConditionFalse, Reason: "FailedGetScale", Message: "not found"}, "not found"},
		{autoscalingv2.HorizontalPodAutoscalerCondition{Type: autoscalingv2.AbleToScale, Status: corev1.ConditionTrue, Reason: "ReadyForNewScale", Message: "fine"}, ""},
		{autoscalingv2.HorizontalPodAutoscalerCondition{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionFalse, Reason: "AmbiguousSelector", Message: "two HPAs"}, "two HPAs"},
		{autoscalingv2.HorizontalPodAutoscalerCondition{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionFalse, Reason: "FailedGetPodsMetric", Message: "no value"}, ""},
		{autoscalingv2.HorizontalPodAutoscalerCondition{Type: autoscalingv2.ScalingLimited, Status: corev1.ConditionFalse, Message: "within range"}, ""},
	} {
		f := scenario(t)
		f.scaling("sample", podsMetric("queue_depth"))
		hpas, err := f.values.Objects.Autoscalers("")
		require.NoError(t, err)
		hpas[0].Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{c.condition}
		all, err := f.Autoscalers.List(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, c.want, all[0].Stuck, c.condition.Reason)
	}
}

// Pods of a custom workload may be owned by what only its controller knows. Then the HPA's own notes tell.
func TestAutoscalersOfUnknownPods(t *testing.T) {
	f := scenario(t)
	metric := podsMetric("queue_depth")
	metric.Pods.Target = target(autoscalingv2.AverageValueMetricType, "1")
	hpa := f.scaling("rollout", ofObject("Service", "sample", "http_requests", target(autoscalingv2.ValueMetricType, "10")), metric,
		autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: "cpu"}})
	hpa.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: "sample"}
	hpa.Status.CurrentReplicas = 2
	got := func() string {
		all, err := f.Autoscalers.List(t.Context(), nil)
		require.NoError(t, err)
		return told(&all[0])
	}
	const cpu = "; resource cpu: none (metrics-server's, not promlet's)"
	require.Equal(t, "Rollout/sample 1-10 has 2 asks 6; services/sample http_requests: 30000 of 10000 asks 6; pods queue_depth: none (no pod that has started is owned by Rollout sample)"+cpu, got())
	hpa.Status.CurrentMetrics = []autoscalingv2.MetricStatus{{Pods: &autoscalingv2.PodsMetricStatus{
		Metric: autoscalingv2.MetricIdentifier{Name: "queue_depth"}, Current: autoscalingv2.MetricValueStatus{AverageValue: resource.NewQuantity(4, resource.DecimalSI)},
	}}}
	require.Equal(t, "Rollout/sample 1-10 has 2 asks 8; services/sample http_requests: 30000 of 10000 asks 6; pods queue_depth: 4000 of 1000 asks 8"+cpu, got())
	hpa.Status.CurrentReplicas = 12
	require.Contains(t, got(), "has 12 asks 10;")

	u, err := f.Demand.Current(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"HPA default/rollout"}, u.Readers("http_requests_total"), "to look is not to read")
}

// At zero replicas only metrics of other objects scale a target up.
func TestAutoscalersAtZero(t *testing.T) {
	f := scenario(t)
	pods := podsMetric("queue_depth")
	hpa := f.scaling("consumer", ofObject("Service", "sample", "http_requests", target(autoscalingv2.ValueMetricType, "10")), pods)
	hpa.Spec.ScaleTargetRef.Name = "consumer"
	hpa.Spec.MinReplicas = new(int32)
	all, err := f.Autoscalers.List(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, all[0].AtZero)
	require.Equal(t, "Deployment/consumer 0-10 has 0 asks 3; services/sample http_requests: 30000 of 10000 asks 3; "+
		"pods queue_depth: none (Deployment/consumer has no pods, so a metric of its own pods cannot scale it up: also scale on an Object or External metric, such as the length of a queue)", told(&all[0]))
}

func TestRunAutoscalers(t *testing.T) {
	f := scenario(t)
	f.scaling("sample", podsMetric("queue_depth"))
	ctx, cancel := context.WithCancel(t.Context())
	var seen []autoscalers.Autoscaler
	require.Nil(t, f.Autoscalers.Last(), "nothing has been looked at")
	require.NoError(t, f.Autoscalers.Run(ctx, func(all []autoscalers.Autoscaler) {
		seen = all
		cancel()
	}))
	require.Len(t, seen, 1)
	require.Equal(t, seen, f.Autoscalers.Last())
	all, err := f.Autoscalers.List(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, all[0].Metrics[0].History, 1)
	require.Equal(t, []autoscalers.Point{{At: all[0].Metrics[0].History[0].At, Milli: int64(all[0].Replicas) * 1000}}, all[0].History)
}

func TestUsage(t *testing.T) {
	f := scenario(t)
	f.again(func(o *Options) { o.Rules.Keep = []string{"node_.*"} }, exposing("node_load1", "unread_total"))
	f.scaling("sample", ofObject("Service", "sample", "http_requests", target(autoscalingv2.ValueMetricType, "10")))
	f.scaling("second", podsMetric("http_requests"))
	_, err := f.GetMetricBySelector(t.Context(), "default", apilabels.Everything(), provider.CustomMetricInfo{GroupResource: podResource, Metric: "queue_depth", Namespaced: true}, nil)
	require.NoError(t, err)
	f.now = f.now.Add(3 * time.Second)
	u, err := f.Demand.Current(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"HPA default/sample", "HPA default/second"}, u.Readers("http_requests_total"))
	require.Equal(t, []string{"API, 3s ago"}, u.Readers("queue_depth"))
	require.Equal(t, []string{"keep"}, u.Readers("node_load1"))
	require.Empty(t, u.Readers("unread_total"))
	require.Equal(t, []demand.ServedMetric{{Metric: "unread", Rule: "a default rule"}}, u.Served("unread_total"))
	require.Empty(t, u.Served(""))
}
