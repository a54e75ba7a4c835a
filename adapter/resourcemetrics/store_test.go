package resourcemetrics

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// epoch is second 0 of the tests' samples.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// at is a sample of a container, or of the node where the name is empty: seconds since the epoch (a negative start: unknown),
// core seconds, and MiB.
type at struct {
	name                     string
	start, time, cpu, memory float64
}

// add adds a sample of the pod a/pod1, or of the node.
func (b *Batch) add(p at) {
	prefix, of := "container_", []string{"namespace", "a", "pod", "pod1", "container", p.name}
	if p.name == "" {
		prefix, of = "node_", nil
	}
	name := func(suffix string) labels.Labels {
		return labels.FromStrings(append([]string{model.MetricNameLabel, prefix + suffix}, of...)...)
	}
	ms := epoch.UnixMilli() + int64(p.time*1000)
	b.Add(name("cpu_usage_seconds_total"), ms, p.cpu)
	b.Add(name("memory_working_set_bytes"), ms, p.memory*(1<<20))
	if p.name != "" && p.start >= 0 {
		b.Add(name("start_time_seconds"), ms, float64(epoch.Unix())+p.start)
	}
}

func batchOf(points ...at) *Batch {
	b := &Batch{}
	for _, p := range points {
		b.add(p)
	}
	return b
}

func podOn(node, namespace, name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.PodSpec{NodeName: node}}
}

// answer prints the value of a pod, or why it has none.
func answer(t *testing.T, s *Store, pod *corev1.Pod) string {
	t.Helper()
	values, err := s.PodMetrics(t.Context(), []*corev1.Pod{pod})
	require.NoError(t, err)
	report := s.Pod(t.Context(), pod)
	if len(values) == 0 {
		require.NotEqual(t, Measured, report.Reason)
		return report.String()
	}
	require.Empty(t, report.String())
	text := fmt.Sprintf("%v+%v", values[0].Timestamp.Sub(epoch), values[0].Window.Duration)
	for _, c := range values[0].Containers {
		text += fmt.Sprintf(" %s=%s,%s", c.Name, c.Usage.Cpu(), c.Usage.Memory())
	}
	return text
}

// nodeAnswer is answer for a node.
func nodeAnswer(t *testing.T, s *Store, name string) string {
	t.Helper()
	values, err := s.NodeMetrics(t.Context(), []*corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: name}}})
	require.NoError(t, err)
	report := s.Node(t.Context(), name)
	if len(values) == 0 {
		require.NotEqual(t, Measured, report.Reason)
		return report.String()
	}
	require.Empty(t, report.String())
	return fmt.Sprintf("%v+%v %s,%s", values[0].Timestamp.Sub(epoch), values[0].Window.Duration, values[0].Usage.Cpu(), values[0].Usage.Memory())
}

// The cases of metrics-server's own tests of its storage, and what it answers there. Where it answers nothing, the text
// says why.
func TestPodsAsInMetricsServer(t *testing.T) {
	const oneSample = `one sample of container "c1" is not enough for a CPU rate: the next one follows within 1m0s`
	f := func(name, want string, batches ...*Batch) {
		t.Helper()
		s := NewStore(Options{Resolution: time.Minute})
		s.SetNodes([]string{"n"})
		for _, b := range batches {
			require.NoError(t, s.Put("n", b))
		}
		require.Equal(t, want, answer(t, s, podOn("n", "a", "pod1")), name)
	}
	c1 := func(start, time, cpu, memory float64) *Batch { return batchOf(at{"c1", start, time, cpu, memory}) }
	f("two samples", "2m5s+5s c1=1,5Mi", c1(0, 120, 1, 4), c1(0, 125, 6, 5))
	f("one sample", oneSample, c1(0, 120, 1, 4))
	f("no start time", "2m5s+5s c1=1,5Mi", c1(-1, 120, 1, 4), c1(-1, 125, 6, 5))
	f("no longer reported", `the kubelet of node "n" does not report the pod`, c1(0, 120, 1, 4), c1(0, 125, 6, 5), batchOf())
	f("the earliest of two containers", "2m0s+10s c1=500m,6Mi c2=500m,7Mi",
		batchOf(at{"c1", 0, 110, 1, 4}, at{"c2", 0, 115, 2, 5}),
		batchOf(at{"c1", 0, 120, 6, 6}, at{"c2", 0, 125, 7, 7}))
	f("the same sample twice", oneSample, c1(0, 110, 1, 4), c1(0, 110, 1, 4))
	f("restarted, and old enough for a rate since", "25s+10s c1=500m,5Mi", c1(0, 10, 1, 4), c1(15, 25, 5, 5))
	f("restarted just now", `container "c1" has restarted: a CPU rate needs two samples since then, and the next one follows within 1m0s`, c1(0, 70, 1, 4), c1(75, 80, 5, 5))
	f("restarted, two samples since", "1m29s+8s c1=250m,6Mi", c1(0, 70, 1, 4), c1(80, 81, 5, 5), c1(80, 89, 7, 6))
	f("a counter that ran backwards", `the CPU counter of container "c1" ran backwards`, c1(0, 110, 20, 4), c1(0, 120, 10, 4))
	f("older than all", `the last sample of container "c1" is older than those before: check the clock of node "n"`,
		c1(0, 1115, 20, 4), c1(0, 1125, 40, 4), c1(0, 115, 10, 4))
	f("between the two", "2m0s+5s c1=5,5Mi", c1(0, 115, 10, 4), c1(0, 125, 50, 5), c1(0, 120, 35, 5))
	f("fresh", "10s+10s c1=1,4Mi", c1(0, 10, 10, 4))
	f("too fresh", oneSample, c1(0, 9, 10, 4))
	f("started after its sample", oneSample, c1(20, 10, 10, 4))
	f("a new container in a pod", `one sample of container "c2" is not enough for a CPU rate: the next one follows within 1m0s`,
		c1(0, 110, 1, 4), batchOf(at{"c1", 0, 120, 6, 6}, at{"c2", 0, 120, 8, 5}))
	f("a container that ended", "2m0s+10s c1=500m,6Mi",
		batchOf(at{"c1", 0, 110, 1, 4}, at{"c2", 0, 110, 2, 5}), c1(0, 120, 6, 6))
	f("no CPU", `the kubelet of node "n" reports no CPU usage of container "c1"`, c1(0, 110, 1, 4), c1(0, 120, 0, 4))
	f("no memory", `the kubelet of node "n" reports no memory usage of container "c2"`,
		batchOf(at{"c1", 0, 110, 1, 4}, at{"c2", 0, 110, 1, 0}))
	f("no memory in between", oneSample, c1(0, 110, 1, 4), c1(0, 120, 2, 0), c1(0, 130, 3, 4))
	f("to the nanocore, rounded down", "2m3s+3s c1=333333333n,1Mi", c1(0, 120, 1, 1), c1(0, 123, 2, 1))
}

// Where metrics-server's answer is wrong.
func TestPodsOtherThanInMetricsServer(t *testing.T) {
	f := func(name, want string, batches ...*Batch) {
		t.Helper()
		s := NewStore(Options{})
		s.SetNodes([]string{"n"})
		for _, b := range batches {
			require.NoError(t, s.Put("n", b))
		}
		require.Equal(t, want, answer(t, s, podOn("n", "a", "pod1")), name)
	}
	f("one of two counters ran backwards: a sum without it is too low", `the CPU counter of container "c2" ran backwards`,
		batchOf(at{"c1", 0, 110, 1, 4}, at{"c2", 0, 110, 20, 4}), batchOf(at{"c1", 0, 120, 6, 4}, at{"c2", 0, 120, 10, 4}))
	f("the only sample of one of two containers again: there is no sample before it",
		`one sample of container "c2" is not enough for a CPU rate: the next one follows within 15s`,
		batchOf(at{"c1", 0, 110, 1, 4}), batchOf(at{"c1", 0, 120, 6, 4}, at{"c2", 0, 120, 10, 4}), batchOf(at{"c1", 0, 130, 7, 4}, at{"c2", 0, 120, 10, 4}))
	f("no number", `the kubelet of node "n" reports no CPU usage of container "c1"`, batchOf(at{"c1", 0, 110, 1, 4}), batchOf(at{"c1", 0, 120, math.NaN(), 4}))
	f("negative", `the kubelet of node "n" reports no memory usage of container "c1"`, batchOf(at{"c1", 0, 110, 1, -4}))
	f("more than a quantity holds", `the CPU counter of container "c1" jumped`, batchOf(at{"c1", -1, 110, 1, 4}), batchOf(at{"c1", -1, 110.001, 1e10, 4}))
}

func TestNodesAsInMetricsServer(t *testing.T) {
	f := func(name, want string, batches ...*Batch) {
		t.Helper()
		s := NewStore(Options{})
		s.SetNodes([]string{"n"})
		for _, b := range batches {
			require.NoError(t, s.Put("n", b))
		}
		require.Equal(t, want, nodeAnswer(t, s, "n"), name)
	}
	node := func(time, cpu, memory float64) *Batch { return batchOf(at{"", 0, time, cpu, memory}) }
	const oneSample = "one sample of the node is not enough for a CPU rate: the next one follows within 15s"
	f("two samples", "20s+10s 1,3Mi", node(10, 10, 2), node(20, 20, 3))
	f("one sample", oneSample, node(10, 10, 2))
	f("the same sample twice", oneSample, node(10, 10, 2), node(10, 10, 2))
	f("no longer reported", `the kubelet of node "n" does not report the node`, node(10, 10, 2), node(20, 20, 3), batchOf())
	f("restarted", "the CPU counter of the node ran backwards", node(10, 10, 2), node(20, 5, 3))
	f("older than all", `the last sample of the node is older than those before: check the clock of node "n"`, node(15, 10, 3), node(35, 50, 5), node(5, 6, 2))
	f("between the two", "25s+10s 2500m,2Mi", node(15, 10, 1), node(35, 50, 4), node(25, 35, 2))
	f("no CPU", `the kubelet of node "n" reports no CPU usage of the node`, node(10, 10, 2), node(20, 0, 3))
	f("no memory", `the kubelet of node "n" reports no memory usage of the node`, node(10, 10, 0))
	f("no CPU in between", oneSample, node(10, 10, 2), node(20, 0, 3), node(30, 30, 3))
}

// A pod that moved to another node, by its name, is reported by two kubelets: that of its node counts, alone.
func TestTwoKubeletsReportOnePod(t *testing.T) {
	s := NewStore(Options{})
	s.SetNodes([]string{"old", "new"})
	for _, second := range []float64{110, 120} {
		require.NoError(t, s.Put("old", batchOf(at{"c1", 0, second, second, 4})))
	}
	require.NoError(t, s.Put("new", batchOf(at{"c1", 115, 122, 1, 9}, at{"c2", 115, 122, 1, 9})))
	require.Equal(t, "2m0s+10s c1=1,4Mi", answer(t, s, podOn("old", "a", "pod1")))
	require.Equal(t, `one sample of container "c1" is not enough for a CPU rate: the next one follows within 15s`, answer(t, s, podOn("new", "a", "pod1")))
	require.NoError(t, s.Put("new", batchOf(at{"c1", 115, 132, 3, 9}, at{"c2", 115, 132, 2, 8})))
	require.NoError(t, s.Put("old", batchOf(at{"c1", 0, 130, 130, 4})))
	require.Equal(t, "2m12s+10s c1=200m,9Mi c2=100m,8Mi", answer(t, s, podOn("new", "a", "pod1")))
	require.Equal(t, "the pod has no node yet", answer(t, s, podOn("", "a", "pod1")))
	require.Equal(t, `the kubelet of node "new" does not report the pod`, answer(t, s, podOn("new", "b", "pod1")))
}

// A kubelet that fails takes the values of its own pods away, after three intervals and with the reason.
func TestFailingKubelet(t *testing.T) {
	now := epoch
	s := NewStore(Options{Now: func() time.Time { return now }})
	pod := podOn("n", "a", "pod1")
	require.Equal(t, `node "n" is not scraped`, answer(t, s, pod))
	require.NoError(t, s.Put("n", batchOf(at{"c1", 0, 110, 1, 4})), "not there yet, or gone: ignored")
	s.SetNodes([]string{"n"})
	require.Equal(t, `the kubelet of node "n" has not been scraped yet`, answer(t, s, pod))
	s.Failed("n", errors.New("connection refused"))
	require.Equal(t, `scraping the kubelet of node "n" failed: connection refused`, answer(t, s, pod))
	require.NoError(t, s.Put("n", batchOf(at{"c1", 0, 110, 1, 4})))
	s.Failed("n", errors.New("timeout"))
	require.Equal(t, `one sample of container "c1" is not enough for a CPU rate: the next one follows within 15s (the last scrape failed: timeout)`, answer(t, s, pod))
	now = now.Add(31 * time.Second)
	require.NoError(t, s.Put("n", batchOf(at{"c1", 0, 141, 32, 4}, at{"", 0, 141, 1, 1})))
	require.Equal(t, "2m21s+31s c1=1,4Mi", answer(t, s, pod), "one failure costs nothing")

	s.Failed("n", errors.New("timeout"))
	now = now.Add(45 * time.Second)
	require.Equal(t, "2m21s+31s c1=1,4Mi", answer(t, s, pod))
	now = now.Add(time.Millisecond)
	require.Equal(t, `scraping the kubelet of node "n" failed: timeout`, answer(t, s, pod))
	require.Equal(t, `scraping the kubelet of node "n" failed: timeout`, nodeAnswer(t, s, "n"))
	require.NoError(t, s.Put("n", batchOf(at{"c1", 0, 200, 91, 4})))
	require.Equal(t, OneSample, s.Pod(t.Context(), pod).Reason, "nothing that no longer counted")
	now = now.Add(time.Minute)
	require.Equal(t, `the kubelet of node "n" has not been scraped since 2026-01-01T00:01:16Z`, answer(t, s, pod))
	s.SetNodes(nil)
	require.Equal(t, `node "n" is not scraped`, answer(t, s, pod))
}

func TestReady(t *testing.T) {
	now := epoch
	newStore := func() *Store {
		return NewStore(Options{Now: func() time.Time { return now }})
	}
	s := newStore()
	require.EqualError(t, s.Ready(), "the nodes are not listed yet")
	s.SetNodes([]string{"a", "b"})
	require.EqualError(t, s.Ready(), "2 of 2 kubelets have not reported two samples yet")
	for _, second := range []float64{10, 20} {
		require.NoError(t, s.Put("a", batchOf(at{"", 0, second, second, 1})))
		require.Error(t, s.Ready())
	}
	require.NoError(t, s.Put("b", batchOf(at{"c1", 0, 100, 1, 4})))
	require.EqualError(t, s.Ready(), "1 of 2 kubelets have not reported two samples yet")
	require.NoError(t, s.Put("b", batchOf(at{"c1", 0, 110, 1, 4})))
	require.NoError(t, s.Ready())
	s.SetNodes([]string{"a", "b", "c"})
	require.NoError(t, s.Ready(), "a new node changes nothing")

	s = newStore()
	s.SetNodes([]string{"down", "slow"})
	s.Failed("down", errors.New("no route to host"))
	require.EqualError(t, s.Ready(), "1 of 2 kubelets have not reported two samples yet", "one that is down is not waited for")
	now = now.Add(time.Minute - 1)
	require.Error(t, s.Ready())
	now = now.Add(1)
	require.NoError(t, s.Ready(), "the wait is bounded")

	s = newStore()
	now = now.Add(time.Hour)
	require.EqualError(t, s.Ready(), "the nodes are not listed yet")
	s.SetNodes([]string{"a"})
	require.EqualError(t, s.Ready(), "1 of 1 kubelets have not reported two samples yet", "an API server may take its time")
	now = now.Add(time.Minute)
	require.NoError(t, s.Ready())

	s = newStore()
	s.SetNodes(nil)
	require.NoError(t, s.Ready(), "a cluster without nodes has no samples")
}

// Bodies that cannot be stored are errors, and the reason of what is missing.
func TestRefusedBatches(t *testing.T) {
	s := NewStore(Options{})
	s.SetNodes([]string{"n"})
	many := &Batch{}
	for i := range maxContainers + 1 {
		many.add(at{fmt.Sprint(i), 0, 110, 1, 4})
	}
	require.Len(t, many.containers, maxContainers)
	require.EqualError(t, s.Put("n", many), "store resource metrics of node n: the kubelet reports more than 10000 containers")
	require.Equal(t, `scraping the kubelet of node "n" failed: the kubelet reports more than 10000 containers`, answer(t, s, podOn("n", "a", "pod1")))
	failed := &Batch{}
	failed.Add(labels.FromStrings(model.MetricNameLabel, kubeletError), 1, 1)
	require.EqualError(t, s.Put("n", failed), "store resource metrics of node n: the kubelet could not read its containers (resource_scrape_error is 1)")
}

// Names that no object can have, and series that are none of the kubelet's, are left out.
func TestIgnoredSeries(t *testing.T) {
	b := &Batch{}
	add := func(series ...string) { b.Add(labels.FromStrings(series...), epoch.UnixMilli(), 1) }
	add()
	add(model.MetricNameLabel, "container_cpu_usage_seconds_total")
	add(model.MetricNameLabel, "container_cpu_usage_seconds_total", "namespace", "a", "pod", "p")
	add(model.MetricNameLabel, "container_cpu_usage_seconds_total", "namespace", "a", "pod", strings.Repeat("p", 254), "container", "c")
	add(model.MetricNameLabel, "container_swap_usage_bytes", "namespace", "a", "pod", "p", "container", "c")
	add(model.MetricNameLabel, "pod_cpu_usage_seconds_total", "namespace", "a", "pod", "p")
	add(model.MetricNameLabel, "up")
	require.Equal(t, &Batch{}, b)
	for _, name := range Names() {
		add(model.MetricNameLabel, name, "namespace", "a", "pod", "p", "container", "c")
	}
	require.Len(t, b.containers, 1)
	require.NotEqual(t, sample{}, b.node)
	require.True(t, b.failed)
}

// Swap is served where the kubelet reports it; a report has the samples of a rate.
func TestSwapAndSamples(t *testing.T) {
	s := NewStore(Options{})
	s.SetNodes([]string{"n"})
	for _, second := range []float64{110, 120} {
		b := batchOf(at{"c1", 5, second, second / 10, 4}, at{"", 0, second, second, 8})
		b.Add(labels.FromStrings(model.MetricNameLabel, containerSwap, "namespace", "a", "pod", "pod1", "container", "c1"), 1, 0)
		b.Add(labels.FromStrings(model.MetricNameLabel, nodeSwap), 1, 1<<20)
		require.NoError(t, s.Put("n", b))
	}
	pod := podOn("n", "a", "pod1")
	values, err := s.PodMetrics(t.Context(), []*corev1.Pod{pod, podOn("n", "a", "other")})
	require.NoError(t, err)
	require.Len(t, values, 1)
	swap := values[0].Containers[0].Usage[ResourceSwap]
	require.Equal(t, "0", swap.String())
	nodes, err := s.NodeMetrics(t.Context(), []*corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "n"}}})
	require.NoError(t, err)
	swap = nodes[0].Usage[ResourceSwap]
	require.Equal(t, "1Mi", swap.String())

	report := s.Pod(t.Context(), pod)
	require.Equal(t, 1, report.Kubelet.Pods)
	require.Equal(t, 1, report.Kubelet.Containers)
	u := report.Usages[0]
	require.Equal(t, "c1", u.Name)
	require.InDelta(t, 0.1, u.Cores, 1e-9)
	require.EqualValues(t, 4<<20, u.Memory)
	start := epoch.Add(5 * time.Second)
	sampleAt := func(second float64) Sample {
		return Sample{Time: epoch.Add(time.Duration(second) * time.Second).Local(), Start: start.Local(), CPU: second / 10}
	}
	require.Equal(t, sampleAt(110), u.Previous)
	require.Equal(t, sampleAt(120), u.Last)
	require.Equal(t, "n", s.Node(t.Context(), "n").Usages[0].Name)
}

// A series that a body has twice counts once, with its last sample.
func TestSeriesTwiceInABody(t *testing.T) {
	s := NewStore(Options{})
	s.SetNodes([]string{"n"})
	require.NoError(t, s.Put("n", batchOf(at{"c1", 0, 110, 1, 4})))
	require.NoError(t, s.Put("n", batchOf(at{"c1", 0, 120, 500, 9}, at{"c1", 0, 120, 11, 4})))
	require.Equal(t, "2m0s+10s c1=1,4Mi", answer(t, s, podOn("n", "a", "pod1")))
}

// Scrapes of many nodes end while clients read, and nodes come and go.
func TestConcurrentUse(t *testing.T) {
	s := NewStore(Options{})
	nodes := []string{"a", "b", "c"}
	var wait sync.WaitGroup
	for i, node := range nodes {
		wait.Go(func() {
			for second := range 300 {
				if second%10 == 9 {
					s.Failed(node, errors.New("timeout"))
				}
				_ = s.Put(node, batchOf(at{"c1", 0, float64(100 + second), float64(1 + second), 4}, at{"", 0, float64(100 + second), float64(1 + second), 4}))
			}
		})
		wait.Go(func() {
			for range 300 {
				s.SetNodes(nodes[i:])
				_ = s.Ready()
				for _, of := range nodes {
					values, err := s.PodMetrics(t.Context(), []*corev1.Pod{podOn(of, "a", "pod1")})
					if err != nil || len(values) > 0 && values[0].Containers[0].Usage.Cpu().String() != "1" {
						t.Error(values, err)
					}
					_ = s.Node(t.Context(), of).String()
				}
			}
		})
	}
	wait.Wait()
}
