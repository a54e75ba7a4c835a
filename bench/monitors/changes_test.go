package monitors

import (
	"math/rand/v2"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/objects"
)

// TestChanges turns random clusters into others, a few objects at a time, and after
// each step compares with what promlet makes of the same objects from nothing.
func TestChanges(t *testing.T) {
	const pairs, atATime = 150, 4
	for seed := range uint64(pairs) {
		from, err := Generate(2 * seed)
		require.NoError(t, err)
		to, err := Generate(2*seed + 1)
		require.NoError(t, err)
		opts, err := from.Settings.options()
		require.NoError(t, err)

		store := objects.NewStore()
		d := discovery.New(store, opts)
		var writes []func()
		eachKind(func(gr schema.GroupResource, of func(*Cluster) []any) {
			indexer, ok := store.Indexer(gr)
			require.True(t, ok, gr)
			require.NoError(t, indexer.Replace(of(from), ""))
			writes = append(writes, turn(t, indexer, of(to))...)
		})
		r := rand.New(rand.NewPCG(seed, 2))
		r.Shuffle(len(writes), func(i, j int) { writes[i], writes[j] = writes[j], writes[i] })
		for step := 0; ; step++ {
			requireSame(t, store, d, opts, seed, step)
			if len(writes) == 0 {
				break
			}
			for range min(atATime, len(writes)) {
				writes[0]()
				writes = writes[1:]
			}
		}
	}
}

// eachKind calls f for each kind of object.
func eachKind(f func(gr schema.GroupResource, of func(*Cluster) []any)) {
	f(corev1.Resource("namespaces"), func(c *Cluster) []any { return anys(c.Namespaces) })
	f(corev1.Resource("nodes"), func(c *Cluster) []any { return anys(c.Nodes) })
	f(corev1.Resource("services"), func(c *Cluster) []any { return anys(c.Services) })
	f(corev1.Resource("pods"), func(c *Cluster) []any { return anys(c.Pods) })
	f(corev1.Resource("secrets"), func(c *Cluster) []any { return anys(c.Secrets) })
	f(corev1.Resource("configmaps"), func(c *Cluster) []any { return anys(c.ConfigMaps) })
	f(discoveryv1.Resource("endpointslices"), func(c *Cluster) []any { return anys(c.EndpointSlices) })
	f(monitoringv1.Resource(monitoringv1.ServiceMonitorName), func(c *Cluster) []any { return anys(c.ServiceMonitors) })
	f(monitoringv1.Resource(monitoringv1.PodMonitorName), func(c *Cluster) []any { return anys(c.PodMonitors) })
}

func anys[T any](in []T) []any {
	var out []any
	for _, x := range in {
		out = append(out, x)
	}
	return out
}

// turn is the writes that make an indexer hold the objects and no others.
func turn(t *testing.T, indexer cache.Indexer, to []any) []func() {
	var writes []func()
	wanted := map[string]bool{}
	for _, obj := range to {
		key, err := cache.MetaNamespaceKeyFunc(obj)
		require.NoError(t, err)
		wanted[key] = true
		writes = append(writes, func() { require.NoError(t, indexer.Update(obj)) })
	}
	for _, obj := range indexer.List() {
		if key, err := cache.MetaNamespaceKeyFunc(obj); err == nil && !wanted[key] {
			writes = append(writes, func() { require.NoError(t, indexer.Delete(obj)) })
		}
	}
	return writes
}

// requireSame compares a Discoverer that has seen all changes with a new one.
func requireSame(t *testing.T, store *objects.Store, d *discovery.Discoverer, opts discovery.Options, seed uint64, step int) {
	fresh := objects.NewStore()
	eachKind(func(gr schema.GroupResource, _ func(*Cluster) []any) {
		from, ok := store.Indexer(gr)
		require.True(t, ok)
		into, ok := fresh.Indexer(gr)
		require.True(t, ok)
		require.NoError(t, into.Replace(from.List(), ""))
	})
	got, err := resultOf(d)
	require.NoError(t, err)
	want, err := resultOf(discovery.New(fresh, opts))
	require.NoError(t, err)
	require.Equal(t, want, got, "seed %d, step %d", seed, step)
}
