package cluster

import (
	"errors"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/promlet/promlet/discovery/objects"
)

func TestTransformsPassOthersOn(t *testing.T) {
	// Informers hand tombstones and what was transformed before to them as well.
	tombstone := cache.DeletedFinalStateUnknown{Key: "a/b"}
	for _, f := range []func(any) any{objects.Trim, fromMetadata("nodes"), fromMetadata("namespaces"), fromUnstructured("servicemonitors")} {
		require.Equal(t, tombstone, f(tombstone))
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}
	require.Same(t, node, fromMetadata("nodes")(node))
	m := &monitoringv1.PodMonitor{}
	require.Same(t, m, fromUnstructured("podmonitors")(m))
}

func TestExpiredIsNoProblem(t *testing.T) {
	require.True(t, expired(apierrors.NewResourceExpired("too old")))
	require.True(t, expired(apierrors.NewGone("gone"))) //nolint:staticcheck // API servers still say it
	require.False(t, expired(nil))
	require.False(t, expired(errors.New("connection refused")))
}
