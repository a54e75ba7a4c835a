package upstream

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/promlet/promlet/bench/internal/build"
)

// BuildThanos builds the module in a directory, bench/thanos, and returns the path of the program.
func BuildThanos(ctx context.Context, module string) (binary string, err error) {
	files := []string{filepath.Join(module, "go.mod"), filepath.Join(module, "go.sum")}
	dir, err := build.Once("thanos", "", files, nil, func(dir string) error {
		// The module's go.mod names a newer Go than promlet's. Thanos reinterprets its labels as Prometheus's, which works
		// only if Prometheus's labels are slices.
		return goBuild(ctx, module, dir, []string{"GOTOOLCHAIN=auto", "GOFLAGS=-tags=slicelabels"}, "github.com/thanos-io/thanos/cmd/thanos")
	})
	if err != nil {
		return "", fmt.Errorf("build Thanos: %w", err)
	}
	return filepath.Join(dir, "thanos"), nil
}
