package resources

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/promlet/promlet/adapter/resourcemetrics"
)

// What a kubelet serves every 15 seconds makes answers that are right, and a wrong one is found.
func TestPlayedKubelet(t *testing.T) {
	k := startKubelet(3)
	defer k.server.Close()
	store := resourcemetrics.NewStore(resourcemetrics.Options{})
	store.SetNodes([]string{k.node.name})
	var pods []*corev1.Pod
	for _, pod := range k.pods {
		pods = append(pods, k.podObject(pod))
		pods[len(pods)-1].Namespace = namespace
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: k.node.name}}
	now := time.Now()
	windows := map[time.Duration]bool{}
	for scrape := range 20 {
		require.NoError(t, store.Put(k.node.name, batch(t, k.body(now.Add(time.Duration(scrape)*15*time.Second)))))
		if scrape == 0 {
			continue
		}
		nodes, err := store.NodeMetrics(t.Context(), []*corev1.Node{node})
		require.NoError(t, err)
		require.Len(t, nodes, 1)
		n := nodes[0]
		require.NoError(t, answer{n.Timestamp.Truncate(time.Second), n.Window.Duration, []corev1.ResourceList{n.Usage}}.check(k.node))
		values, err := store.PodMetrics(t.Context(), pods)
		require.NoError(t, err)
		require.Len(t, values, podsPerKubelet)
		for i, v := range values {
			a := answer{v.Timestamp.Truncate(time.Second), v.Window.Duration, []corev1.ResourceList{v.Containers[0].Usage, v.Containers[1].Usage}}
			require.NoError(t, a.check(k.pods[i]))
			windows[v.Window.Round(10*time.Second)] = true

			wrong := a
			wrong.window += time.Second
			require.Error(t, wrong.check(k.pods[i]))
			wrong = a
			wrong.usages = []corev1.ResourceList{a.usages[0], {corev1.ResourceCPU: resource.MustParse("1n"), corev1.ResourceMemory: *a.usages[1].Memory()}}
			require.Error(t, wrong.check(k.pods[i]))
			require.False(t, a.same(wrong))
			require.True(t, a.same(a))
		}
	}
	require.Equal(t, map[time.Duration]bool{10 * time.Second: true, 20 * time.Second: true}, windows)
}

// batch reads a body.
func batch(t *testing.T, body []byte) *resourcemetrics.Batch {
	b := &resourcemetrics.Batch{}
	parser, err := textparse.New(body, "text/plain", labels.NewSymbolTable(), textparse.ParserOptions{})
	require.NoError(t, err)
	for {
		entry, err := parser.Next()
		if err != nil {
			return b
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var series labels.Labels
		parser.Labels(&series)
		_, at, value := parser.Series()
		if at == nil {
			at = new(int64)
		}
		b.Add(series, *at, value)
	}
}

func TestComparison(t *testing.T) {
	k := startKubelet(0)
	defer k.server.Close()
	var c comparison
	c.add(k.node, [2]map[string]answer{{}, {k.node.name: {}}})
	require.Equal(t, [2]int{1, 0}, c.missing)
	require.Equal(t, [2]int{0, 1}, c.wrong)
	c.add(k.node, [2]map[string]answer{{k.node.name: {}}, {k.node.name: {}}})
	require.Equal(t, [2]int{1, 2}, c.wrong)
	require.Equal(t, comparison{asked: 2, equal: 1, missing: c.missing, wrong: c.wrong, firstWrong: c.firstWrong}, c)
}

func TestSizes(t *testing.T) {
	sizes, err := parseSizes("20,1")
	require.NoError(t, err)
	require.Equal(t, []int{1, 20}, sizes)
	_, err = parseSizes("1,none")
	require.EqualError(t, err, "-kubelets=1,none: give numbers such as 1,20")
}
