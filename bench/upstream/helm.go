package upstream

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/promlet/promlet/bench/internal/build"
)

// BuildHelm builds the module in a directory, bench/helm, and returns the path of the program.
func BuildHelm(ctx context.Context, module string) (binary string, err error) {
	files := []string{filepath.Join(module, "go.mod"), filepath.Join(module, "go.sum")}
	dir, err := build.Once("helm", "", files, nil, func(dir string) error {
		return goBuild(ctx, module, dir, nil, "helm.sh/helm/v4/cmd/helm")
	})
	if err != nil {
		return "", fmt.Errorf("build Helm: %w", err)
	}
	return filepath.Join(dir, "helm"), nil
}
