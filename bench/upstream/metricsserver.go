package upstream

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/promlet/promlet/bench/internal/build"
)

// BuildMetricsServer builds the metrics-server of the module in a directory, bench/metricsserver, and returns the path of the
// program.
func BuildMetricsServer(ctx context.Context, module string) (binary string, err error) {
	files := []string{filepath.Join(module, "go.mod"), filepath.Join(module, "go.sum")}
	dir, err := build.Once("metricsserver", "", files, nil, func(dir string) error {
		return goBuild(ctx, module, dir, nil, "sigs.k8s.io/metrics-server/cmd/metrics-server")
	})
	if err != nil {
		return "", fmt.Errorf("build metrics-server: %w", err)
	}
	return filepath.Join(dir, "metrics-server"), nil
}
