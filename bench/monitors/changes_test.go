package monitors

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/promlet/promlet/discovery"
)

// TestChanges turns random clusters into others, a few objects at a time, and after
// each step compares with what promlet makes of the same objects from nothing.
func TestChanges(t *testing.T) {
	const pairs, atATime = 150, 4
	g, err := NewGenerator()
	require.NoError(t, err)
	for seed := range uint64(pairs) {
		from, err := g.Generate(2 * seed)
		require.NoError(t, err)
		to, err := g.Generate(2*seed + 1)
		require.NoError(t, err)
		opts, err := from.Settings.options()
		require.NoError(t, err)

		objects, err := fill(from)
		require.NoError(t, err)
		d := discovery.New(objects, opts)
		var writes []func()
		for _, k := range to.kinds() {
			indexer, _ := objects.Indexer(k.resource)
			writes = append(writes, turn(t, indexer, k.all())...)
		}
		r := rand.New(rand.NewPCG(seed, 2))
		r.Shuffle(len(writes), func(i, j int) { writes[i], writes[j] = writes[j], writes[i] })
		for step := 0; ; step++ {
			requireSame(t, objects, d, opts, seed, step)
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

// turn is the writes that make an indexer hold the objects and no others.
func turn(t *testing.T, indexer cache.Indexer, to []metav1.Object) []func() {
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
func requireSame(t *testing.T, objects *discovery.Objects, d *discovery.Discoverer, opts discovery.Options, seed uint64, step int) {
	fresh := discovery.NewObjects()
	for _, k := range (&Cluster{}).kinds() {
		from, _ := objects.Indexer(k.resource)
		into, _ := fresh.Indexer(k.resource)
		require.NoError(t, into.Replace(from.List(), ""))
	}
	got, err := resultOf(d)
	require.NoError(t, err)
	want, err := resultOf(discovery.New(fresh, opts))
	require.NoError(t, err)
	require.Equal(t, want, got, "seed %d, step %d", seed, step)
}
