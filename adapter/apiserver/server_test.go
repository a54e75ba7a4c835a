package apiserver

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter/resourcemetrics/api"
)

type noMetrics struct{ provider.MetricsProvider }

func (noMetrics) ListAllMetrics() []provider.CustomMetricInfo           { return nil }
func (noMetrics) ListAllExternalMetrics() []provider.ExternalMetricInfo { return nil }
func (noMetrics) GetMetricByName(_ context.Context, _ types.NamespacedName, info provider.CustomMetricInfo, _ apilabels.Selector) (*custom_metrics.MetricValue, error) {
	return nil, provider.NewMetricNotFoundError(info.GroupResource, info.Metric)
}

// Options that cannot be served are errors that say what is missing.
func TestOptions(t *testing.T) {
	f := func(opts Options, want string) {
		t.Helper()
		_, err := New(opts)
		require.EqualError(t, err, want)
	}
	f(Options{}, "new API server: a Provider is required")
	f(Options{Provider: noMetrics{}}, "new API server: SecureServing is required: make it with options.NewSecureServingOptions")
	f(Options{Provider: noMetrics{}, ResourceMetrics: &api.ResourceMetrics{}}, "new API server: ResourceMetrics need a Source and a Lister")
	serving := genericoptions.NewSecureServingOptions()
	serving.BindPort = 0
	f(Options{Provider: noMetrics{}, SecureServing: serving}, "new API server: SecureServing needs a BindPort or a Listener")
}

// Close frees the port and the metrics of a Server that never ran. Options may have a listener instead of a port.
func TestClose(t *testing.T) {
	registry := prometheus.NewRegistry()
	for range 2 {
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		serving := genericoptions.NewSecureServingOptions()
		serving.Listener, serving.BindAddress, serving.ServerCert.CertDirectory = listener, nil, ""
		s, err := New(Options{Provider: noMetrics{}, SecureServing: serving, Registry: registry})
		require.NoError(t, err)
		require.Equal(t, listener.Addr(), s.Addr())
		require.NoError(t, s.Close())
		require.NoError(t, s.Close())
		again, err := new(net.ListenConfig).Listen(context.Background(), "tcp", listener.Addr().String())
		require.NoError(t, err)
		require.NoError(t, again.Close())
	}
}

// A Handler answers on a server of the program's, beside other paths; a second one works on the same registry after Run.
func TestHandler(t *testing.T) {
	registry := prometheus.NewRegistry()
	for range 2 {
		handler, err := NewHandler(Options{Provider: noMetrics{}, Registry: registry})
		require.NoError(t, err)
		mux := http.NewServeMux()
		mux.Handle("/apis/", handler)
		mux.Handle("/readyz", handler)
		mux.HandleFunc("/own", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "own") })
		server := httptest.NewTLSServer(mux)
		get := func(path string) (int, string) {
			response, err := server.Client().Get(server.URL + path)
			require.NoError(t, err)
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			return response.StatusCode, string(body)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- handler.Run(ctx) }()
		require.Eventually(t, func() bool { code, _ := get("/readyz"); return code == http.StatusOK }, 10*time.Second, 10*time.Millisecond)
		code, body := get("/own")
		require.Equal(t, "200 own", fmt.Sprint(code, " ", body))
		code, body = get("/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/services/x/y")
		require.Equal(t, http.StatusNotFound, code)
		require.Contains(t, body, "could not find the metric y for services")
		cancel()
		require.NoError(t, <-done)
		code, _ = get("/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/services/x/y")
		require.Equal(t, http.StatusServiceUnavailable, code)
		server.Close()
		families, err := registry.Gather()
		require.NoError(t, err)
		require.Empty(t, families)
	}
}

// A Handler that never runs is closed without a trace; options for a listener are errors.
func TestHandlerOptions(t *testing.T) {
	handler, err := NewHandler(Options{Provider: noMetrics{}})
	require.NoError(t, err)
	require.NoError(t, handler.Close())
	require.NoError(t, handler.Close())
	f := func(opts Options, want string) {
		t.Helper()
		_, err := NewHandler(opts)
		require.EqualError(t, err, "new API handler: "+want)
	}
	f(Options{}, "a Provider is required")
	f(Options{Provider: noMetrics{}, SecureServing: genericoptions.NewSecureServingOptions()}, "SecureServing and Cert are for a Server: make it with New")
	f(Options{Provider: noMetrics{}, Authentication: genericoptions.NewDelegatingAuthenticationOptions()}, "give both Authentication and Authorization, or neither")
}

// A second end, or a second Run, does not end the process: the library panics if its listener is closed before its time.
func TestRunAndCloseOutOfOrder(t *testing.T) {
	open := func() *Handler {
		handler, err := NewHandler(Options{Provider: noMetrics{}})
		require.NoError(t, err)
		return handler
	}
	closed := open()
	require.NoError(t, closed.Close())
	require.EqualError(t, closed.Run(t.Context()), "serve the API: it was run or closed before")

	running := open()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- running.Run(ctx) }()
	require.Eventually(t, func() bool {
		answer := httptest.NewRecorder()
		running.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/livez", nil))
		return answer.Code == http.StatusOK
	}, 30*time.Second, 10*time.Millisecond)
	require.NoError(t, running.Close())
	require.EqualError(t, running.Run(t.Context()), "serve the API: it was run or closed before")
	cancel()
	require.NoError(t, <-ended)
	require.NoError(t, running.Close())
}
