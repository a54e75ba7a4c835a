package attacks

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is small, and stands for its kind.
func TestSmallMistakes(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "promlet.yaml")
	require.NoError(t, os.WriteFile(config, []byte("keep: [kept]\n"), 0o600))
	s := start(t, "--config", config)
	var scrapes atomic.Int64
	s.deploy(app{namespace: tenant, name: "often", endpoint: ", interval: 1ms", addresses: s.listen(1, exposing(func(int) string {
		scrapes.Add(1)
		return "# TYPE kept gauge\nkept 1\n"
	}))})
	require.NoError(t, os.Symlink("/", filepath.Join(s.manifests, "root")))
	require.NoError(t, os.Symlink("/dev/zero", filepath.Join(s.manifests, "zero.yaml")))
	require.NoError(t, os.Truncate(config, 0))

	pods := "https://" + s.api + "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/queue_depth?"
	var values strings.Builder
	for n := range 8_000 {
		fmt.Fprintf(&values, "v%d,", n)
	}
	for name, selector := range map[string]string{
		"values":     "app in (" + values.String() + "a)",
		"terms":      "app!=" + strings.ReplaceAll(strings.TrimSuffix(values.String(), ","), ",", ",app!="),
		"a value":    "app=" + strings.Repeat("a", 40_000),
		"no grammar": strings.Repeat("(", 40_000),
	} {
		for _, parameter := range []string{"labelSelector", "metricLabelSelector"} {
			code, body, err := s.get(pods + parameter + "=" + url.QueryEscape(selector))
			require.NoError(t, err)
			require.Equal(t, http.StatusBadRequest, code, "%s in %s: %.300s", name, parameter, body)
		}
	}
	before := scrapes.Load()
	s.endure("a symlink to /", 6*time.Second)
	require.LessOrEqual(t, scrapes.Load()-before, int64(8), "scrapes in 6 s")
	_, body, err := s.get("http://" + s.web + "/api/v1/query?query=kept")
	require.NoError(t, err)
	require.Contains(t, body, `"value"`, "the configuration before it was emptied stays")
	s.end()
}

// While promlet is not ready, it names no target to whoever asks why.
func TestReadinessNamesNoTarget(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.kill()
	addresses := s.listen(1, sendingAndWaiting(nil))
	s.deploy(app{namespace: tenant, name: "silent", addresses: addresses})
	s.launch()
	host, _, _ := strings.Cut(addresses[0], ":")
	require.Eventually(t, func() bool {
		code, body, err := s.get("https://" + s.api + "/readyz?verbose")
		require.NotContains(t, body, host)
		return err == nil && code == http.StatusOK
	}, patience, 20*time.Millisecond)
	s.reader.mayBeAbsent.Store(false)
	s.endure("a target that never answers", 3*time.Second)
	s.end()
}
