package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
)

const webTargets = `
	serviceMonitor/default/m/0 10.0.0.1:9090 container=server endpoint=metrics job=web namespace=default pod=web-a service=web
	serviceMonitor/default/m/0 10.0.0.2:9090 container=server endpoint=metrics job=web namespace=default pod=web-b service=web`

var webMonitor = monitor(`{selector: {matchLabels: {app: web}}, endpoints: [{port: metrics}]}`)

func TestClusterTargets(t *testing.T) {
	c := newFakeCluster(t, web, webMonitor, `{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {zone: z}}}`)
	c.setCRDs("servicemonitors", "podmonitors", "prometheusrules")
	o := NewObjects()
	d := New(o, Options{})
	src := Cluster(c.clients(), ClusterOptions{})
	require.False(t, src.HasSynced())
	var a applied
	start(t, d, src, &a)
	eventuallyTargets(t, &a, webTargets)
	require.True(t, src.HasSynced())
	require.True(t, d.HasSynced())
	require.Empty(t, src.Problems())
	require.Equal(t, "z", get[corev1.Node](o.nodes, "n1").Labels["zone"])
	require.NotNil(t, get[corev1.Namespace](o.namespaces, "default"))

	// A pod goes, a Service changes, a monitor comes.
	ctx := context.Background()
	slices := c.kube.DiscoveryV1().EndpointSlices("default")
	slice, err := slices.Get(ctx, "web-1", metav1.GetOptions{})
	require.NoError(t, err)
	slice = slice.DeepCopy()
	slice.Endpoints = slice.Endpoints[:1]
	_, err = slices.Update(ctx, slice, metav1.UpdateOptions{})
	require.NoError(t, err)
	eventuallyTargets(t, &a, strings.Split(strings.TrimSpace(webTargets), "\n")[0])

	require.NoError(t, c.kube.CoreV1().Pods("default").Delete(ctx, "web-a", metav1.DeleteOptions{}))
	eventuallyTargets(t, &a, `serviceMonitor/default/m/0 10.0.0.1:9090 endpoint=metrics job=web namespace=default service=web`)

	services := c.kube.CoreV1().Services("default")
	require.NoError(t, services.Delete(ctx, "web", metav1.DeleteOptions{}))
	eventuallyTargets(t, &a, ``)
}

func TestClusterCRDsComeAndGo(t *testing.T) {
	c := newFakeCluster(t, web, webMonitor, podMonitorText(`{selector: {matchLabels: {version: v1}}, podMetricsEndpoints: [{port: prom}]}`))
	const podTargets = `podMonitor/default/m/0 10.0.0.1:9090 container=server endpoint=prom job=default/m namespace=default pod=web-a`
	d := New(NewObjects(), Options{})
	src := Cluster(c.clients(), ClusterOptions{CRDPoll: 20 * time.Millisecond})
	var a applied
	start(t, d, src, &a)
	eventually(t, d.HasSynced, "absent CRDs are not waited for")
	require.Empty(t, a.last())

	c.setCRDs("podmonitors")
	eventuallyTargets(t, &a, podTargets)
	c.setCRDs("podmonitors", "servicemonitors")
	eventuallyTargets(t, &a, podTargets+webTargets)

	// A discovery that fails says nothing about the CRDs.
	c.setCRDError(errors.New("etcd is away"))
	eventually(t, func() bool { return len(src.Problems()) == 1 })
	require.Equal(t, "discover monitoring.coreos.com/v1: etcd is away", src.Problems()[0])
	require.Len(t, a.last(), 3)
	c.setCRDError(nil)
	eventually(t, func() bool { return len(src.Problems()) == 0 })

	c.setCRDs("servicemonitors")
	eventuallyTargets(t, &a, webTargets)
	c.setCRDs()
	eventuallyTargets(t, &a, ``)
	c.setCRDs("servicemonitors")
	eventuallyTargets(t, &a, webTargets)
	require.True(t, src.HasSynced(), "once synced it stays so")
}

func TestClusterWaitsForDiscovery(t *testing.T) {
	var log logBuffer
	c := newFakeCluster(t, web, webMonitor)
	c.setCRDError(errors.New("etcd is away"))
	d := New(NewObjects(), Options{})
	src := Cluster(c.clients(), ClusterOptions{Logger: log.logger(), CRDPoll: 20 * time.Millisecond})
	var a applied
	start(t, d, src, &a)
	eventually(t, func() bool { return len(src.Problems()) == 1 })
	time.Sleep(200 * time.Millisecond)
	require.False(t, src.HasSynced(), "it is not known whether there are monitors")
	require.Empty(t, a.all())
	c.setCRDs("servicemonitors")
	c.setCRDError(nil)
	eventuallyTargets(t, &a, webTargets)
	require.Equal(t, 1, log.count("etcd is away"), "logged once")
	require.Equal(t, 1, log.count("trouble with the API server is over"))
}

func TestClusterWithoutPermission(t *testing.T) {
	t.Run("what is indispensable is waited for", func(t *testing.T) {
		var log logBuffer
		c := newFakeCluster(t, web, webMonitor)
		c.setCRDs("servicemonitors")
		no := refuse(&c.kube.Fake, "list", "pods")
		d := New(NewObjects(), Options{})
		registry := prometheus.NewRegistry()
		src := Cluster(c.clients(), ClusterOptions{Logger: log.logger(), Registerer: registry})
		var a applied
		start(t, d, src, &a)
		eventually(t, func() bool { return len(src.Problems()) == 1 })
		require.Equal(t, []string{"list pods: pods is forbidden: no RBAC rule"}, src.Problems())
		eventually(t, func() bool { return testutil.ToFloat64(src.requestErrors.WithLabelValues("list", "pods")) > 0 })
		require.Zero(t, testutil.ToFloat64(src.requestErrors.WithLabelValues("list", "services")))
		problems, err := testutil.GatherAndLint(registry)
		require.NoError(t, err)
		require.Empty(t, problems)
		time.Sleep(300 * time.Millisecond)
		require.False(t, src.HasSynced())
		require.False(t, d.HasSynced())

		no.set(false)
		eventuallyTargets(t, &a, webTargets)
		require.Empty(t, src.Problems())
		require.Equal(t, 1, log.count(`level=WARN msg="trouble with the API server" attempt="list pods"`))
		require.Equal(t, 1, log.count(`level=INFO msg="trouble with the API server is over" attempt="list pods"`))
	})
	t.Run("the others are not", func(t *testing.T) {
		c := newFakeCluster(t, web, webMonitor, podMonitorText(`{selector: {}, podMetricsEndpoints: []}`))
		c.setCRDs("servicemonitors", "podmonitors")
		refuse(&c.kube.Fake, "list", "horizontalpodautoscalers")
		refuse(&c.dynamic.Fake, "list", "podmonitors")
		refuse(&c.metadata.Fake, "list", "nodes")
		d := New(NewObjects(), Options{})
		src := Cluster(c.clients(), ClusterOptions{})
		var a applied
		start(t, d, src, &a)
		eventuallyTargets(t, &a, webTargets)
		require.True(t, src.HasSynced())
		var kinds []string
		for _, p := range src.Problems() {
			kinds = append(kinds, strings.SplitN(p, ":", 2)[0])
		}
		require.Equal(t, []string{"list horizontalpodautoscalers", "list nodes", "list podmonitors"}, kinds)

		c.setCRDs("servicemonitors") // a kind that is gone is no problem
	})
	t.Run("to watch", func(t *testing.T) {
		c := newFakeCluster(t, web, webMonitor)
		c.setCRDs("servicemonitors")
		no := refuse(&c.kube.Fake, "watch", "services")
		src := Cluster(c.clients(), ClusterOptions{})
		var a applied
		start(t, New(NewObjects(), Options{}), src, &a)
		eventuallyTargets(t, &a, webTargets)
		eventually(t, func() bool { return len(src.Problems()) == 1 })
		require.Contains(t, src.Problems()[0], "watch services: ")
		no.set(false)
		eventually(t, func() bool { return len(src.Problems()) == 0 })
	})
	t.Run("a kind that is gone is no problem any more", func(t *testing.T) {
		c := newFakeCluster(t, web)
		c.setCRDs("podmonitors")
		refuse(&c.dynamic.Fake, "list", "podmonitors")
		src := Cluster(c.clients(), ClusterOptions{CRDPoll: 20 * time.Millisecond})
		var a applied
		start(t, New(NewObjects(), Options{}), src, &a)
		eventually(t, func() bool { return len(src.Problems()) == 1 })
		c.setCRDs()
		eventually(t, func() bool { return len(src.Problems()) == 0 })
	})
}

func TestClusterUndecodableMonitor(t *testing.T) {
	c := newFakeCluster(t, web, webMonitor)
	c.setCRDs("servicemonitors", "podmonitors")
	broken := func(resource, kind, spec string) *unstructured.Unstructured {
		u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{spec: "not a list"}}}
		u.SetGroupVersionKind(monitoringv1.SchemeGroupVersion.WithKind(kind))
		u.SetNamespace("default")
		u.SetName("broken-" + resource)
		return u
	}
	c.create(t, "servicemonitors", broken("servicemonitors", "ServiceMonitor", "endpoints"))
	c.create(t, "podmonitors", broken("podmonitors", "PodMonitor", "podMetricsEndpoints"))
	d := New(NewObjects(), Options{})
	var a applied
	start(t, d, Cluster(c.clients(), ClusterOptions{}), &a)
	eventuallyTargets(t, &a, webTargets)
	require.Contains(t, rejected(d, "broken-servicemonitors"), "decode: ")
	require.Contains(t, rejected(d, "broken-podmonitors"), "decode: ")

	// It is mended.
	mended := broken("servicemonitors", "ServiceMonitor", "jobLabel")
	mended.SetResourceVersion("2")
	_, err := c.dynamic.Resource(monitoringv1.SchemeGroupVersion.WithResource("servicemonitors")).
		Namespace("default").Update(context.Background(), mended, metav1.UpdateOptions{})
	require.NoError(t, err)
	eventually(t, func() bool { return rejected(d, "broken-servicemonitors") == "" })
}

func TestClusterRunsTwiceInOneProcess(t *testing.T) {
	var first, second applied
	one := newFakeCluster(t, web, webMonitor)
	one.setCRDs("servicemonitors")
	two := newFakeCluster(t, apps, podMonitorText(`{selector: {}, podMetricsEndpoints: [{port: http}]}`))
	two.setCRDs("podmonitors")
	start(t, New(NewObjects(), Options{}), Cluster(one.clients(), ClusterOptions{}), &first)
	start(t, New(NewObjects(), Options{}), Cluster(two.clients(), ClusterOptions{}), &second)
	eventuallyTargets(t, &first, webTargets)
	eventuallyTargets(t, &second, `podMonitor/default/m/0 10.0.0.1:8080 container=main endpoint=http job=default/m namespace=default pod=a`)
}

// TestClusterOverHTTP watches an API server that is one by its protocol: nothing
// of client-go is faked.
func TestClusterOverHTTP(t *testing.T) {
	var mtx sync.Mutex
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mtx.Lock()
		asked = append(asked, r.URL.Path+" "+strings.Split(r.Header.Get("Accept"), ";")[0])
		mtx.Unlock()
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/apis/monitoring.coreos.com/v1":
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
		case r.URL.Path == "/apis/autoscaling/v2/horizontalpodautoscalers":
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","message":"not for you","code":403}`)
		case r.URL.Query().Get("watch") != "" && r.URL.Query().Get("sendInitialEvents") != "":
			w.WriteHeader(http.StatusUnprocessableEntity) // an API server that does not know it
			_, _ = fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`)
		case r.URL.Query().Get("watch") != "":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case r.URL.Path == "/api/v1/pods":
			_, _ = fmt.Fprint(w, `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[{
				"metadata":{"name":"p","namespace":"default","resourceVersion":"1","annotations":{"prometheus.io/scrape":"true","prometheus.io/port":"9"}},
				"status":{"podIP":"10.0.0.1","phase":"Running"}}]}`)
		default:
			kind := map[string]string{"services": "ServiceList", "endpointslices": "EndpointSliceList"}[r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]]
			version := "v1"
			if kind == "EndpointSliceList" {
				version = "discovery.k8s.io/v1"
			}
			if kind == "" {
				kind, version = "PartialObjectMetadataList", "meta.k8s.io/v1"
			}
			_, _ = fmt.Fprintf(w, `{"kind":%q,"apiVersion":%q,"metadata":{"resourceVersion":"1"},"items":[]}`, kind, version)
		}
	}))
	defer server.Close()
	defer server.CloseClientConnections()

	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	clients, err := NewClients(&rest.Config{Host: server.URL, Transport: transport})
	require.NoError(t, err)
	src := Cluster(clients, ClusterOptions{})
	var a applied
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- New(NewObjects(), Options{Annotations: true}).Run(ctx, src, a.apply) }()
	eventuallyTargets(t, &a, `annotations/pods 10.0.0.1:9 job=default/p namespace=default pod=p`)
	require.Equal(t, []string{"list horizontalpodautoscalers: not for you"}, src.Problems())
	cancel()
	require.NoError(t, <-done)

	mtx.Lock()
	defer mtx.Unlock()
	require.True(t, slices.Contains(asked, "/api/v1/pods application/vnd.kubernetes.protobuf,application/json"), "core kinds come as protobuf: %v", asked)
	require.False(t, slices.ContainsFunc(asked, func(s string) bool { return strings.Contains(s, "secrets") || strings.Contains(s, "configmaps") }))
}

func TestNewClientsRejectsBadConfig(t *testing.T) {
	_, err := NewClients(&rest.Config{Host: "http://[::1"})
	require.ErrorContains(t, err, "make clients: ")
}
