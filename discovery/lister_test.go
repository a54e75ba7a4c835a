package discovery

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
	"k8s.io/client-go/tools/cache"
)

// The lister by labels gives what one gives that looks at every object.
func TestListerByLabels(t *testing.T) {
	objects := NewObjects()
	pods, _ := objects.Indexer(corev1.Resource("pods"))
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
	lister, ok := objects.Lister(corev1.Resource("pods"))
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

func sortedNames(t *testing.T, objects []runtime.Object) (names []string) {
	t.Helper()
	for _, obj := range objects {
		m, err := meta.Accessor(obj)
		require.NoError(t, err)
		names = append(names, m.GetNamespace()+"/"+m.GetName())
	}
	slices.Sort(names)
	return names
}
