package apiserver

import (
	"context"
	"net"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter/resourcemetrics/api"
)

type noMetrics struct{ provider.MetricsProvider }

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
