package objects_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
	"github.com/promlet/promlet/discovery/objects"
)

// The lister by labels gives what one gives that looks at every object.
func TestListerByLabels(t *testing.T) {
	store := objects.NewStore()
	pods, _ := store.Indexer(corev1.Resource("pods"))
	rng := rand.New(rand.NewPCG(1, 1))
	value := func() string { return string(rune('a' + rng.IntN(3))) }
	for i := range 200 {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns-" + value(), Name: fmt.Sprint(i), Labels: map[string]string{"app": value()}}}
		if rng.IntN(2) == 0 {
			pod.Labels["example.com/tier"] = value()
		}
		require.NoError(t, pods.Add(pod))
	}
	for _, obj := range pods.List()[:50] {
		pod := obj.(*corev1.Pod).DeepCopy() //nolint:forcetypeassert // Added above.
		pod.Labels["app"] = value()
		require.NoError(t, pods.Update(pod))
	}
	lister, ok := store.Lister(corev1.Resource("pods"))
	require.True(t, ok)
	whole := cache.NewGenericLister(pods, corev1.Resource("pods"))
	for _, text := range []string{
		"", "app=a", "app==b", "app in (c)", "app in (a,b)", "app=a,example.com/tier=b", "app=a,example.com/tier!=b",
		"app,example.com/tier=c", "!app", "app=a,!example.com/tier", "app=a,app=b", "app=none", "app notin (a)", "other=a",
	} {
		sel, err := labels.Parse(text)
		require.NoError(t, err)
		for _, namespace := range []string{"ns-a", "ns-b", "none", ""} {
			want, err := whole.ByNamespace(namespace).List(sel)
			require.NoError(t, err)
			got, err := lister.ByNamespace(namespace).List(sel)
			require.NoError(t, err)
			require.Equal(t, sortedNames(t, want), sortedNames(t, got), "%s in %s", text, namespace)
		}
		want, err := whole.List(sel)
		require.NoError(t, err)
		got, err := lister.List(sel)
		require.NoError(t, err)
		require.Equal(t, sortedNames(t, want), sortedNames(t, got), text)
	}
	nothing, err := lister.ByNamespace("ns-a").List(labels.Nothing())
	require.NoError(t, err)
	require.Empty(t, nothing)
}

func sortedNames(t *testing.T, listed []runtime.Object) (names []string) {
	t.Helper()
	for _, obj := range listed {
		m, err := meta.Accessor(obj)
		require.NoError(t, err)
		names = append(names, m.GetNamespace()+"/"+m.GetName())
	}
	slices.Sort(names)
	return names
}

func TestLister(t *testing.T) {
	o := storetest.Load(t, samples.Rich, samples.AnyMonitor(), samples.PodMonitor(`{selector: {}, podMetricsEndpoints: []}`), `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: h}
spec: {maxReplicas: 3, scaleTargetRef: {kind: Deployment, name: d}}`)
	for resource, count := range map[string]int{
		"pods": 3, "services": 1, "nodes": 2, "namespaces": 2,
		"endpointslices.discovery.k8s.io": 1, "horizontalpodautoscalers.autoscaling": 1,
		"servicemonitors.monitoring.coreos.com": 1, "podmonitors.monitoring.coreos.com": 1,
	} {
		lister, ok := o.Lister(schema.ParseGroupResource(resource))
		require.True(t, ok, resource)
		objs, err := lister.List(labels.Everything())
		require.NoError(t, err)
		require.Len(t, objs, count, resource)
		_, ok = o.Indexer(schema.ParseGroupResource(resource))
		require.True(t, ok, resource)
	}
	lister, _ := o.Lister(corev1.Resource("pods"))
	objs, err := lister.ByNamespace("shop").List(labels.Everything())
	require.NoError(t, err)
	require.Len(t, objs, 3)
	obj, err := lister.ByNamespace("shop").Get("s-a")
	require.NoError(t, err)
	require.Equal(t, "10.0.0.1", obj.(*corev1.Pod).Status.PodIP)
	_, err = lister.ByNamespace("shop").Get("nope")
	require.Error(t, err)
	nodes, _ := o.Lister(corev1.Resource("nodes"))
	_, err = nodes.Get("n1")
	require.NoError(t, err)

	_, ok := o.Lister(schema.GroupResource{Group: "apps", Resource: "deployments"})
	require.False(t, ok)
}

// An indexer refuses objects of other types.
func TestIndexerOfAnotherType(t *testing.T) {
	pods, _ := objects.NewStore().Indexer(corev1.Resource("pods"))
	require.ErrorContains(t, pods.Add(&corev1.Service{}), "object is a *v1.Service, but the indexer holds *v1.Pod")
	require.Empty(t, pods.List())
}
