package adapter_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/manifests"
	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/tsdb"
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

// Example embeds all of promlet in a program of its own: an application is
// discovered from manifests, scraped, stored, and asked for as the
// HorizontalPodAutoscaler would.
func Example() {
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintln(w, "# TYPE queue_depth gauge\nqueue_depth 7")
	}))
	defer worker.Close()
	dir, err := os.MkdirTemp("", "promlet")
	check(err)
	defer os.RemoveAll(dir)
	_, port, _ := strings.Cut(worker.Listener.Addr().String(), ":")
	source, err := manifests.FromText([]byte(strings.Replace(workerManifests, "PORT", port, 1)))
	check(err)

	db, err := tsdb.Open(tsdb.Options{Dir: dir})
	check(err)
	defer db.Close()
	scraper, err := scrape.NewManager(scrape.Options{Appendable: db})
	check(err)
	defer scraper.Stop()
	store := objects.NewStore()
	discoverer := discovery.New(store, discovery.Options{})
	custom, err := adapter.NewProvider(adapter.Options{DB: db, Objects: store.Lister})
	check(err)

	ctx, cancel := context.WithCancel(context.Background())
	discovered := make(chan error, 1)
	go func() {
		discovered <- discoverer.Run(ctx, source, scraper.Apply)
	}()
	defer func() { cancel(); check(<-discovered) }()

	service := types.NamespacedName{Namespace: "default", Name: "worker"}
	queueDepth := provider.CustomMetricInfo{GroupResource: schema.GroupResource{Resource: "services"}, Namespaced: true, Metric: "queue_depth"}
	for range 100 { // the first scrape is at most a second away
		value, err := custom.GetMetricByName(ctx, service, queueDepth, apilabels.Everything())
		if err == nil {
			fmt.Printf("%s %s: %s %s\n", value.DescribedObject.Kind, value.DescribedObject.Name, value.Metric.Name, &value.Value)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	fmt.Println("no value")
	// Output: Service worker: queue_depth 7
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
