package objects

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// growing is a mapper that learns of widgets when it is reset, as that of an
// API server does once their CRD is installed.
type growing struct {
	*meta.DefaultRESTMapper
	installed bool
	resets    int
}

func (g *growing) Reset() {
	g.resets++
	if g.installed {
		g.Add(schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Widget"}, meta.RESTScopeNamespace)
	}
}

func TestResolve(t *testing.T) {
	k := NewKinds(nil, time.Now)
	f := func(asked string, want Kind) {
		t.Helper()
		got, err := k.Resolve(schema.ParseGroupResource(asked))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	pod := Kind{GroupResource: corev1.Resource("pods"), GVK: schema.GroupVersionKind{Version: "v1", Kind: "Pod"}, Singular: "pod", Namespaced: true}
	f("pods", pod)
	f("pod", pod)
	f("nodes", Kind{GroupResource: schema.GroupResource{Resource: "nodes"}, GVK: schema.GroupVersionKind{Version: "v1", Kind: "Node"}, Singular: "node"})
	deployment := Kind{GroupResource: appsv1.Resource("deployments"), GVK: schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, Singular: "deployment", Namespaced: true}
	f("deployments.apps", deployment)
	f("deployment", deployment)
	_, err := k.Resolve(schema.GroupResource{Resource: "widgets"})
	require.True(t, meta.IsNoMatchError(err), "%v", err)
}

// A CRD installed later becomes known, and asking for nonsense is bounded.
func TestUnknownKindsAreLookedUpAgainNowAndThen(t *testing.T) {
	now := time.Now()
	mapper := &growing{DefaultRESTMapper: meta.NewDefaultRESTMapper(nil)}
	k := NewKinds(mapper, func() time.Time { return now })
	widgets := schema.GroupResource{Group: "example.com", Resource: "widgets"}
	for range 100 {
		_, err := k.Resolve(widgets)
		require.True(t, meta.IsNoMatchError(err))
	}
	require.Equal(t, 1, mapper.resets)

	mapper.installed = true
	_, err := k.Resolve(widgets)
	require.True(t, meta.IsNoMatchError(err), "not yet looked up again")
	now = now.Add(mapperResetInterval)
	got, err := k.Resolve(widgets)
	require.NoError(t, err)
	require.Equal(t, "Widget", got.GVK.Kind)
	require.Equal(t, 2, mapper.resets)
}
