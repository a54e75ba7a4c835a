package upstream

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"

	"github.com/promlet/promlet/bench/internal/build"
)

// BuildVictoriaMetrics builds the module in a directory, bench/victoriametrics, likewise, and returns the path of the
// program.
func BuildVictoriaMetrics(ctx context.Context, module string) (binary string, err error) {
	files := []string{filepath.Join(module, "go.mod"), filepath.Join(module, "go.sum")}
	dir, err := build.Once("victoriametrics", "", files, nil, func(dir string) error {
		return goBuild(ctx, module, dir, nil, "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics")
	})
	if err != nil {
		return "", fmt.Errorf("build VictoriaMetrics: %w", err)
	}
	return filepath.Join(dir, "victoria-metrics"), nil
}

// StartVictoriaMetrics runs a VictoriaMetrics with a data directory and more flags, likewise.
func StartVictoriaMetrics(ctx context.Context, binary, dir string, flags ...string) (url string, stop func(), err error) {
	return start(ctx, regexp.MustCompile(`started server at http://([^/\s]+)`), "/health", binary, append([]string{
		"-storageDataPath=" + dir, "-httpListenAddr=127.0.0.1:0",
	}, flags...)...)
}
