package embedded_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/server/healthz"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"

	"github.com/promlet/promlet/adapter/apiserver"
	"github.com/promlet/promlet/adapter/embedded"
	"github.com/promlet/promlet/discovery/manifests"
)

// workerManifests describe one pod behind a Service, and a monitor that selects it.
const workerManifests = `
apiVersion: v1
kind: Service
metadata: {name: worker, namespace: default, labels: {app: worker}}
spec: {selector: {app: worker}, ports: [{name: web, port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: worker-1, namespace: default, labels: {app: worker}}
status: {podIP: 127.0.0.1}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: worker-1, namespace: default, labels: {kubernetes.io/service-name: worker}}
addressType: IPv4
endpoints: [{addresses: [127.0.0.1], targetRef: {kind: Pod, name: worker-1, namespace: default}}]
ports: [{name: web, port: PORT}]
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: worker, namespace: default}
spec: {selector: {matchLabels: {app: worker}}, endpoints: [{port: web, interval: 1s}]}
`

// Example is a program with all of promlet: an application is discovered from manifests and
// scraped, and a client asks for its metric as the HorizontalPodAutoscaler does. In a cluster,
// the Source is that of package discovery/cluster, and the server has Authentication and
// Authorization.
func Example() {
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintln(w, "# TYPE queue_depth gauge\nqueue_depth 7")
	}))
	defer worker.Close()
	_, port, _ := strings.Cut(worker.Listener.Addr().String(), ":")
	source, err := manifests.FromText([]byte(strings.Replace(workerManifests, "PORT", port, 1)))
	check(err)
	dir, err := os.MkdirTemp("", "promlet")
	check(err)
	defer os.RemoveAll(dir)

	p, err := embedded.New(embedded.Options{Source: source, Dir: dir})
	check(err)
	defer func() { check(p.Close()) }()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	serving := genericoptions.NewSecureServingOptions()
	serving.Listener, serving.ServerCert.CertDirectory = listener, "" // a certificate in memory
	server, err := apiserver.New(apiserver.Options{
		Provider:      p.Provider,
		Explain:       p.Provider.Explainer.Explain,
		SecureServing: serving,
		ReadyChecks:   []healthz.HealthChecker{healthz.NamedCheck("samples", func(*http.Request) error { return p.Ready() })},
	})
	check(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, server.Run) }()

	fmt.Println(ask(fmt.Sprintf("https://%s/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/services/worker/queue_depth", server.Addr())))
	cancel()
	check(<-done)
	// Output: Service worker: queue_depth 7
}

// ask asks for a metric until it has a value. The first request has its series collected.
func ask(url string) string {
	// A real client verifies the certificate. kube-apiserver does so with the CA in the APIService.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // see above
	defer client.CloseIdleConnections()
	for range 100 {
		var values v1beta2.MetricValueList
		response, err := client.Get(url)
		check(err)
		check(json.NewDecoder(response.Body).Decode(&values))
		check(response.Body.Close())
		if len(values.Items) > 0 {
			v := &values.Items[0]
			return fmt.Sprintf("%s %s: %s %s", v.DescribedObject.Kind, v.DescribedObject.Name, v.Metric.Name, &v.Value)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return "no value"
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
