package apiserver_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"

	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter/apiserver"
)

// answer is a provider of one metric. An adapter.Provider would serve the metrics of a database.
type answer struct {
	provider.ExternalMetricsProvider
}

func (answer) ListAllMetrics() []provider.CustomMetricInfo {
	return []provider.CustomMetricInfo{{GroupResource: schema.GroupResource{Resource: "services"}, Namespaced: true, Metric: "queue_depth"}}
}

func (answer) ListAllExternalMetrics() []provider.ExternalMetricInfo { return nil }

func (answer) GetMetricByName(context.Context, types.NamespacedName, provider.CustomMetricInfo, apilabels.Selector) (*custom_metrics.MetricValue, error) {
	return nil, provider.NewMetricNotFoundError(schema.GroupResource{Resource: "services"}, "queue_depth")
}

func (answer) GetMetricBySelector(context.Context, string, apilabels.Selector, provider.CustomMetricInfo, apilabels.Selector) (*custom_metrics.MetricValueList, error) {
	return &custom_metrics.MetricValueList{}, nil
}

// This example serves the API on loopback without authentication, until its context is done.
func Example() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	serving := genericoptions.NewSecureServingOptions()
	serving.Listener, serving.ServerCert.CertDirectory = listener, "" // a certificate in memory
	server, err := apiserver.New(apiserver.Options{Provider: answer{}, SecureServing: serving})
	check(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()

	// A real client verifies the certificate. kube-apiserver does so with the CA in the APIService.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // see above
	response, err := client.Get(fmt.Sprintf("https://%s/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/services/worker/queue_depth", server.Addr()))
	check(err)
	text, err := io.ReadAll(response.Body)
	check(err)
	check(response.Body.Close())
	client.CloseIdleConnections()
	fmt.Println(response.StatusCode, len(text) > 0)
	cancel()
	check(<-done)
	// Output: 404 true
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
