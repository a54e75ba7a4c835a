package metricsserver

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"k8s.io/metrics/pkg/apis/metrics"
	"sigs.k8s.io/metrics-server/pkg/scraper/client"
	kubeletclient "sigs.k8s.io/metrics-server/pkg/scraper/client/resource"
	"sigs.k8s.io/metrics-server/pkg/storage"

	"github.com/promlet/promlet/adapter/resourcemetrics"
)

const resolution = 15 * time.Second

func TestMain(m *testing.M) {
	// metrics-server writes a line for each container that it leaves out.
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

// sides are the two that are compared.
type sides struct {
	t      *testing.T
	serve  func(body string) *storage.MetricsBatch // metrics-server's client, of a node
	theirs storage.Storage
	ours   *resourcemetrics.Store
	pods   []*corev1.Pod
	nodes  []*corev1.Node
	// What both answered, and the answers that differ because metrics-server's are wrong.
	answers, absent, leftOut, sinceYearOne int
}

// theirClient returns metrics-server's kubelet client as a function of what a kubelet serves. The batch has the node "node".
func theirClient(t *testing.T) func(body string) *storage.MetricsBatch {
	var serving string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "/metrics/resource", r.URL.Path)
		_, _ = io.WriteString(w, serving)
	}))
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	require.NoError(t, err)
	port, err := strconv.Atoi(address.Port())
	require.NoError(t, err)
	reader, err := kubeletclient.NewForConfig(&client.KubeletClientConfig{
		AddressTypePriority: []corev1.NodeAddressType{corev1.NodeInternalIP}, Scheme: "http", DefaultPort: port,
	})
	require.NoError(t, err)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node"}, Status: corev1.NodeStatus{
		Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address.Hostname()}},
	}}
	return func(body string) *storage.MetricsBatch {
		serving = body
		batch, err := reader.GetMetrics(t.Context(), node)
		require.NoError(t, err)
		return batch
	}
}

// ourBatch reads a body as promlet's scraping does.
func ourBatch(t *testing.T, body string) *resourcemetrics.Batch {
	b := &resourcemetrics.Batch{}
	parser, err := textparse.New([]byte(body), "text/plain", labels.NewSymbolTable(), textparse.ParserOptions{})
	require.NoError(t, err)
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			return b
		}
		require.NoError(t, err)
		if entry != textparse.EntrySeries {
			continue
		}
		var series labels.Labels
		parser.Labels(&series)
		_, timestamp, value := parser.Series()
		if timestamp == nil {
			now := time.Now().UnixMilli()
			timestamp = &now
		}
		b.Add(series, *timestamp, value)
	}
}

// Random kubelets, read by both: all answers are the same, except where metrics-server's are wrong.
func TestSameAnswers(t *testing.T) {
	s := sides{t: t, serve: theirClient(t)}
	for seed := range uint64(300) {
		s.run(rand.New(rand.NewPCG(seed, 22)))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d answers and %d absences are the same; metrics-server left out a container in %d sums, and took %d rates since the year 1",
		s.answers, s.absent, s.leftOut, s.sinceYearOne)
	require.Greater(t, s.answers, 10_000)
	require.Greater(t, s.absent, 1000)
	require.NotZero(t, s.leftOut)
	require.NotZero(t, s.sinceYearOne)
}

// run plays a cluster for 30 scrapes.
func (s *sides) run(random *rand.Rand) {
	now := 1_767_225_600.0
	s.theirs, s.ours = storage.NewStorage(resolution), resourcemetrics.NewStore(resourcemetrics.Options{Resolution: resolution})
	var kubelets []*kubelet
	var names []string
	s.pods, s.nodes = nil, nil
	for i := range 1 + random.IntN(3) {
		k := newKubelet(random, fmt.Sprintf("node-%d", i), now)
		kubelets, names = append(kubelets, k), append(names, k.node)
		s.nodes = append(s.nodes, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: k.node, Labels: map[string]string{"node": k.node}}})
		for _, pod := range k.pods {
			s.pods = append(s.pods, &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: pod.name, Labels: map[string]string{"app": pod.name}},
				Spec:       corev1.PodSpec{NodeName: k.node},
			})
		}
	}
	s.ours.SetNodes(names)
	for range 30 {
		now += 15 + float64(random.IntN(1000))/1000
		batch := &storage.MetricsBatch{Nodes: map[string]storage.MetricsPoint{}, Pods: map[types.NamespacedName]storage.PodMetricsPoint{}}
		for _, k := range kubelets {
			body := k.body(now)
			if random.IntN(20) == 0 {
				body = ""
			}
			ofNode := s.serve(body)
			if point, ok := ofNode.Nodes["node"]; ok {
				batch.Nodes[k.node] = point
			}
			maps.Copy(batch.Pods, ofNode.Pods)
			require.NoError(s.t, s.ours.Put(k.node, ourBatch(s.t, body)))
		}
		s.theirs.Store(batch)
		s.compareNodes()
		s.comparePods(batch)
	}
}

func (s *sides) compareNodes() {
	for _, node := range s.nodes {
		theirs, err := s.theirs.GetNodeMetrics(node)
		require.NoError(s.t, err)
		ours, err := s.ours.NodeMetrics(s.t.Context(), []*corev1.Node{node})
		require.NoError(s.t, err)
		require.Len(s.t, ours, len(theirs), "%s: %s", node.Name, s.ours.Node(s.t.Context(), node.Name))
		if len(theirs) == 0 {
			s.absent++
			continue
		}
		s.answers++
		theirs[0].CreationTimestamp, ours[0].CreationTimestamp = metav1.Time{}, metav1.Time{}
		requireSameUsage(s.t, theirs[0].Usage, ours[0].Usage)
		theirs[0].Usage, ours[0].Usage = nil, nil
		require.Equal(s.t, theirs, ours)
	}
}

func (s *sides) comparePods(batch *storage.MetricsBatch) {
	for _, pod := range s.pods {
		theirs, err := s.theirs.GetPodMetrics(&metav1.PartialObjectMetadata{ObjectMeta: pod.ObjectMeta})
		require.NoError(s.t, err)
		ours, err := s.ours.PodMetrics(s.t.Context(), []*corev1.Pod{pod})
		require.NoError(s.t, err)
		report := s.ours.Pod(s.t.Context(), pod)
		switch {
		case len(theirs) == 0:
			require.Empty(s.t, ours, "%+v", report)
			s.absent++
		case len(ours) == 0:
			reported := len(batch.Pods[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}].Containers)
			s.requireWrong(theirs[0], report, reported)
		default:
			s.requireSame(theirs[0], ours[0], report)
			s.answers++
		}
	}
}

// requireWrong fails unless metrics-server's answer is one of those that are known to be wrong.
func (s *sides) requireWrong(theirs metrics.PodMetrics, report resourcemetrics.Report, reported int) {
	i := slices.IndexFunc(theirs.Containers, func(c metrics.ContainerMetrics) bool { return c.Name == report.Container })
	switch report.Reason {
	case resourcemetrics.CounterReset:
		require.Equal(s.t, -1, i, "%+v", theirs)
		require.Less(s.t, len(theirs.Containers), reported)
		s.leftOut++
	case resourcemetrics.OneSample:
		// Hundreds of core seconds over 292 years, the longest that a duration holds.
		require.GreaterOrEqual(s.t, i, 0, "%+v", theirs)
		require.Negative(s.t, theirs.Containers[i].Usage.Cpu().Cmp(resource.MustParse("1u")), "%+v", theirs)
		s.sinceYearOne++
	default:
		require.Fail(s.t, "metrics-server has an answer, and promlet has none", "%+v\n%+v", theirs, report)
	}
}

func (s *sides) requireSame(theirs, ours metrics.PodMetrics, report resourcemetrics.Report) {
	require.Equal(s.t, theirs.Name, ours.Name)
	require.Equal(s.t, theirs.Namespace, ours.Namespace)
	require.Equal(s.t, theirs.Labels, ours.Labels)
	require.Equal(s.t, theirs.Timestamp, ours.Timestamp)
	// metrics-server goes through containers in random order: of several with the earliest timestamp, any one's window is the
	// pod's.
	var windows []time.Duration
	for _, u := range report.Usages {
		if u.Last.Time.Equal(ours.Timestamp.Time) {
			windows = append(windows, u.Last.Time.Sub(u.Previous.Time))
		}
	}
	require.Contains(s.t, windows, theirs.Window.Duration)
	require.Contains(s.t, windows, ours.Window.Duration)
	require.Len(s.t, ours.Containers, len(theirs.Containers))
	slices.SortFunc(theirs.Containers, func(a, b metrics.ContainerMetrics) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	for i := range theirs.Containers {
		require.Equal(s.t, theirs.Containers[i].Name, ours.Containers[i].Name)
		requireSameUsage(s.t, theirs.Containers[i].Usage, ours.Containers[i].Usage)
	}
}

// requireSameUsage compares what is printed too: the unit is part of an answer.
func requireSameUsage(t *testing.T, theirs, ours corev1.ResourceList) {
	t.Helper()
	require.Len(t, ours, len(theirs))
	for name, want := range theirs {
		got := ours[name]
		require.Equal(t, want.String(), got.String(), name)
	}
}

// What both hold for 100 nodes with 30 pods of two containers.
func TestBytesHeld(t *testing.T) {
	serve := theirClient(t)
	random := rand.New(rand.NewPCG(1, 1))
	var names []string
	bodies := map[string][2]string{}
	for i := range 100 {
		node := fmt.Sprintf("node-%d", i)
		names = append(names, node)
		k := &kubelet{random: random, node: node}
		for p := range 30 {
			pod := &playedPod{name: fmt.Sprintf("application-7d764666f9-%s-%d", node, p)}
			for c := range 2 {
				pod.containers = append(pod.containers, &counter{name: fmt.Sprintf("container-%d", c), start: 1000})
			}
			k.pods = append(k.pods, pod)
		}
		bodies[node] = [2]string{k.steady(2000), k.steady(2015)}
	}
	ours := heapOf(t, func() any {
		s := resourcemetrics.NewStore(resourcemetrics.Options{})
		s.SetNodes(names)
		for scrape := range 2 {
			for _, node := range names {
				require.NoError(t, s.Put(node, ourBatch(t, bodies[node][scrape])))
			}
		}
		return s
	})
	theirs := heapOf(t, func() any {
		s := storage.NewStorage(resolution)
		for scrape := range 2 {
			batch := &storage.MetricsBatch{Nodes: map[string]storage.MetricsPoint{}, Pods: map[types.NamespacedName]storage.PodMetricsPoint{}}
			for _, node := range names {
				maps.Copy(batch.Pods, serve(bodies[node][scrape]).Pods)
			}
			require.Len(t, batch.Pods, 3000)
			s.Store(batch)
		}
		return s
	})
	runtime.KeepAlive(bodies)
	t.Logf("6,000 containers: metrics-server holds %d bytes (%d each), promlet %d (%d each)", theirs, theirs/6000, ours, ours/6000)
	require.Less(t, ours*2, theirs)
}

// steady is the body of a kubelet of which nothing goes wrong.
func (k *kubelet) steady(second float64) (body string) {
	for _, pod := range k.pods {
		for _, c := range pod.containers {
			of := fmt.Sprintf(`{container="%s",namespace="team",pod="%s"}`, c.name, pod.name)
			body += fmt.Sprintf("container_cpu_usage_seconds_total%s %v %d\n", of, second, int64(second*1000)) +
				fmt.Sprintf("container_memory_working_set_bytes%s %v %d\n", of, 1<<20, int64(second*1000)) +
				fmt.Sprintf("container_start_time_seconds%s %v\n", of, c.start)
		}
	}
	return body
}

// heapOf returns the bytes that what is made holds.
func heapOf(t *testing.T, build func() any) int64 {
	t.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC() // pools
	runtime.ReadMemStats(&before)
	made := build()
	runtime.GC()
	runtime.GC() // pools
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(made)
	return int64(after.HeapAlloc) - int64(before.HeapAlloc)
}
