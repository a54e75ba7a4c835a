package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The errors of targets are in the API's reasons and on the pages, with the names of the monitor's fields.
func TestServeExplainsScrapes(t *testing.T) {
	manifests := t.TempDir()
	writeManifests(t, manifests, map[string]string{
		"stamps": exporter(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			fmt.Fprintf(w, "old_depth 5 %d\nlate_depth 5 %d\n", time.Now().Add(-3*time.Hour).UnixMilli(), time.Now().Add(-7*time.Minute).UnixMilli())
		}),
		"page": exporter(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>")
		}),
	})
	p := startProcess(t, manifests, t.TempDir())
	eventually := func(path, want string) {
		t.Helper()
		require.Eventually(t, func() bool {
			got, _ := p.metric(path)
			return strings.Contains(got, want)
		}, patience, 200*time.Millisecond, "%s: %s", path, want)
	}
	eventually("pods/stamps/old_depth", "samples of old_depth are not stored: the exporter sets their timestamps itself, the last one 3h0m")
	eventually("pods/stamps/late_depth", "the exporter sets the timestamps of late_depth itself, the last one 7m")
	eventually("pods/page/old_depth", `is down: the Content-Type "…" is not a metrics format: correct the path or port, or set fallbackScrapeProtocol on its monitor`)
	_, body, err := p.get(p.web + "/targets")
	require.NoError(t, err)
	require.Contains(t, string(body), "is not a metrics format: correct the path or port, or set fallbackScrapeProtocol on its monitor")
}
