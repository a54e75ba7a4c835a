package client

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestMetrics(t *testing.T) {
	a := startMetricsAPI(t)
	f := func(command, want string) {
		t.Helper()
		out, err := a.run(strings.Fields(command)...)
		require.NoError(t, err, command)
		require.Equal(t, strings.TrimPrefix(want, "\n"), out, command)
	}
	f("metrics", `
METRIC          RESOURCES
heap_bytes      namespaces, pods
http_requests   namespaces, pods, services
load            namespaces, nodes
queue_length    namespaces, external
temperature     namespaces, pods
`)
	f("metrics e_ --no-headers", "queue_length   namespaces, external\n")
	f("metrics h*s -o name", "heap_bytes\nhttp_requests\n")
	f("metrics loa? -o json", `
[
    {
        "metric": "load",
        "resources": [
            {
                "resource": "namespaces",
                "namespaced": false
            },
            {
                "resource": "nodes",
                "namespaced": false
            }
        ]
    }
]
`)
	g := func(command, want string) {
		t.Helper()
		_, err := a.run(strings.Fields(command)...)
		require.EqualError(t, err, want, command)
	}
	g("metrics http_requests_total", "no metric matches http_requests_total: there are 5 others")
	g("metrics http*_total", "no metric matches http*_total: there are 5 others")
	g("metrics [", "pattern [: syntax error in pattern")
	g("metrics -o yaml", "--output=yaml: choose table, name or json")
}

// An API that lists nothing, one without external metrics, and one of 10,000 metrics.
func TestMetricsOfOtherAPIs(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	var resources []metav1.APIResource
	mux := http.NewServeMux()
	mux.HandleFunc("/apis/"+customMetricsAPI, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: customMetricsAPI, APIResources: resources})
	})
	server := httptest.NewTLSServer(mux)
	defer server.Close()
	a := &metricsAPI{t: t, url: server.URL}
	_, err := a.run("metrics")
	require.EqualError(t, err, "no metrics: no target exposes any; see the targets on promlet's status page")

	var want strings.Builder
	for i := range 10_000 {
		for _, of := range []string{"services", "pods", "jobs.batch"} {
			resources = append(resources, metav1.APIResource{Name: fmt.Sprintf("%s/m%05d", of, 9999-i), Namespaced: true})
		}
		fmt.Fprintf(&want, "m%05d   jobs.batch, pods, services\n", i)
	}
	out, err := a.run("metrics", "--no-headers")
	require.NoError(t, err)
	require.Equal(t, want.String(), out)
}

func TestMetricNamesAreCompleted(t *testing.T) {
	a := startMetricsAPI(t)
	f := func(command, want string) {
		t.Helper()
		// What is completed comes last, and the flags before.
		args := append([]string{"__complete"}, strings.Fields(command)[0], "--server", a.url, "--insecure-skip-tls-verify")
		out, err := execute(t, append(args, strings.Fields(command)[1:]...)...)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(out, want), out)
	}
	f("top h", "heap_bytes\nhttp_requests\n:4\n")
	f("explain pods que", "queue_length\n:4\n")
	f("top pods http_requests h", ":4\n")
}
