package adapter

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	metricsapi "k8s.io/metrics/pkg/apis/metrics"

	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/adapter/resourcemetrics"
)

// measured is the scenario with the nodes n1 and n2, whose kubelets report what its pods sample-1 on n1 and sample-2 on n2
// use.
type measured struct {
	*fixture
	store       *resourcemetrics.Store
	unreachable map[string]error
}

var nodeResource = schema.GroupResource{Resource: "nodes"}

func newMeasured(t *testing.T) *measured {
	f := &measured{fixture: scenario(t), unreachable: map[string]error{}}
	f.store = resourcemetrics.NewStore(resourcemetrics.Options{Now: func() time.Time { return f.now }})
	f.again(func(o *Options) {
		o.Resources = f.store
		o.Explain.Unreachable = func(node string) error { return f.unreachable[node] }
	})
	f.add(nodeResource, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n2"}})
	f.store.SetNodes([]string{"n1", "n2"})
	f.running("sample-1", "n1")
	f.running("sample-2", "n2")
	return f
}

// running makes a pod run on a node, since an hour, with containers that request half a core and 100 MiB each.
func (f *measured) running(name, node string) {
	f.t.Helper()
	f.pod(name, "sample")
	obj, _, err := f.objects[podResource].GetByKey("default/" + name)
	require.NoError(f.t, err)
	pod, since := obj.(*corev1.Pod), metav1.NewTime(f.now.Add(-time.Hour))
	pod.Spec.NodeName = node
	for _, container := range []string{"web", "proxy"} {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: container, Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{"cpu": resource.MustParse("500m"), "memory": resource.MustParse("100Mi")},
		}})
	}
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, StartTime: &since,
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: since}},
	}
}

// justStarted makes the CPU of a pod that of its start.
func (f *measured) justStarted(name string) {
	f.t.Helper()
	obj, _, err := f.objects[podResource].GetByKey("default/" + name)
	require.NoError(f.t, err)
	pod, now := obj.(*corev1.Pod).DeepCopy(), metav1.NewTime(f.now)
	pod.Status.StartTime, pod.Status.Conditions[0].LastTransitionTime = &now, now
	f.add(podResource, pod)
}

// report has the kubelet of a node report: a pod whose container web has used so many seconds of CPU, and its container proxy
// a fifth of them.
func (f *measured) report(node, pod string, cpu float64) {
	f.t.Helper()
	var b resourcemetrics.Batch
	at := f.now.UnixMilli()
	b.Add(labels.FromStrings(model.MetricNameLabel, "node_cpu_usage_seconds_total"), at, 2*cpu)
	b.Add(labels.FromStrings(model.MetricNameLabel, "node_memory_working_set_bytes"), at, 3<<30)
	for container, share := range map[string]float64{"web": 1, "proxy": 0.2} {
		of := []string{"namespace", "default", "pod", pod, "container", container, model.MetricNameLabel}
		b.Add(labels.FromStrings(append(of, "container_cpu_usage_seconds_total")...), at, share*cpu)
		b.Add(labels.FromStrings(append(of, "container_memory_working_set_bytes")...), at, share*200*(1<<20))
	}
	require.NoError(f.t, f.store.Put(node, &b))
}

// use has both kubelets report that the container web of each pod uses a core.
func (f *measured) use() {
	f.report("n1", "sample-1", 100)
	f.report("n2", "sample-2", 100)
	f.now = f.now.Add(15 * time.Second)
	f.report("n1", "sample-1", 115)
	f.report("n2", "sample-2", 115)
}

func ofResource(name corev1.ResourceName, container string, target autoscalingv2.MetricTarget) autoscalingv2.MetricSpec {
	if container != "" {
		return autoscalingv2.MetricSpec{ContainerResource: &autoscalingv2.ContainerResourceMetricSource{Name: name, Container: container, Target: target}}
	}
	return autoscalingv2.MetricSpec{Resource: &autoscalingv2.ResourceMetricSource{Name: name, Target: target}}
}

func utilization(percent int32) autoscalingv2.MetricTarget {
	return autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent}
}

// Resource and ContainerResource metrics have values where promlet serves metrics.k8s.io.
func TestAutoscalersOfResources(t *testing.T) {
	const average = autoscalingv2.AverageValueMetricType
	f := newMeasured(t)
	of := func(metric autoscalingv2.MetricSpec) string {
		t.Helper()
		f.scaling("sample", metric)
		all, err := f.Autoscalers.List(t.Context(), nil)
		require.NoError(t, err)
		return told(&all[0])
	}
	cpu := ofResource("cpu", "", utilization(60))
	f.report("n1", "sample-1", 100)
	f.report("n2", "sample-2", 100)
	require.Equal(t, `Deployment/sample 1-10 has 2 asks 0; pods cpu: 0/2 pods none (pod sample-1: one sample of container "proxy" is not enough for a CPU rate: the next one follows within 15s)`, of(cpu))
	f.use()
	require.Equal(t, "Deployment/sample 1-10 has 2 asks 4; pods cpu: 2/2 pods 120000 of 60000 asks 4", of(cpu))
	require.Equal(t, "Deployment/sample 1-10 has 2 asks 8; container web cpu: 2/2 pods 200000 of 50000 asks 8", of(ofResource("cpu", "web", utilization(50))))
	require.Equal(t, "Deployment/sample 1-10 has 2 asks 5; pods cpu: 2/2 pods 1200 of 500 asks 5", of(ofResource("cpu", "", target(average, "500m"))))
	require.Equal(t, "Deployment/sample 1-10 has 2 asks 1; container proxy memory: 2/2 pods 41943040000 of 104857600000 asks 1", of(ofResource("memory", "proxy", target(average, "100Mi"))))
	require.Contains(t, of(ofResource("cpu", "x", target(average, "1"))), "asks 0; container x cpu: 0/2 pods none (pod sample-1: it reports no cpu of a container x)")
	require.Contains(t, of(ofResource("cpu", "x", utilization(1))), "pod sample-1: it reports no cpu of a container x")

	// A pod without a value uses what it requests on the way down, and nothing on the way up.
	f.running("sample-3", "n3")
	require.Equal(t, "Deployment/sample 1-10 has 3 asks 4; pods cpu: 2/3 pods 120000 of 60000 asks 4", of(cpu))
	all, err := f.Autoscalers.List(t.Context(), nil)
	require.NoError(t, err)
	m := all[0].Metrics[0]
	require.Equal(t, explain.Question{Metric: "cpu", Object: podResource, Namespace: "default", Name: "sample-3", Usage: true}, m.Question)
	require.Equal(t, [2]any{15 * time.Second, f.now.Unix()}, [2]any{m.Window, m.Last.Unix()})
	require.True(t, m.Served())

	require.NoError(t, f.objects[podResource].Delete(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "sample-3"}}))
	f.justStarted("sample-1")
	require.Contains(t, of(cpu), "1/1 pods 120000 of 60000 asks 2") // with the other one idle both are on target
	f.justStarted("sample-2")
	require.Contains(t, of(cpu), "asks 0; pods cpu: 0/2 pods none (no pod has a value that counts: values of pods that are not ready, or have just started, do not count)")
}

// The status of the HPA has the values of pods that only the controller of a custom workload knows.
func TestAutoscalersOfResourcesOfUnknownPods(t *testing.T) {
	f := newMeasured(t)
	hpa := f.scaling("rollout", ofResource("cpu", "", utilization(50)), ofResource("memory", "web", target(autoscalingv2.AverageValueMetricType, "1Gi")))
	hpa.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: "sample"}
	hpa.Status.CurrentReplicas = 2
	got := func() string {
		all, err := f.Autoscalers.List(t.Context(), nil)
		require.NoError(t, err)
		return told(&all[0])
	}
	require.Contains(t, got(), "asks 0; pods cpu: none (no pod that has started is owned by Rollout sample); container web memory: none")
	percent := int32(75)
	hpa.Status.CurrentMetrics = []autoscalingv2.MetricStatus{
		{Resource: &autoscalingv2.ResourceMetricStatus{Name: "memory", Current: autoscalingv2.MetricValueStatus{AverageValue: resource.NewQuantity(1, resource.BinarySI)}}},
		{Resource: &autoscalingv2.ResourceMetricStatus{Name: "cpu", Current: autoscalingv2.MetricValueStatus{AverageUtilization: &percent}}},
		{ContainerResource: &autoscalingv2.ContainerResourceMetricStatus{Name: "memory", Container: "web", Current: autoscalingv2.MetricValueStatus{AverageValue: resource.NewQuantity(2<<30, resource.BinarySI)}}},
	}
	require.Equal(t, "Rollout/sample 1-10 has 2 asks 4; pods cpu: 75000 of 50000 asks 3; container web memory: 2147483648000 of 1073741824000 asks 4", got())
}

// explained returns the steps and the verdict of a question about usage, one in a line.
func (f *measured) explained(q explain.Question) string {
	f.t.Helper()
	q.Namespace = map[bool]string{true: "default"}[q.Object == podResource]
	e, err := f.Explainer.Explain(f.t.Context(), q)
	require.NoError(f.t, err)
	text := ""
	for _, s := range e.Steps {
		text += string(s.State) + " " + string(s.Link) + ": " + s.Text + "\n"
	}
	return text + e.Verdict()
}

func TestExplainUsage(t *testing.T) {
	f := newMeasured(t)
	f.now = time.Date(2026, 7, 8, 9, 10, 0, 0, time.UTC)
	f.scaling("sample", ofResource("cpu", "", utilization(60)))
	f.use()
	f.now = f.now.Add(3 * time.Second)
	cpu := explain.Question{Metric: "cpu", Object: podResource, Name: "sample-1"}
	require.Equal(t, `ok object: pod sample-1 exists
ok autoscaler: HorizontalPodAutoscaler sample scales on it
ok kubelet: the kubelet of node "n1" reports 1 pod with 2 containers, last scrape 3s ago
ok container: the kubelet reports containers proxy, web of the pod
ok samples: proxy: 23.000 s of CPU at 09:10:15.000 UTC, 20.000 s at 09:10:00.000 UTC: 200m cores
ok samples: web: 115.000 s of CPU at 09:10:15.000 UTC, 100.000 s at 09:10:00.000 UTC: 1000m cores
ok value: 1200m cores, over 15s, last sample 3s ago
is 1200m`, f.explained(cpu))
	require.Equal(t, `ok object: pod sample-1 exists
note autoscaler: no HorizontalPodAutoscaler in namespace default scales on it
ok kubelet: the kubelet of node "n1" reports 1 pod with 2 containers, last scrape 3s ago
ok container: the kubelet reports containers proxy, web of the pod
ok samples: proxy: working set 40Mi at 09:10:15.000 UTC
ok samples: web: working set 200Mi at 09:10:15.000 UTC
ok value: 240Mi, last sample 3s ago
is 240Mi`, f.explained(explain.Question{Metric: "memory", Object: podResource, Name: "sample-1"}))
	require.Equal(t, `ok object: node n2 exists
ok kubelet: the kubelet of node "n2" reports 1 pod with 2 containers, last scrape 3s ago
ok samples: n2: 230.000 s of CPU at 09:10:15.000 UTC, 200.000 s at 09:10:00.000 UTC: 2000m cores
ok value: 2000m cores, over 15s, last sample 3s ago
is 2000m`, f.explained(explain.Question{Metric: "cpu", Object: nodeResource, Name: "n2"}))
	require.Equal(t, `ok object: pods in namespace default: sample-1, sample-2
ok value: sample-1: 1200m, last sample 3s ago
ok value: sample-2: 1200m, last sample 3s ago
has a value for 2 of 2 pods`, f.explained(explain.Question{Metric: "cpu", Object: podResource, Selector: apilabels.SelectorFromSet(apilabels.Set{"app": "sample"})}))

	f.store.Failed("n1", errors.New("kubelet of node n1: no answer"))
	f.now = f.now.Add(time.Second)
	require.Contains(t, f.explained(cpu), "\nnote kubelet: the kubelet of node \"n1\" reports 1 pod with 2 containers, last good scrape 4s ago; the scrape 1s ago failed: kubelet of node n1: no answer\n")
	f.now = f.now.Add(time.Hour)
	require.Contains(t, f.explained(cpu), "\nbroken kubelet: scraping the kubelet of node \"n1\" failed: kubelet of node n1: no answer\nhas no value: scraping")
	require.Contains(t, f.explained(explain.Question{Metric: "cpu", Object: podResource, Name: "sample-9"}), "broken object: there is no pod sample-9 in namespace default (closest: sample-1)\n")

	// A metric of the custom API with the name comes first, unless usage is asked for.
	f.load(`cpu{namespace="default",pod="sample-1",instance="10.0.0.1:8080"} 3x16`)
	require.Contains(t, f.explained(cpu), "rule: ")
	cpu.Usage = true
	require.NotContains(t, f.explained(cpu), "rule: ")
	require.Contains(t, f.explained(explain.Question{Metric: "queue_depth", Object: podResource, Name: "sample-1", Usage: true}), "rule: ", "no metric of metrics.k8s.io")
}

// Who may read metrics of a namespace may ask for nodes through it, but not what all namespaces together use there.
func TestExplainUsageOfNodesThroughANamespace(t *testing.T) {
	f := newMeasured(t)
	f.use()
	for _, name := range []string{"n1", ""} {
		for _, usage := range []bool{true, false} {
			e, err := f.Explainer.Explain(t.Context(), explain.Question{Metric: "cpu", Object: nodeResource, Name: name, Namespace: "default", Usage: usage})
			require.NoError(t, err)
			require.Equal(t, "what nodes use is not of one namespace: ask under nodes, not under namespaces/default", e.Reason)
			require.Len(t, e.Steps, 1)
		}
	}
}

// A question about many pods asks for their values at once: by resourceRules each time costs queries.
func TestExplainUsageOfManyPodsAtOnce(t *testing.T) {
	f := newMeasured(t)
	f.use()
	counted := &countingSource{Source: f.store}
	f.again(func(o *Options) { o.Resources = counted })
	e, err := f.Explainer.Explain(t.Context(), explain.Question{Metric: "cpu", Object: podResource, Namespace: "default"})
	require.NoError(t, err)
	require.Equal(t, 2, e.With)
	require.EqualValues(t, 1, counted.asked)

	f.running("silent", "n2")
	counted.asked = 0
	e, err = f.Explainer.Explain(t.Context(), explain.Question{Metric: "cpu", Object: podResource, Namespace: "default"})
	require.NoError(t, err)
	require.Equal(t, "silent", e.Lacking)
	require.EqualValues(t, 3, counted.asked, "and of the first one without a value also the reason")
}

// countingSource counts questions.
type countingSource struct {
	resourcemetrics.Source
	asked int
}

func (s *countingSource) PodMetrics(ctx context.Context, pods []*corev1.Pod) ([]metricsapi.PodMetrics, error) {
	s.asked++
	return s.Source.PodMetrics(ctx, pods)
}

func (s *countingSource) Pod(ctx context.Context, pod *corev1.Pod) resourcemetrics.Report {
	s.asked++
	return s.Source.Pod(ctx, pod)
}

// The first broken link is the reason.
func TestExplainUsageBroken(t *testing.T) {
	f := newMeasured(t)
	f.running("unscheduled", "")
	f.running("elsewhere", "n3")
	f.running("silent", "n2")
	f.use()
	f.report("n1", "sample-1", 116) // at the time of the last one
	broken := func(gr schema.GroupResource, name, want string) {
		t.Helper()
		require.Contains(t, f.explained(explain.Question{Metric: "cpu", Object: gr, Name: name}), want)
	}
	broken(podResource, "unscheduled", "broken object: the pod has no node yet\n")
	broken(podResource, "elsewhere", "broken kubelet: node \"n3\" is not scraped\n")
	f.unreachable["n3"] = errors.New("it has no address")
	broken(podResource, "elsewhere", "broken kubelet: the kubelet of node \"n3\" is not scraped: it has no address\n")
	broken(podResource, "silent", "broken container: the kubelet of node \"n2\" does not report the pod\n")
	require.Equal(t, `ok object: pods in namespace default: elsewhere, sample-1, sample-2, silent, unscheduled
note object: 2 of 5 have a value; elsewhere has none:
ok object: pod elsewhere exists
broken kubelet: the kubelet of node "n3" is not scraped: it has no address
has a value for 2 of 5 pods; elsewhere has none: the kubelet of node "n3" is not scraped: it has no address`,
		f.explained(explain.Question{Metric: "memory", Object: podResource}))
	f.store.SetNodes([]string{"n2", "n4"})
	f.add(nodeResource, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n4"}})
	broken(nodeResource, "n4", "broken kubelet: the kubelet of node \"n4\" has not been scraped yet\n")
	f.report("n4", "sample-4", 1)
	broken(nodeResource, "n4", "broken samples: one sample of the node is not enough for a CPU rate: the next one follows within 15s\n")
}
