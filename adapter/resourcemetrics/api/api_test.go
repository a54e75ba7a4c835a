package api_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/healthz"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/metrics/pkg/apis/metrics"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
	"k8s.io/metrics/pkg/client/clientset/versioned"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter/apiserver"
	"github.com/promlet/promlet/adapter/resourcemetrics"
	"github.com/promlet/promlet/adapter/resourcemetrics/api"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The apiserver library starts these with the first server of a process and has no way to end them.
		goleak.IgnoreAnyFunction("k8s.io/apimachinery/pkg/util/wait.Forever"),
	)
}

// noMetrics has no custom or external metrics.
type noMetrics struct{ provider.MetricsProvider }

func (noMetrics) ListAllMetrics() []provider.CustomMetricInfo           { return nil }
func (noMetrics) ListAllExternalMetrics() []provider.ExternalMetricInfo { return nil }

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// report stores a sample of the containers of a pod, "namespace/pod/container", and of the node.
func report(t testing.TB, s *resourcemetrics.Store, node string, second float64, containers ...string) {
	b := &resourcemetrics.Batch{}
	ms := epoch.UnixMilli() + int64(second*1000)
	for i, c := range containers {
		of := strings.Split(c, "/")
		add := func(name string, value float64) {
			b.Add(labels.FromStrings(model.MetricNameLabel, name, "namespace", of[0], "pod", of[1], "container", of[2]), ms, value)
		}
		add("container_cpu_usage_seconds_total", second/float64(10*(i+1)))
		add("container_memory_working_set_bytes", float64(int(1)<<(20+i)))
	}
	b.Add(labels.FromStrings(model.MetricNameLabel, "node_cpu_usage_seconds_total"), ms, second*2)
	b.Add(labels.FromStrings(model.MetricNameLabel, "node_memory_working_set_bytes"), ms, 5<<20)
	if node == "node2" {
		b.Add(labels.FromStrings(model.MetricNameLabel, "node_swap_usage_bytes"), ms, 1<<20)
	}
	require.NoError(t, s.Put(node, b))
}

// cluster has three nodes, of which node3 does not answer, and pods on them.
func cluster(t *testing.T) api.ResourceMetrics {
	store := resourcemetrics.NewStore(resourcemetrics.Options{})
	store.SetNodes([]string{"node1", "node2", "node3"})
	for _, second := range []float64{10, 25} {
		report(t, store, "node1", second, "other/pod1/c1", "other/pod1/c2", "other/pod2/c1", "other/gone/c1")
		report(t, store, "node2", second, "testvalue/pod3/c1")
	}
	store.Failed("node3", errors.New("connection refused"))
	podIndex := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	nodeIndex := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
	for i, name := range []string{"node3", "node1", "node2"} {
		require.NoError(t, nodeIndex.Add(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"zone": fmt.Sprint(i % 2)}}}))
	}
	for _, of := range []string{"testvalue/pod4/node1", "other/pod2/node1", "testvalue/pod3/node2", "other/pod1/node1", "other/pod5/node3"} {
		parts := strings.Split(of, "/")
		require.NoError(t, podIndex.Add(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: parts[0], Name: parts[1], Labels: map[string]string{"app": parts[1]}},
			Spec:       corev1.PodSpec{NodeName: parts[2]},
		}))
	}
	return api.ResourceMetrics{Source: store, Lister: func(gr schema.GroupResource) (cache.GenericLister, bool) {
		switch gr {
		case corev1.Resource("pods"):
			return cache.NewGenericLister(podIndex, gr), true
		case corev1.Resource("nodes"):
			return cache.NewGenericLister(nodeIndex, gr), true
		}
		return nil, false
	}}
}

// serve serves on a loopback port until the test ends and returns the address.
func serve(t testing.TB, resourceMetrics *api.ResourceMetrics, checks ...healthz.HealthChecker) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	serving := genericoptions.NewSecureServingOptions()
	serving.Listener, serving.BindAddress, serving.ServerCert.CertDirectory = listener, nil, ""
	server, err := apiserver.New(apiserver.Options{Provider: noMetrics{}, ResourceMetrics: resourceMetrics, SecureServing: serving, ReadyChecks: checks})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return "https://" + listener.Addr().String()
}

// client trusts any certificate: the server makes its own.
func client(t testing.TB) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// get returns the status and body of a request.
func get(t *testing.T, url, accept string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	request.Header.Set("Accept", accept)
	response, err := client(t).Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

func namesOf(list *v1beta1.PodMetricsList) (names []string) {
	for _, item := range list.Items {
		names = append(names, item.Namespace+"/"+item.Name)
	}
	return names
}

// The typed client, which the HPA controller and kubectl top use: the cases of metrics-server's tests of its API.
func TestClient(t *testing.T) {
	served := cluster(t)
	clientset, err := versioned.NewForConfigAndClient(&rest.Config{Host: serve(t, &served)}, client(t))
	require.NoError(t, err)
	ctx := t.Context()
	pods := func(want []string, namespace, labelSelector, fieldSelector string) {
		t.Helper()
		list, err := clientset.MetricsV1beta1().PodMetricses(namespace).List(ctx, metav1.ListOptions{LabelSelector: labelSelector, FieldSelector: fieldSelector})
		require.NoError(t, err)
		require.Equal(t, want, namesOf(list))
	}
	pods([]string{"other/pod1", "other/pod2", "testvalue/pod3"}, "", "", "")
	pods([]string{"other/pod1", "other/pod2"}, "other", "", "")
	pods(nil, "", "", "metadata.namespace=unknown")
	pods([]string{"testvalue/pod3"}, "", "", "metadata.namespace=testvalue")
	pods([]string{"other/pod1"}, "", "app=pod1", "")
	pods([]string{"testvalue/pod3"}, "", "app!=pod1", "metadata.name=pod3")
	pods([]string{"other/pod2", "testvalue/pod3"}, "", "app in (pod2, pod3, pod4)", "")
	_, err = clientset.MetricsV1beta1().PodMetricses("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=node1"})
	require.True(t, apierrors.IsBadRequest(err), "%v", err)

	pod, err := clientset.MetricsV1beta1().PodMetricses("other").Get(ctx, "pod1", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"app": "pod1"}, pod.Labels)
	require.True(t, epoch.Add(25*time.Second).Equal(pod.Timestamp.Time))
	require.Equal(t, 15*time.Second, pod.Window.Duration)
	require.Len(t, pod.Containers, 2)
	require.Equal(t, "c1", pod.Containers[0].Name)
	require.Equal(t, "100m", pod.Containers[0].Usage.Cpu().String())
	require.Equal(t, "2Mi", pod.Containers[1].Usage.Memory().String())
	v1, err := clientset.MetricsV1().PodMetricses("other").Get(ctx, "pod1", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, pod.Containers[1].Usage, v1.Containers[1].Usage)

	missing := func(want, namespace, name string) {
		t.Helper()
		_, err := clientset.MetricsV1beta1().PodMetricses(namespace).Get(ctx, name, metav1.GetOptions{})
		require.True(t, apierrors.IsNotFound(err))
		require.EqualError(t, err, want)
	}
	missing(`podmetrics.metrics.k8s.io "testvalue/pod4" not found: the kubelet of node "node1" does not report the pod`, "testvalue", "pod4")
	missing(`podmetrics.metrics.k8s.io "other/pod5" not found: scraping the kubelet of node "node3" failed: connection refused`, "other", "pod5")
	missing(`pods "gone" not found`, "other", "gone")
}

func TestNodes(t *testing.T) {
	served := cluster(t)
	clientset, err := versioned.NewForConfigAndClient(&rest.Config{Host: serve(t, &served)}, client(t))
	require.NoError(t, err)
	nodes := func(want []string, options metav1.ListOptions) {
		t.Helper()
		list, err := clientset.MetricsV1beta1().NodeMetricses().List(t.Context(), options)
		require.NoError(t, err)
		var names []string
		for _, item := range list.Items {
			names = append(names, item.Name)
		}
		require.Equal(t, want, names)
	}
	nodes([]string{"node1", "node2"}, metav1.ListOptions{})
	nodes([]string{"node1"}, metav1.ListOptions{LabelSelector: "zone=1"})
	nodes([]string{"node2"}, metav1.ListOptions{FieldSelector: "metadata.name=node2"})
	node, err := clientset.MetricsV1beta1().NodeMetricses().Get(t.Context(), "node1", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "2", node.Usage.Cpu().String())
	require.Equal(t, "5Mi", node.Usage.Memory().String())
	_, err = clientset.MetricsV1beta1().NodeMetricses().Get(t.Context(), "node3", metav1.GetOptions{})
	require.EqualError(t, err, `nodemetrics.metrics.k8s.io "node3" not found: scraping the kubelet of node "node3" failed: connection refused`)
	_, err = clientset.MetricsV1beta1().NodeMetricses().Get(t.Context(), "node4", metav1.GetOptions{})
	require.EqualError(t, err, `nodes "node4" not found`)
	_, err = clientset.MetricsV1beta1().NodeMetricses().Watch(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsMethodNotSupported(err), "%v", err)
}

// What kubectl get asks for, and prints.
func TestTables(t *testing.T) {
	const accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
	served := cluster(t)
	server := serve(t, &served)
	f := func(path, want string) {
		t.Helper()
		code, body := get(t, server+"/apis/metrics.k8s.io/"+path, accept)
		require.Equal(t, http.StatusOK, code, body)
		var table metav1.Table
		require.NoError(t, json.Unmarshal([]byte(body), &table))
		require.Equal(t, "Table", table.Kind)
		var printed strings.Builder
		for _, column := range table.ColumnDefinitions {
			printed.WriteString(column.Name + " ")
		}
		for _, row := range table.Rows {
			printed.WriteString("\n" + strings.Trim(fmt.Sprint(row.Cells), "[]"))
			require.Contains(t, string(row.Object.Raw), `"PartialObjectMetadata"`)
		}
		require.Equal(t, want, printed.String())
	}
	f("v1beta1/namespaces/other/pods", "Name cpu memory Window \npod1 150m 3Mi 15s\npod2 33333333n 4Mi 15s")
	f("v1/namespaces/other/pods/pod2", "Name cpu memory Window \npod2 33333333n 4Mi 15s")
	f("v1beta1/nodes", "Name cpu memory swap Window \nnode1 2 5Mi <unknown> 15s\nnode2 2 5Mi 1Mi 15s")
	f("v1beta1/nodes/node1", "Name cpu memory Window \nnode1 2 5Mi 15s")
	f("v1beta1/namespaces/empty/pods", "Name cpu memory Window ")
}

// Clients find the group in both forms of discovery, and it is not there unless asked for.
func TestDiscovery(t *testing.T) {
	served := cluster(t)
	server := serve(t, &served)
	without := serve(t, nil)
	code, body := get(t, server+"/apis/metrics.k8s.io/v1beta1", "application/json")
	require.Equal(t, http.StatusOK, code)
	var resources metav1.APIResourceList
	require.NoError(t, json.Unmarshal([]byte(body), &resources))
	require.Equal(t, []metav1.APIResource{
		{Name: "nodes", Kind: "NodeMetrics", Verbs: metav1.Verbs{"get", "list"}},
		{Name: "pods", Kind: "PodMetrics", Namespaced: true, Verbs: metav1.Verbs{"get", "list"}},
	}, resources.APIResources)
	code, _ = get(t, without+"/apis/metrics.k8s.io/v1beta1", "application/json")
	require.Equal(t, http.StatusNotFound, code)

	groups := func(server string) (names []string) {
		_, body := get(t, server+"/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
		var list apidiscoveryv2.APIGroupDiscoveryList
		require.NoError(t, json.Unmarshal([]byte(body), &list))
		for _, group := range list.Items {
			for _, version := range group.Versions {
				if group.Name == metrics.GroupName {
					names = append(names, version.Version)
					require.Len(t, version.Resources, 2)
				}
			}
		}
		_, body = get(t, server+"/apis", "application/json")
		require.Equal(t, names != nil, strings.Contains(body, `"metrics.k8s.io/v1beta1"`))
		return names
	}
	require.Equal(t, []string{"v1", "v1beta1"}, groups(server))
	require.Empty(t, groups(without))
}

// An answer may be in protobuf. A list without a watched resource, and a bad selector, are errors with a text.
func TestOtherAnswers(t *testing.T) {
	served := cluster(t)
	server := serve(t, &served, healthz.NamedCheck("resource-metrics", func(*http.Request) error { return served.Source.(*resourcemetrics.Store).Ready() }))
	code, body := get(t, server+"/apis/metrics.k8s.io/v1beta1/pods", "application/vnd.kubernetes.protobuf")
	require.Equal(t, http.StatusOK, code)
	require.True(t, strings.HasPrefix(body, "k8s\x00"))
	code, body = get(t, server+"/apis/metrics.k8s.io/v1beta1/pods?labelSelector=a%3D%3D%3D", "application/json")
	require.Equal(t, http.StatusBadRequest, code)
	require.Contains(t, body, "labelSelector")
	served.Source.(*resourcemetrics.Store).SetNodes([]string{"node1", "node2", "node3", "new"})
	_, body = get(t, server+"/readyz", "")
	require.Contains(t, body, "1 of 4 kubelets have not reported two samples yet")

	served.Lister = func(schema.GroupResource) (cache.GenericLister, bool) { return nil, false }
	server = serve(t, &served)
	code, body = get(t, server+"/apis/metrics.k8s.io/v1beta1/nodes", "application/json")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, body, "nodes are not watched")
}
