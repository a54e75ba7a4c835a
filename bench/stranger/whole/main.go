// Command whole is all of promlet in a program: it discovers a pod, scrapes it on demand and serves its metric.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"

	genericoptions "k8s.io/apiserver/pkg/server/options"

	"github.com/promlet/promlet/adapter/apiserver"
	"github.com/promlet/promlet/adapter/embedded"
	"github.com/promlet/promlet/bench/stranger/internal/instance"
	"github.com/promlet/promlet/bench/stranger/internal/queue"
	"github.com/promlet/promlet/discovery/manifests"
)

const manifest = `
apiVersion: v1
kind: Pod
metadata: {name: worker-1, namespace: default, labels: {app: worker}}
spec: {containers: [{name: worker, image: worker, ports: [{name: web, containerPort: PORT}]}]}
status: {podIP: 127.0.0.1}
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: worker, namespace: default}
spec: {selector: {matchLabels: {app: worker}}, podMetricsEndpoints: [{port: web, interval: 1s}]}
`

func main() { instance.Main(open) }

type program struct {
	worker  *httptest.Server
	promlet *embedded.Promlet
	server  *apiserver.Server
	client  *http.Client
	cancel  context.CancelFunc
	ended   chan error
}

func open(config instance.Config) (*program, error) {
	p := &program{ended: make(chan error, 1), worker: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = fmt.Fprintf(w, "# TYPE queue_depth gauge\nqueue_depth %v\n", config.Number) // the scrape may be cancelled
	}))}
	_, port, _ := strings.Cut(p.worker.Listener.Addr().String(), ":")
	source, err := manifests.FromText([]byte(strings.Replace(manifest, "PORT", port, 1)))
	if err != nil {
		return nil, err
	}
	if p.promlet, err = embedded.New(embedded.Options{Source: source, Dir: config.Dir, Registerer: config.Registry}); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	serving := genericoptions.NewSecureServingOptions()
	serving.Listener, serving.ServerCert.CertDirectory = listener, "" // a certificate in memory
	if p.server, err = apiserver.New(apiserver.Options{Provider: p.promlet.Provider, SecureServing: serving, Registry: config.Registry}); err != nil {
		return nil, err
	}
	// curl -k: the certificate is made anew for each server.
	p.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // see above
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() { p.ended <- p.promlet.Run(ctx, p.server.Run) }()
	return p, nil
}

// Ask implements instance.Instance. The first request has the series collected.
func (p *program) Ask(ctx context.Context) (float64, error) {
	return instance.Eventually(ctx, func() (float64, error) { return queue.Depth(ctx, p.client, "https://"+p.server.Addr().String()) })
}

// Close implements instance.Instance.
func (p *program) Close() error {
	p.client.CloseIdleConnections()
	p.cancel()
	err := errors.Join(<-p.ended, p.promlet.Close())
	p.worker.Close()
	return err
}
