package discovery_test

import (
	"context"
	"fmt"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"

	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/manifests"
	"github.com/promlet/promlet/discovery/objects"
)

// This program prints the targets to scrape. With cluster.New instead of manifests.FromText
// it would read a cluster, with manifests.New a directory.
func Example() {
	manifest := `
apiVersion: v1
kind: Service
metadata: {name: app, labels: {app: app}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: app, labels: {kubernetes.io/service-name: app}}
ports: [{name: metrics, port: 9100}]
endpoints: [{addresses: [127.0.0.1]}]
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: app}
spec: {selector: {matchLabels: {app: app}}, endpoints: [{port: metrics, interval: 5s}]}
`
	source, err := manifests.FromText([]byte(manifest))
	if err != nil {
		fmt.Println(err)
		return
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	store := objects.NewStore()
	d := discovery.New(store, discovery.Options{})
	err = d.Run(ctx, source, func(jobs []*config.ScrapeConfig, targets map[string][]*targetgroup.Group) error {
		for _, job := range jobs {
			for _, group := range targets[job.JobName] {
				for _, target := range group.Targets {
					fmt.Println(job.JobName, job.ScrapeInterval, target["__address__"], group.Labels)
				}
			}
		}
		cancel() // a real program would go on
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// serviceMonitor/default/app/0 5s 127.0.0.1:9100 {endpoint="metrics", job="app", namespace="default", service="app"}
}
