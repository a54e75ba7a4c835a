package cluster

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
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"

	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/objects"
)

func TestTargets(t *testing.T) {
	c := newFakeCluster(t, samples.Web, samples.WebMonitor(), `{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {zone: z}}}`)
	c.setCRDs("servicemonitors", "podmonitors", "prometheusrules")
	o := objects.NewStore()
	d := discovery.New(o, discovery.Options{})
	src := New(c.clients(), Options{})
	require.False(t, src.HasSynced())
	var a runtest.Applied
	start(t, d, src, &a)
	runtest.EventuallyTargets(t, &a, samples.WebTargets)
	require.True(t, src.HasSynced())
	require.True(t, d.HasSynced())
	require.Empty(t, src.Problems())
	require.Equal(t, "z", objects.Get[corev1.Node](o, "n1").Labels["zone"])
	require.NotNil(t, objects.Get[corev1.Namespace](o, "default"))

	// A pod goes, a Service changes, a monitor comes.
	ctx := context.Background()
	slices := c.kube.DiscoveryV1().EndpointSlices("default")
	slice, err := slices.Get(ctx, "web-1", metav1.GetOptions{})
	require.NoError(t, err)
	slice = slice.DeepCopy()
	slice.Endpoints = slice.Endpoints[:1]
	_, err = slices.Update(ctx, slice, metav1.UpdateOptions{})
	require.NoError(t, err)
	runtest.EventuallyTargets(t, &a, strings.Split(strings.TrimSpace(samples.WebTargets), "\n")[0])

	require.NoError(t, c.kube.CoreV1().Pods("default").Delete(ctx, "web-a", metav1.DeleteOptions{}))
	runtest.EventuallyTargets(t, &a, `serviceMonitor/default/m/0 10.0.0.1:9090 endpoint=metrics job=web namespace=default service=web`)

	services := c.kube.CoreV1().Services("default")
	require.NoError(t, services.Delete(ctx, "web", metav1.DeleteOptions{}))
	runtest.EventuallyTargets(t, &a, ``)
}

func TestCRDsComeAndGo(t *testing.T) {
	c := newFakeCluster(t, samples.Web, samples.WebMonitor(), samples.PodMonitor(`{selector: {matchLabels: {version: v1}}, podMetricsEndpoints: [{port: prom}]}`))
	const podTargets = `podMonitor/default/m/0 10.0.0.1:9090 container=server endpoint=prom job=default/m namespace=default pod=web-a`
	d := discovery.New(objects.NewStore(), discovery.Options{})
	src := New(c.clients(), Options{CRDPoll: 20 * time.Millisecond})
	var a runtest.Applied
	start(t, d, src, &a)
	runtest.Eventually(t, d.HasSynced, "absent CRDs are not waited for")
	require.Empty(t, a.Last())

	c.setCRDs("podmonitors")
	runtest.EventuallyTargets(t, &a, podTargets)
	c.setCRDs("podmonitors", "servicemonitors")
	runtest.EventuallyTargets(t, &a, podTargets+samples.WebTargets)

	// A discovery that fails says nothing about the CRDs.
	c.setCRDError(errors.New("etcd is away"))
	runtest.Eventually(t, func() bool { return len(src.Problems()) == 1 })
	require.Equal(t, "discover monitoring.coreos.com/v1: etcd is away", src.Problems()[0])
	require.Len(t, a.Last(), 3)
	c.setCRDError(nil)
	runtest.Eventually(t, func() bool { return len(src.Problems()) == 0 })

	c.setCRDs("servicemonitors")
	runtest.EventuallyTargets(t, &a, samples.WebTargets)
	c.setCRDs()
	runtest.EventuallyTargets(t, &a, ``)
	c.setCRDs("servicemonitors")
	runtest.EventuallyTargets(t, &a, samples.WebTargets)
	require.True(t, src.HasSynced(), "once synced it stays so")
}

func TestWaitsForDiscovery(t *testing.T) {
	var log runtest.LogBuffer
	c := newFakeCluster(t, samples.Web, samples.WebMonitor())
	c.setCRDError(errors.New("etcd is away"))
	d := discovery.New(objects.NewStore(), discovery.Options{})
	src := New(c.clients(), Options{Logger: log.Logger(), CRDPoll: 20 * time.Millisecond})
	var a runtest.Applied
	start(t, d, src, &a)
	runtest.Eventually(t, func() bool { return len(src.Problems()) == 1 })
	time.Sleep(200 * time.Millisecond)
	require.False(t, src.HasSynced(), "it is not known whether there are monitors")
	require.Empty(t, a.All())
	c.setCRDs("servicemonitors")
	c.setCRDError(nil)
	runtest.EventuallyTargets(t, &a, samples.WebTargets)
	require.Equal(t, 1, log.Count("etcd is away"), "logged once")
	require.Equal(t, 1, log.Count("trouble with the API server is over"))
}

func TestWithoutPermission(t *testing.T) {
	t.Run("what is indispensable is waited for", func(t *testing.T) {
		var log runtest.LogBuffer
		c := newFakeCluster(t, samples.Web, samples.WebMonitor())
		c.setCRDs("servicemonitors")
		no := refuse(&c.kube.Fake, "list", "pods")
		d := discovery.New(objects.NewStore(), discovery.Options{})
		registry := prometheus.NewRegistry()
		src := New(c.clients(), Options{Logger: log.Logger(), Registerer: registry})
		var a runtest.Applied
		start(t, d, src, &a)
		runtest.Eventually(t, func() bool { return len(src.Problems()) == 1 })
		require.Equal(t, []string{"list pods: pods is forbidden: no RBAC rule"}, src.Problems())
		runtest.Eventually(t, func() bool { return testutil.ToFloat64(src.requestErrors.WithLabelValues("list", "pods")) > 0 })
		require.Zero(t, testutil.ToFloat64(src.requestErrors.WithLabelValues("list", "services")))
		problems, err := testutil.GatherAndLint(registry)
		require.NoError(t, err)
		require.Empty(t, problems)
		time.Sleep(300 * time.Millisecond)
		require.False(t, src.HasSynced())
		require.False(t, d.HasSynced())

		no.set(false)
		runtest.EventuallyTargets(t, &a, samples.WebTargets)
		require.Empty(t, src.Problems())
		require.Equal(t, 1, log.Count(`level=WARN msg="trouble with the API server" problem="list pods"`))
		require.Equal(t, 1, log.Count(`level=INFO msg="trouble with the API server is over" problem="list pods"`))
	})
	t.Run("without monitors neither their CRDs nor EndpointSlices are", func(t *testing.T) {
		c := newFakeCluster(t, samples.Web, samples.WebMonitor())
		c.setCRDs("servicemonitors")
		c.setCRDError(errors.New("etcd is away"))
		refuse(&c.kube.Fake, "list", "endpointslices")
		store := objects.NewStore()
		src := New(c.clients(), Options{NoMonitors: true})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- src.Run(ctx, store, func() {}) }()
		runtest.Eventually(t, src.HasSynced)
		require.Equal(t, []string{"list endpointslices: endpointslices is forbidden: no RBAC rule"}, src.Problems())
		pods, ok := store.Lister(corev1.Resource("pods"))
		require.True(t, ok)
		found, err := pods.List(labels.Everything())
		require.NoError(t, err)
		require.NotEmpty(t, found)
		cancel()
		require.NoError(t, <-done)
	})
	t.Run("the others are not", func(t *testing.T) {
		c := newFakeCluster(t, samples.Web, samples.WebMonitor(), samples.PodMonitor(`{selector: {}, podMetricsEndpoints: []}`))
		c.setCRDs("servicemonitors", "podmonitors")
		refuse(&c.kube.Fake, "list", "horizontalpodautoscalers")
		refuse(&c.dynamic.Fake, "list", "podmonitors")
		refuse(&c.metadata.Fake, "list", "nodes")
		d := discovery.New(objects.NewStore(), discovery.Options{})
		src := New(c.clients(), Options{})
		var a runtest.Applied
		start(t, d, src, &a)
		runtest.EventuallyTargets(t, &a, samples.WebTargets)
		require.True(t, src.HasSynced())
		var kinds []string
		for _, p := range src.Problems() {
			kinds = append(kinds, strings.SplitN(p, ":", 2)[0])
		}
		require.Equal(t, []string{"list horizontalpodautoscalers", "list nodes", "list podmonitors"}, kinds)

		c.setCRDs("servicemonitors") // a kind that is gone is no problem
	})
	t.Run("to watch", func(t *testing.T) {
		c := newFakeCluster(t, samples.Web, samples.WebMonitor())
		c.setCRDs("servicemonitors")
		no := refuse(&c.kube.Fake, "watch", "services")
		src := New(c.clients(), Options{})
		var a runtest.Applied
		start(t, discovery.New(objects.NewStore(), discovery.Options{}), src, &a)
		runtest.EventuallyTargets(t, &a, samples.WebTargets)
		runtest.Eventually(t, func() bool { return len(src.Problems()) == 1 })
		require.Contains(t, src.Problems()[0], "watch services: ")
		no.set(false)
		runtest.Eventually(t, func() bool { return len(src.Problems()) == 0 })
	})
	t.Run("a kind that is gone is no problem any more", func(t *testing.T) {
		c := newFakeCluster(t, samples.Web)
		c.setCRDs("podmonitors")
		refuse(&c.dynamic.Fake, "list", "podmonitors")
		src := New(c.clients(), Options{CRDPoll: 20 * time.Millisecond})
		var a runtest.Applied
		start(t, discovery.New(objects.NewStore(), discovery.Options{}), src, &a)
		runtest.Eventually(t, func() bool { return len(src.Problems()) == 1 })
		c.setCRDs()
		runtest.Eventually(t, func() bool { return len(src.Problems()) == 0 })
	})
}

func TestUndecodableMonitor(t *testing.T) {
	c := newFakeCluster(t, samples.Web, samples.WebMonitor())
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
	d := discovery.New(objects.NewStore(), discovery.Options{})
	var a runtest.Applied
	start(t, d, New(c.clients(), Options{}), &a)
	runtest.EventuallyTargets(t, &a, samples.WebTargets)
	require.Contains(t, runtest.Rejected(d.Monitors(), "broken-servicemonitors"), "decode: ")
	require.Contains(t, runtest.Rejected(d.Monitors(), "broken-podmonitors"), "decode: ")

	// It is mended.
	mended := broken("servicemonitors", "ServiceMonitor", "jobLabel")
	mended.SetResourceVersion("2")
	_, err := c.dynamic.Resource(monitoringv1.SchemeGroupVersion.WithResource("servicemonitors")).
		Namespace("default").Update(context.Background(), mended, metav1.UpdateOptions{})
	require.NoError(t, err)
	runtest.Eventually(t, func() bool { return runtest.Rejected(d.Monitors(), "broken-servicemonitors") == "" })
}

func TestRunsTwiceInOneProcess(t *testing.T) {
	var first, second runtest.Applied
	one := newFakeCluster(t, samples.Web, samples.WebMonitor())
	one.setCRDs("servicemonitors")
	two := newFakeCluster(t, samples.Apps, samples.PodMonitor(`{selector: {}, podMetricsEndpoints: [{port: http}]}`))
	two.setCRDs("podmonitors")
	start(t, discovery.New(objects.NewStore(), discovery.Options{}), New(one.clients(), Options{}), &first)
	start(t, discovery.New(objects.NewStore(), discovery.Options{}), New(two.clients(), Options{}), &second)
	runtest.EventuallyTargets(t, &first, samples.WebTargets)
	runtest.EventuallyTargets(t, &second, `podMonitor/default/m/0 10.0.0.1:8080 container=main endpoint=http job=default/m namespace=default pod=a`)
}

// TestClusterOverHTTP watches an API server that is one by its protocol: nothing
// of client-go is faked.
func TestOverHTTP(t *testing.T) {
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
	src := New(clients, Options{})
	var a runtest.Applied
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- discovery.New(objects.NewStore(), discovery.Options{Annotations: true}).Run(ctx, src, a.Apply)
	}()
	runtest.EventuallyTargets(t, &a, `annotations/pods 10.0.0.1:9 job=default/p namespace=default pod=p`)
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
