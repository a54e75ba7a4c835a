// Command embed shows how a program embeds all of promlet. It exposes a metric, scrapes it as a PodMonitor says, and serves it
// over the custom metrics API:
//
//	go run ./deploy/example/embed
//	curl -k https://127.0.0.1:6443/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/worker-1/queue_depth
//
// In a cluster, take the Source from package discovery/cluster, and give the server Authentication and Authorization.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"k8s.io/apiserver/pkg/server/healthz"
	genericoptions "k8s.io/apiserver/pkg/server/options"

	"github.com/promlet/promlet/adapter/apiserver"
	"github.com/promlet/promlet/adapter/embedded"
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
spec: {selector: {matchLabels: {app: worker}}, podMetricsEndpoints: [{port: web, interval: 5s}]}
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, "127.0.0.1:6443")
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address string) (err error) {
	worker, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	metrics := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = fmt.Fprint(w, "# TYPE queue_depth gauge\nqueue_depth 7\n") // the scrape may be cancelled
	})}
	_, port, _ := net.SplitHostPort(worker.Addr().String())
	source, err := manifests.FromText([]byte(strings.Replace(manifest, "PORT", port, 1)))
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "embed")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	promlet, err := embedded.New(embedded.Options{Source: source, Dir: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, promlet.Close()) }()
	serving := genericoptions.NewSecureServingOptions()
	serving.ServerCert.CertDirectory = "" // a certificate in memory
	if serving.Listener, err = new(net.ListenConfig).Listen(ctx, "tcp", address); err != nil {
		return err
	}
	server, err := apiserver.New(apiserver.Options{
		Provider:      promlet.Provider,
		Explain:       promlet.Provider.Explainer.Explain,
		SecureServing: serving,
		ReadyChecks:   []healthz.HealthChecker{healthz.NamedCheck("samples", func(*http.Request) error { return promlet.Ready() })},
	})
	if err != nil {
		return err
	}
	go func() { _ = metrics.Serve(worker) }() // until Close
	defer func() { err = errors.Join(err, metrics.Close()) }()
	return promlet.Run(ctx, server.Run)
}
