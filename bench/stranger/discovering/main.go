// Command discovering finds targets without a cluster: those of a manifest, and those of objects that the program puts
// into a store itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/promlet/promlet/bench/stranger/internal/instance"
	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/manifests"
	"github.com/promlet/promlet/discovery/objects"
)

const manifest = `
apiVersion: v1
kind: Pod
metadata: {name: worker-1, namespace: default, labels: {app: worker}}
spec: {containers: [{name: worker, image: worker, ports: [{name: web, containerPort: %v}]}]}
status: {podIP: 10.0.0.1}
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: worker, namespace: default}
spec: {selector: {matchLabels: {app: worker}}, podMetricsEndpoints: [{port: web}]}
`

func main() { instance.Main(open) }

type program struct {
	cancel context.CancelFunc
	ended  chan error
	ports  chan string // of the targets of the manifest
	filled *discovery.Discoverer
}

func open(cfg instance.Config) (*program, error) {
	source, err := manifests.FromText(fmt.Appendf(nil, manifest, cfg.Number))
	if err != nil {
		return nil, err
	}
	store, err := filledStore(cfg.Number)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{cancel: cancel, ended: make(chan error, 1), ports: make(chan string, 1), filled: discovery.New(store, discovery.Options{Annotations: true})}
	discoverer := discovery.New(objects.NewStore(), discovery.Options{Registerer: cfg.Registry})
	go func() {
		p.ended <- discoverer.Run(ctx, source, func(_ []*config.ScrapeConfig, targets map[string][]*targetgroup.Group) error {
			p.ports <- portOf(targets)
			return nil
		})
	}()
	return p, nil
}

// filledStore returns a Store with an annotated pod.
func filledStore(port float64) (*objects.Store, error) {
	store := objects.NewStore()
	pods, ok := store.Indexer(schema.GroupResource{Resource: "pods"})
	if !ok {
		return nil, errors.New("pods are not held")
	}
	return store, pods.Add(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "worker-1", Namespace: "default", Annotations: map[string]string{
			"prometheus.io/scrape": "true", "prometheus.io/port": fmt.Sprint(port),
		}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1"},
	})
}

// portOf returns the port of the only target.
func portOf(targets map[string][]*targetgroup.Group) (port string) {
	for _, groups := range targets {
		for _, group := range groups {
			for _, target := range group.Targets {
				_, port, _ = strings.Cut(string(target["__address__"]), ":")
			}
		}
	}
	return port
}

// Ask implements instance.Instance: it returns the port that both ways have found.
func (p *program) Ask(ctx context.Context) (float64, error) {
	_, targets, err := p.filled.Resolve()
	if err != nil {
		return 0, err
	}
	var port string
	select {
	case port = <-p.ports:
		p.ports <- port
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if other := portOf(targets); other != port {
		return 0, fmt.Errorf("port %q of the manifest, %q of the store", port, other)
	}
	return strconv.ParseFloat(port, 64)
}

// Close implements instance.Instance.
func (p *program) Close() error {
	p.cancel()
	return <-p.ended
}
