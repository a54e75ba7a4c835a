package discovery

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	promkube "github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"

	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
	"github.com/promlet/promlet/discovery/objects"
)

// rich is a cluster in which everything that a meta label can tell is set.
// TestMetaLabelsArePrometheus compares the targets, with all their meta labels,
// with those that Prometheus's own service discovery makes of the same objects.
func TestMetaLabelsArePrometheus(t *testing.T) {
	relabelings := `relabelings: [{action: labelmap, regex: __meta_kubernetes_(.+)}]`
	serviceMonitor := func(role, attach string) string {
		return `
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: m, namespace: shop}
spec: {serviceDiscoveryRole: ` + role + `, selector: {}, attachMetadata: {node: ` + attach + `}, endpoints: [{` + relabelings + `}]}`
	}
	podMonitor := func(attach string) string {
		return `
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: m, namespace: shop}
spec: {selector: {}, attachMetadata: {node: ` + attach + `}, podMetricsEndpoints: [{` + relabelings + `}]}`
	}
	for name, tc := range map[string]struct {
		monitor string
		role    promkube.Role
		node    bool
		targets int
	}{
		"endpointslice":                {serviceMonitor("EndpointSlice", "false"), promkube.RoleEndpointSlice, false, 14},
		"endpointslice, node attached": {serviceMonitor("EndpointSlice", "true"), promkube.RoleEndpointSlice, true, 14},
		"pod":                          {podMonitor("false"), promkube.RolePod, false, 7},
		"pod, node attached":           {podMonitor("true"), promkube.RolePod, true, 7},
	} {
		t.Run(name, func(t *testing.T) {
			o := storetest.Load(t, samples.Rich, tc.monitor)
			_, groups := runtest.Resolve(t, New(o, Options{}))
			meta := func(label string) bool { return strings.HasPrefix(label, "__meta_kubernetes") }
			var ours []string
			for _, line := range runtest.Format(groups, meta) {
				_, line, _ = strings.Cut(line, " ") // the job's name
				ours = append(ours, line)
			}
			var theirs []string
			for _, line := range runtest.Format(map[string][]*targetgroup.Group{"x": prometheusGroups(t, o, tc.role, tc.node)}, meta) {
				theirs = append(theirs, strings.TrimPrefix(line, "x "))
			}
			require.Len(t, theirs, tc.targets)
			require.Equal(t, theirs, ours)
		})
	}
}

// prometheusGroups runs Prometheus's service discovery over the objects.
func prometheusGroups(t *testing.T, o *objects.Store, role promkube.Role, attachNode bool) []*targetgroup.Group {
	t.Helper()
	var objects []runtime.Object
	for _, indexer := range []cache.Indexer{storetest.Nodes(o), storetest.Pods(o), storetest.Services(o), storetest.Slices(o)} {
		for _, obj := range indexer.List() {
			objects = append(objects, obj.(runtime.Object).DeepCopyObject())
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	factory := informers.NewSharedInformerFactory(fake.NewClientset(objects...), 0)
	defer factory.Shutdown() // after cancel
	defer cancel()
	services := factory.Core().V1().Services().Informer()
	pods := factory.Core().V1().Pods().Informer()
	slices := factory.Discovery().V1().EndpointSlices().Informer()
	var nodes cache.SharedInformer
	if attachNode {
		nodes = factory.Core().V1().Nodes().Informer()
	}
	// Prometheus finds what to compute anew by indices that do not matter here.
	none := func(any) ([]string, error) { return nil, nil }
	require.NoError(t, slices.AddIndexers(cache.Indexers{"service": none, "node": none}))
	require.NoError(t, pods.AddIndexers(cache.Indexers{"node": none}))
	events := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "events"}, []string{"role", "event"})

	var run func(context.Context, chan<- []*targetgroup.Group)
	want := len(storetest.Pods(o).List())
	if role == promkube.RolePod {
		run = promkube.NewPod(nil, pods, nodes, nil, nil, nil, false, false, false, events).Run
	} else {
		want = len(storetest.Slices(o).List())
		run = promkube.NewEndpointSlice(nil, slices, services, pods, nodes, nil, nil, nil, false, false, false, events).Run
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	found := map[string]*targetgroup.Group{}
	out := make(chan []*targetgroup.Group)
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(ctx, out)
	}()
	for len(found) < want {
		select {
		case groups := <-out:
			for _, g := range groups {
				found[g.Source] = g
			}
		case <-ctx.Done():
			require.Fail(t, "Prometheus's discovery does not come to an end")
		}
	}
	cancel()
	<-done
	var all []*targetgroup.Group
	for _, g := range found {
		all = append(all, g)
	}
	return all
}

func TestMetaLabelsOfEndpointsRole(t *testing.T) {
	labels := func(role string) model.LabelSet {
		spec := `{` + role + `selector: {}, endpoints: [{port: http, relabelings: [{action: labeldrop, regex: x}]}]}`
		_, groups := runtest.Resolve(t, New(storetest.Load(t, samples.Rich, strings.Replace(samples.ServiceMonitor(spec), "default", "shop", 1)), Options{}))
		group := groups["serviceMonitor/shop/m/0"][0]
		return group.Labels.Merge(group.Targets[0])
	}
	endpoints := model.LabelSet{
		"__meta_kubernetes_endpoint_address_target_kind":                  "Pod",
		"__meta_kubernetes_endpoint_address_target_name":                  "s-a",
		"__meta_kubernetes_endpoint_hostname":                             "host-1",
		"__meta_kubernetes_endpoint_node_name":                            "n1",
		"__meta_kubernetes_endpoint_port_name":                            "http",
		"__meta_kubernetes_endpoint_port_protocol":                        "TCP",
		"__meta_kubernetes_endpoint_ready":                                "true",
		"__meta_kubernetes_endpoints_name":                                "s",
		"__meta_kubernetes_endpoints_label_app_kubernetes_io_name":        "s",
		"__meta_kubernetes_endpoints_labelpresent_app_kubernetes_io_name": "true",
		"__meta_kubernetes_endpoints_labelpresent_empty":                  "true",
		"__meta_kubernetes_service_name":                                  "s",
		"__meta_kubernetes_pod_name":                                      "s-a",
		"__tmp_prometheus_job_name":                                       "serviceMonitor/shop/m/0",
	}
	slice := model.LabelSet{
		"__meta_kubernetes_endpointslice_name":         "s-1",
		"__meta_kubernetes_endpointslice_port":         "8080",
		"__meta_kubernetes_endpointslice_address_type": "IPv4",
	}
	none := func(ls model.LabelSet, prefix string) bool {
		for name := range ls {
			if strings.HasPrefix(string(name), prefix) {
				return false
			}
		}
		return true
	}

	both := labels("")
	require.Equal(t, both, both.Merge(endpoints).Merge(slice), "a monitor that names no role finds the labels of both")

	only := labels("serviceDiscoveryRole: Endpoints, ")
	require.Equal(t, only, only.Merge(endpoints))
	require.True(t, none(only, "__meta_kubernetes_endpointslice"))

	only = labels("serviceDiscoveryRole: EndpointSlice, ")
	require.Equal(t, only, only.Merge(slice))
	require.True(t, none(only, "__meta_kubernetes_endpoint_"))
	require.True(t, none(only, "__meta_kubernetes_endpoints_"))
}

func TestNoMetaLabelsWithoutRelabelings(t *testing.T) {
	for _, spec := range []string{
		samples.ServiceMonitor(`{namespaceSelector: {any: true}, selector: {}, endpoints: [{port: http}]}`),
		`{apiVersion: monitoring.coreos.com/v1, kind: PodMonitor, metadata: {name: m}, spec: {
			namespaceSelector: {any: true}, selector: {}, attachMetadata: {node: true}, podMetricsEndpoints: [{port: http}]}}`,
		// Relabelings of metrics do not see them.
		samples.ServiceMonitor(`{namespaceSelector: {any: true}, selector: {}, endpoints: [{port: http, metricRelabelings: [{action: labeldrop, regex: x}]}]}`),
	} {
		_, groups := runtest.Resolve(t, New(storetest.Load(t, samples.Rich, spec), Options{}))
		require.Len(t, groups, 1)
		for _, line := range runtest.Format(groups, func(label string) bool { return strings.HasPrefix(label, "__") && label != "__meta_promlet_unready" }) {
			require.NotContains(t, line, "__")
		}
	}
}

func TestMetaLabelsSkipForeignPods(t *testing.T) {
	// A slice whose targetRef is in another namespace: Prometheus sees that pod
	// only when it watches all namespaces.
	objects := `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: e}
addressType: IPv4
ports: [{name: p, port: 1}]
endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: a, namespace: other}}]
---
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: other}
status: {podIP: 10.0.0.1}
`
	_, groups := runtest.Resolve(t, New(storetest.Load(t, objects, samples.ServiceMonitor(`{selector: {}, endpoints: [{port: p}]}`)), Options{}))
	require.Equal(t, runtest.WantLines("serviceMonitor/default/m/0 10.0.0.1:1 endpoint=p namespace=default"), runtest.Lines(groups))
	_, groups = runtest.Resolve(t, New(storetest.Load(t, objects, samples.ServiceMonitor(`{namespaceSelector: {any: true}, selector: {}, endpoints: [{port: p}]}`)), Options{}))
	require.Equal(t, runtest.WantLines("serviceMonitor/default/m/0 10.0.0.1:1 endpoint=p namespace=default pod=a"), runtest.Lines(groups))
}
