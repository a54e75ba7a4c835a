package adapter

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	genericoptions "k8s.io/apiserver/pkg/server/options"

	"github.com/promlet/promlet/adapter/apiserver"
)

// One body holds the metrics of both, each family once.
func TestServerServesMetricsOfBoth(t *testing.T) {
	f := scenario(t)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector())
	f.again(func(o *Options) { o.Registerer = registry })
	serving := genericoptions.NewSecureServingOptions()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	serving.Listener, serving.BindAddress = listener, net.IPv4(127, 0, 0, 1)
	serving.ServerCert.CertDirectory = ""
	server, err := apiserver.New(apiserver.Options{Provider: f.Provider, SecureServing: serving, Registry: registry})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- server.Run(ctx) }()
	defer func() { cancel(); require.NoError(t, <-done) }()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // made just now
	defer client.CloseIdleConnections()
	get := func(path string) *http.Response {
		answer, err := client.Get("https://" + server.Addr().String() + path)
		require.NoError(t, err)
		t.Cleanup(func() { _ = answer.Body.Close() })
		require.Equal(t, http.StatusOK, answer.StatusCode)
		return answer
	}
	get("/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/services/sample/http_requests")
	answer := get("/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body) // a family that is there twice is an error
	require.NoError(t, err)
	require.Contains(t, families, "apiserver_request_duration_seconds", "of the library")
	require.Contains(t, families, "go_goroutines")
	require.NotContains(t, families, "go_gc_cycles_automatic_gc_cycles_total", "of the library, and of the process")
	reasons := map[string]float64{}
	for _, m := range families["promlet_api_answers_total"].GetMetric() {
		reasons[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue()
	}
	require.EqualValues(t, 1, reasons["custom value"])
	expiry := families["promlet_serving_certificate_expiry_timestamp_seconds"].GetMetric()[0].GetGauge().GetValue()
	require.Greater(t, expiry, float64(time.Now().Unix()))
	problems, err := testutil.GatherAndLint(registry, "promlet_serving_certificate_expiry_timestamp_seconds")
	require.NoError(t, err)
	require.Empty(t, problems)
}
