package adapter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
	k := testKinds()
	f := func(asked string, want kind) {
		t.Helper()
		got, err := k.resolve(schema.ParseGroupResource(asked))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	pod := kind{GroupResource: podResource, GVK: schema.GroupVersionKind{Version: "v1", Kind: "Pod"}, Singular: "pod", Namespaced: true}
	f("pods", pod)
	f("pod", pod)
	f("nodes", kind{GroupResource: schema.GroupResource{Resource: "nodes"}, GVK: schema.GroupVersionKind{Version: "v1", Kind: "Node"}, Singular: "node"})
	deployment := kind{GroupResource: deploymentResource, GVK: schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, Singular: "deployment", Namespaced: true}
	f("deployments.apps", deployment)
	f("deployment", deployment)
	_, err := k.resolve(schema.GroupResource{Resource: "widgets"})
	require.True(t, meta.IsNoMatchError(err), "%v", err)
}

// A CRD installed later becomes known, and asking for nonsense is bounded.
func TestUnknownKindsAreLookedUpAgainNowAndThen(t *testing.T) {
	now := time.Now()
	mapper := &growing{DefaultRESTMapper: meta.NewDefaultRESTMapper(nil)}
	k := &kinds{mapper: mapper, now: func() time.Time { return now }}
	widgets := schema.GroupResource{Group: "example.com", Resource: "widgets"}
	for range 100 {
		_, err := k.resolve(widgets)
		require.True(t, meta.IsNoMatchError(err))
	}
	require.Equal(t, 1, mapper.resets)

	mapper.installed = true
	_, err := k.resolve(widgets)
	require.True(t, meta.IsNoMatchError(err), "not yet looked up again")
	now = now.Add(mapperResetInterval)
	got, err := k.resolve(widgets)
	require.NoError(t, err)
	require.Equal(t, "Widget", got.GVK.Kind)
	require.Equal(t, 2, mapper.resets)
}
