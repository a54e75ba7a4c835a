package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/client-go/tools/cache"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/adapter/apiserver"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/tsdb"
)

// metricsAPI is promlet's API behind what a kube-apiserver adds to it.
type metricsAPI struct {
	t   *testing.T
	url string
	now time.Time // of the last sample
}

// startMetricsAPI serves two pods behind a Service, with 10 and 20 requests a second.
func startMetricsAPI(t *testing.T, options ...func(*adapter.Options)) *metricsAPI {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	start := time.Now().Truncate(time.Second).Add(-10 * time.Minute)
	a := &metricsAPI{t: t, now: start.Add(4 * time.Minute)}
	db, err := tsdb.Open(tsdb.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	app := db.AppenderV2(t.Context())
	for _, description := range []string{
		`http_requests_total{namespace="default",pod="sample-1",service="sample",instance="10.0.0.1:8080",code="200"} 0+150x16`,
		`http_requests_total{namespace="default",pod="sample-2",service="sample",instance="10.0.0.2:8080",code="200"} 0+300x16`,
		`heap_bytes{namespace="default",pod="sample-1",instance="10.0.0.1:8080"} 123456789.5x16`,
		`load{namespace="default",node="edge-1",instance="10.0.0.9:9100"} 0.25x16`,
		`queue_length{namespace="default",queue="mail",instance="10.0.0.1:8080"} 30x16`,
		`queue_length{namespace="default",queue="print",instance="10.0.0.1:8080"} 4x16`,
		`temperature{namespace="default",pod="sample-1",instance="10.0.0.1:8080"} NaN` + strings.Repeat(" NaN", 16),
	} {
		series, values, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(description)
		require.NoError(t, err, description)
		for i, v := range values {
			_, err := app.Append(0, series, 0, start.Add(time.Duration(i)*15*time.Second).UnixMilli(), v.Value, nil, nil, storage.AOptions{})
			require.NoError(t, err)
		}
	}
	require.NoError(t, app.Commit())
	opts := adapter.Options{
		DB: db, Objects: sampleObjects(t), Interval: 15 * time.Second, Now: func() time.Time { return a.now },
		Rules: rules.Set{Custom: rules.Defaults(rules.DefaultRateWindow), External: []rules.Rule{{
			SeriesQuery:  `queue_length{namespace!=""}`,
			Resources:    rules.Resources{Overrides: map[string]rules.GroupResource{"namespace": {Resource: "namespace"}}},
			MetricsQuery: "sum(<<.Series>>{<<.LabelMatchers>>}) by (queue)",
		}}},
	}
	for _, change := range options {
		change(&opts)
	}
	provider, err := adapter.NewProvider(opts)
	require.NoError(t, err)
	a.serve(provider)
	return a
}

// sampleObjects are what the metrics are about.
func sampleObjects(t *testing.T) objects.Lister {
	listers := map[schema.GroupResource]cache.Indexer{}
	add := func(gr schema.GroupResource, objects ...any) {
		listers[gr] = cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
		for _, o := range objects {
			require.NoError(t, listers[gr].Add(o))
		}
	}
	of := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{"app": "sample", "name": name}}
	}
	pod := func(name string) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: of(name), Spec: corev1.PodSpec{NodeName: "edge-1"}}
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "sample"}}
		return p
	}
	add(schema.GroupResource{Resource: "namespaces"}, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "empty"}})
	add(schema.GroupResource{Resource: "nodes"}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "edge-1"}})
	add(schema.GroupResource{Resource: "pods"}, pod("sample-1"), pod("sample-2"))
	add(schema.GroupResource{Resource: "services"}, &corev1.Service{ObjectMeta: of("sample")})
	slice := &discoveryv1.EndpointSlice{ObjectMeta: of("sample-x")}
	slice.Labels[discoveryv1.LabelServiceName] = "sample"
	for _, name := range []string{"sample-1", "sample-2"} {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: name}})
	}
	add(schema.GroupResource{Group: discoveryv1.GroupName, Resource: "endpointslices"}, slice)
	return func(gr schema.GroupResource) (cache.GenericLister, bool) {
		indexer, ok := listers[gr]
		if !ok {
			return nil, false
		}
		return cache.NewGenericLister(indexer, gr), true
	}
}

func (a *metricsAPI) serve(provider *adapter.Provider) {
	t := a.t
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	serving := genericoptions.NewSecureServingOptions()
	serving.Listener, serving.BindAddress = listener, net.IPv4(127, 0, 0, 1)
	serving.ServerCert.CertDirectory = ""
	server, err := apiserver.New(apiserver.Options{Provider: provider, Explain: provider.Explainer.Explain, SecureServing: serving})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		require.NoError(t, <-done)
	})
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "https", Host: listener.Addr().String()})
	}}
	mux := hpas(t)
	mux.Handle("/", proxy)
	mux.Handle("/apis/custom.metrics.k8s.io/", proxy)
	mux.Handle("/apis/external.metrics.k8s.io/", proxy)
	mux.HandleFunc("/api/v1/namespaces", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "items": [{"metadata": {"name": "default"}}, {"metadata": {"name": "empty"}}, {"metadata": {"name": "secret"}}]}`))
	})
	refuse := func(w http.ResponseWriter, r *http.Request) {
		path := strings.Split(r.URL.Path, "/")
		answerStatus(w, http.StatusForbidden, metav1.StatusReasonForbidden, path[6]+" is forbidden")
	}
	mux.HandleFunc("/apis/custom.metrics.k8s.io/v1beta2/namespaces/secret/", refuse)
	mux.HandleFunc("/apis/external.metrics.k8s.io/v1beta1/namespaces/secret/", refuse)
	front := httptest.NewTLSServer(mux)
	t.Cleanup(front.Close)
	a.url = front.URL
}

func answerStatus(w http.ResponseWriter, code int, reason metav1.StatusReason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
	})
}

// run returns what a command prints for people, and its error.
func (a *metricsAPI) run(args ...string) (string, error) {
	a.t.Helper()
	root := newRoot(newTopCommand(func() time.Time { return a.now.Add(7 * time.Second) }), newMetricsCommand(), newExplainCommand(), newHPACommand())
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(append(args, "--server", a.url, "--insecure-skip-tls-verify"))
	err := root.ExecuteContext(a.t.Context())
	return out.String(), err
}

func TestTop(t *testing.T) {
	a := startMetricsAPI(t)
	f := func(command, want string) {
		t.Helper()
		out, err := a.run(strings.Fields(command)...)
		require.NoError(t, err, command)
		require.Equal(t, strings.TrimPrefix(want, "\n"), out, command)
	}
	f("top http_requests", `
OBJECT            VALUE   WINDOW   AGE
services/sample   30      2m       7s
pods/sample-1     10      2m       7s
pods/sample-2     20      2m       7s
`)
	f("top http_requests --sort-by value --no-headers", `
services/sample   30   2m   7s
pods/sample-2     20   2m   7s
pods/sample-1     10   2m   7s
`)
	last := a.now.UTC().Format(time.RFC3339)
	f("top po heap_bytes -o wide", `
OBJECT          VALUE         WINDOW   AGE   QUANTITY        LAST SAMPLE
pods/sample-1   123456789.5   -        7s    123456789500m   `+last+`
`)
	f("top pods http_requests -l name=sample-2 --metric-selector code=200", `
OBJECT          VALUE   WINDOW   AGE
pods/sample-2   20      2m       7s
`)
	f("top sts/sample http_requests -n default", `
OBJECT                     VALUE   WINDOW   AGE
statefulsets.apps/sample   30      2m       7s
`)
	f("top ns http_requests", `
OBJECT               VALUE   WINDOW   AGE
namespaces/default   30      2m       7s
`)
	// It is listed for nothing but a node and its namespace.
	f("top load", `
OBJECT               VALUE   WINDOW   AGE
namespaces/default   0.25    -        7s
nodes/edge-1         0.25    -        7s
`)
	// Of a namespace that may not be read, nothing is said while there are values.
	f("top -A http_requests --sort-by value", `
NAMESPACE   OBJECT            VALUE   WINDOW   AGE
default     services/sample   30      2m       7s
default     pods/sample-2     20      2m       7s
default     pods/sample-1     10      2m       7s
`)
	f("top --external queue_length", `
LABELS            VALUE   WINDOW   AGE
{queue="mail"}    30      -        7s
{queue="print"}   4       -        7s
`)
	f("top --external queue_length -A --metric-selector queue=mail", `
NAMESPACE   LABELS           VALUE   WINDOW   AGE
default     {queue="mail"}   30      -        7s
`)
}

func TestTopGivesTheAPIsOwnItems(t *testing.T) {
	a := startMetricsAPI(t)
	for _, output := range []string{"json", "yaml"} {
		out, err := a.run("top", "http_requests", "-o", output)
		require.NoError(t, err)
		var list v1beta2.MetricValueList
		require.NoError(t, yaml.UnmarshalStrict([]byte(out), &list), out)
		require.Equal(t, "MetricValueList", list.Kind)
		require.Equal(t, customMetricsAPI, list.APIVersion)
		require.Len(t, list.Items, 3)
		require.Equal(t, "Service", list.Items[0].DescribedObject.Kind)
		require.Equal(t, int64(30), list.Items[0].Value.Value())
		require.Equal(t, a.now.Unix(), list.Items[0].Timestamp.Unix())
	}
	out, err := a.run("top", "--external", "queue_length", "-o", "json")
	require.NoError(t, err)
	require.Contains(t, out, `"ExternalMetricValueList"`)
	require.Contains(t, out, `"queue": "print"`)
}

// What there is no value of, the reason is told of.
func TestTopWithoutAValue(t *testing.T) {
	a := startMetricsAPI(t)
	f := func(command, want string) {
		t.Helper()
		out, err := a.run(strings.Fields(command)...)
		require.ErrorAs(t, err, new(*noValueError), command)
		require.ErrorContains(t, err, want, command)
		require.Empty(t, out, command)
	}
	f("top nothing_such", "no value: the server could not find the metric nothing_such for services: ")
	f("top services/none http_requests", "services none: there is no such object in namespace default")
	f("top pods http_requests -l app=other", `the selector "app=other" matches no pods in namespace default`)
	f("top pods temperature", "temperature of pods/sample-1: ")
	f("top pods temperature", "NaN")
	f("top pods http_requests --metric-selector code=500", "http_requests of pods/sample-1: ")
	f("top --external none", "the server could not find the metric none for namespace default: ")
	f("top deploy http_requests -l app=sample", "deployments.apps are known by the pods they own, not by their labels")
	f("top http_requests -n empty", "there are no services in namespace empty")
	f("top pods nothing_such -A", "pods is forbidden")

	_, err := a.run("top", "pods", "http_requests", "-n", "secret")
	require.EqualError(t, err, "ask the metrics API: pods is forbidden")
	_, err = a.run("top", "pods", "http_requests", "--metric-selector", "=")
	require.ErrorContains(t, err, `metricLabelSelector "="`)
}

func TestTopRefusesWhatIsNoQuestion(t *testing.T) {
	a := startMetricsAPI(t)
	f := func(command, want string) {
		t.Helper()
		out, err := a.run(strings.Fields(command)...)
		require.ErrorContains(t, err, want, command)
		require.Empty(t, out, command)
	}
	f("top", "give a METRIC, or RESOURCE[/NAME] and METRIC")
	f("top pods sample-1 http_requests", "give a METRIC, or RESOURCE[/NAME] and METRIC")
	f("top pods", "pods is a resource: give a METRIC, too, such as pods http_requests")
	f("top pods/sample-1", "pods/sample-1 is an object: give a METRIC, too")
	f("top pods/ http_requests", "name the object after the slash")
	f("top pods a/b", `invalid name "a/b": it may not contain '/'`)
	f("top pods/a/.. http_requests", `invalid name "a/.."`)
	f("top pods .. -n x", `invalid name ".."`)
	f("top widgets http_requests", "unknown resource widgets: kubectl api-resources")
	f("top --external services queue_length", "give a METRIC alone")
	f("top --external queue_length -l a=b", "--selector: external metrics have no object")
	f("top pods/sample-1 http_requests -l a=b", "--selector: leave out either it or the NAME")
	f("top ns http_requests -l a=b", "--selector: leave it out: a namespace is read by its name")
	f("top http_requests --sort-by cpu", "--sort-by=cpu: choose name or value")
	f("top http_requests -o xml", "--output=xml: choose table, wide, json or yaml")
	f("top http_requests -w --interval 10ms", "--interval=10ms: give 1s or more")

	out, err := a.run("top", "pods", "")
	require.ErrorContains(t, err, "name the metric", out)
}

// What a cluster without promlet answers, and one whose promlet is away.
func TestClientsWithoutPromlet(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	var answer http.HandlerFunc
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	defer server.Close()
	a := &metricsAPI{t: t, url: server.URL, now: time.Now()}
	f := func(want string) {
		t.Helper()
		for _, command := range []string{"top http_requests", "top pods http_requests", "top pods http_requests -w", "metrics", "explain pods http_requests"} {
			_, err := a.run(strings.Fields(command)...)
			require.ErrorContains(t, err, want, command)
			require.NotContains(t, err.Error(), "no value", command)
		}
	}
	answer = http.NotFound
	f("custom.metrics.k8s.io/v1beta2 is not served (the server could not find the requested resource): install promlet, or see kubectl get apiservice v1beta2.custom.metrics.k8s.io")
	_, err := a.run("explain", "--external", "queue_length")
	require.ErrorContains(t, err, "external.metrics.k8s.io/v1beta1 is not served (the server could not find the requested resource): promlet serves it with externalRules in its configuration and the component external-metrics; see kubectl get apiservice v1beta1.external.metrics.k8s.io")
	answer = func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "service unavailable", http.StatusServiceUnavailable)
	}
	f("see kubectl get apiservice v1beta2.custom.metrics.k8s.io")
	answer = func(w http.ResponseWriter, _ *http.Request) {
		answerStatus(w, http.StatusForbidden, metav1.StatusReasonForbidden, "viewer may not")
	}
	f("viewer may not")
	_, err = a.run("top", "-A", "pods", "http_requests")
	require.EqualError(t, err, "list namespaces for --all-namespaces: viewer may not: give --namespace instead")

	a.url = "https://127.0.0.1:" + freePort(t)
	f("connection refused")
	a.url = ""
	f("find the API server")
}

// untilSecond cancels when a header is written for the second time.
type untilSecond struct {
	bytes.Buffer
	cancel context.CancelFunc
}

func (w *untilSecond) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if strings.Count(w.String(), "AGE") == 2 {
		w.cancel()
	}
	return n, err
}

func TestTopWatchesUntilItIsInterrupted(t *testing.T) {
	a := startMetricsAPI(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out := &untilSecond{cancel: cancel}
	cmd := newTopCommand(func() time.Time { return a.now })
	cmd.SetOut(out)
	cmd.SetArgs([]string{"pods/sample-1", "http_requests", "-w", "--interval", "1s", "--server", a.url, "--insecure-skip-tls-verify"})
	require.NoError(t, cmd.ExecuteContext(ctx))
	const table = "OBJECT          VALUE   WINDOW   AGE\npods/sample-1   10      2m       0s\n"
	require.Equal(t, table+"\n"+table, out.String())
}

// A value that is not there yet is waited for.
func TestTopWatchesWhatHasNoValue(t *testing.T) {
	a := startMetricsAPI(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	complaints := &untilSecond{cancel: cancel}
	cmd := newTopCommand(func() time.Time { return a.now })
	cmd.SetErr(complaints)
	cmd.SetArgs([]string{"pods/AGE", "http_requests", "-w", "--interval", "1s", "--server", a.url, "--insecure-skip-tls-verify"})
	require.NoError(t, cmd.ExecuteContext(ctx))
	require.Equal(t, 2, strings.Count(complaints.String(), "promlet: no value: "), complaints.String())
}

// Of several reasons, those about the name of the metric are printed; the others name the object.
func TestTopPrefersReasonsAboutTheName(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	explanation := func(object, reason, link string) string {
		return `{"metric": "depth", "object": "` + object + `", "reason": "` + reason + `", "lacking": "a", "steps": [{"link": "` + link + `", "state": "broken", "text": "x"}]}`
	}
	pods := ""
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		explaining := r.URL.Query().Has("explain")
		switch services := strings.Contains(r.URL.Path, "/services/"); {
		case !strings.Contains(r.URL.Path, "/namespaces/"): // the discovery document
			_, _ = w.Write([]byte(`{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "custom.metrics.k8s.io/v1beta2", "resources": []}`))
		case !explaining && services:
			answerStatus(w, http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the metric depth for services: target is down")
		case !explaining:
			_, _ = w.Write([]byte(`{"items": []}`))
		case services:
			_, _ = w.Write([]byte(explanation("services", "target is down", "targets")))
		default:
			_, _ = w.Write([]byte(pods))
		}
	}))
	defer server.Close()
	a := &metricsAPI{t: t, url: server.URL, now: time.Now()}
	pods = explanation("pods", "depth_total is served as depths: use that name", "rule")
	_, err := a.run("top", "depth")
	require.EqualError(t, err, "no value: depth of pods: depth_total is served as depths: use that name")
	pods = explanation("pods", "it is not ready", "endpoints")
	_, err = a.run("top", "depth")
	require.EqualError(t, err, "no value: depth of services/a: target is down\n  depth of pods/a: it is not ready")
}
