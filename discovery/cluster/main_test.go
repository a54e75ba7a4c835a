package cluster

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/internal/runtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// start runs a Discoverer until the test ends.
func start(t *testing.T, d *discovery.Discoverer, src *Source, a *runtest.Applied) {
	t.Helper()
	runtest.Start(t, func(ctx context.Context) error { return d.Run(ctx, src, a.Apply) })
}
