package httpapi

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/bench/upstream"
	"github.com/promlet/promlet/tsdb"
)

// binaries are those of Prometheus and promtool.
func binaries(t *testing.T) (prometheus, promtool string) {
	t.Helper()
	built, err := upstream.Build(t.Context(), "../../bench/prometheus")
	require.NoError(t, err)
	return built.Prometheus, built.Promtool
}

// prometheusOn gives the address of a Prometheus on a directory, with the limits that the database has.
func prometheusOn(t *testing.T, binary, dir string) string {
	t.Helper()
	config := filepath.Join(t.TempDir(), "prometheus.yml")
	require.NoError(t, os.WriteFile(config, nil, 0o644))
	url, stop, err := upstream.Start(t.Context(), binary, config, dir, "--storage.tsdb.retention.time=100y",
		"--query.max-samples="+strconv.Itoa(tsdb.DefaultMaxSamples), "--query.timeout="+tsdb.DefaultQueryTimeout.String())
	require.NoError(t, err)
	t.Cleanup(stop)
	return url
}
