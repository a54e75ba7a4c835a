package discovery

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"

	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/objects"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func pod(t *testing.T, o *objects.Store, key string) *corev1.Pod {
	t.Helper()
	p := objects.Get[corev1.Pod](o, key)
	require.NotNil(t, p, key)
	return p
}

// start runs a Discoverer until the test ends.
func start(t *testing.T, d *Discoverer, src Source, a *runtest.Applied) {
	t.Helper()
	runtest.Start(t, func(ctx context.Context) error { return d.Run(ctx, src, a.Apply) })
}
