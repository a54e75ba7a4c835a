package adapter

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	customGroup   = "/apis/custom.metrics.k8s.io/"
	externalGroup = "/apis/external.metrics.k8s.io/"
)

// fleet has what custom-metrics-apiserver's own table of routes is about: four nodes and
// sixteen pods, of which a selector picks half.
func fleet(t *testing.T) *fixture {
	f := newFixture(t)
	f.namespaces("default", "empty")
	for i := range 4 {
		name := fmt.Sprintf("node-%d", i)
		f.add(schema.GroupResource{Resource: "nodes"}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: map[string]string{"zone": []string{"a", "b"}[i%2]},
		}})
		f.load(fmt.Sprintf(`load{namespace="monitoring",node=%[1]q,instance=%[1]q} 2x16`, name))
	}
	for i := range 16 {
		name, app := fmt.Sprintf("pod-%d", i), []string{"shop", "mail"}[i%2]
		f.pod(name, app)
		f.load(fmt.Sprintf(`http_requests_total{namespace="default",pod=%[1]q,service=%[2]q,instance=%[1]q,code="200"} 0+15x16`, name, app))
	}
	f.service("shop")
	return f
}

func send(t *testing.T, c *http.Client, method, url string) (int, []byte) {
	t.Helper()
	request, err := http.NewRequest(method, url, nil)
	require.NoError(t, err)
	response, err := c.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, body
}

// requireStatus checks that an answer other than 200 says so in the API's way.
func requireStatus(t *testing.T, want, code int, body []byte, name string) {
	t.Helper()
	require.Equal(t, want, code, "%s: %s", name, body)
	var status metav1.Status
	require.NoError(t, json.Unmarshal(body, &status), "%s: %s", name, body)
	require.Equal(t, "Status", status.Kind, name)
	require.Equal(t, metav1.StatusFailure, status.Status, name)
	require.Equal(t, want, int(status.Code), name)
	require.NotEmpty(t, status.Message, name)
}

// requireList checks that an answer is a list of so many values, as its version writes it.
func requireList(t *testing.T, version, metric string, want int, body []byte, name string) {
	t.Helper()
	var list struct {
		metav1.TypeMeta
		Items []struct {
			DescribedObject corev1.ObjectReference
			MetricName      string
			Metric          struct{ Name string }
			Value           string
		}
	}
	require.NoError(t, json.Unmarshal(body, &list), "%s: %s", name, body)
	require.Equal(t, metav1.TypeMeta{Kind: "MetricValueList", APIVersion: "custom.metrics.k8s.io/" + version}, list.TypeMeta, name)
	require.NotNil(t, list.Items, name)
	require.Len(t, list.Items, want, "%s: %s", name, body)
	described := map[corev1.ObjectReference]bool{}
	for _, item := range list.Items {
		names := []string{item.MetricName, item.Metric.Name}
		require.Equal(t, map[string][]string{"v1beta1": {metric, ""}, "v1beta2": {"", metric}}[version], names, name)
		require.NotEmpty(t, item.Value, name)
		described[item.DescribedObject] = true
	}
	require.Len(t, described, want, "%s: each object once", name)
}

// The routes and codes that custom-metrics-apiserver tests of itself, and more. Names that
// begin with "ours" are of what it, or prometheus-adapter, would answer otherwise.
func TestRoutesOfCustomMetrics(t *testing.T) {
	base := startServer(t, fleet(t))
	c := client(t)
	const ok, none, bad = http.StatusOK, http.StatusNotFound, http.StatusBadRequest
	for _, version := range []string{"v1beta1", "v1beta2"} {
		f := func(name, metric, path string, code, items int) {
			t.Helper()
			name = version + ": " + name
			got, body := get(t, c, base+customGroup+version+path)
			if code != ok {
				requireStatus(t, code, got, body, name)
				return
			}
			require.Equal(t, ok, got, "%s: %s", name, body)
			requireList(t, version, metric, items, body, name)
		}
		load := func(name, path string, code, items int) { t.Helper(); f(name, "load", path, code, items) }
		load("root: all", "/nodes/*/load", ok, 4)
		load("root: those of a selector", "/nodes/*/load?labelSelector=zone%3Da", ok, 2)
		load("root: one", "/nodes/node-0/load", ok, 1)
		load("root: a slash at the end", "/nodes/node-0/load/", ok, 1)
		load("root: singular", "/node/node-0/load", ok, 1)
		load("root: a resource alone", "/blah", none, 0)
		load("root: no name", "/nodes", none, 0)
		load("root: no metric", "/nodes/node-0", none, 0)
		load("root: a part too many", "/nodes/node-0/load/more", none, 0)
		load("root: no such metric", "/nodes/*/none", none, 0)
		load("root: no such object", "/nodes/none/load", none, 0)
		load("root: a selector that picks nothing", "/nodes/*/load?labelSelector=zone%3Dc", none, 0)
		load("through the namespace of the series, as the HPA of that namespace asks", "/namespaces/monitoring/nodes/node-1/load", ok, 1)
		load("through the namespace of the series: all", "/namespaces/monitoring/nodes/*/load", ok, 4)
		load("through another namespace", "/namespaces/default/nodes/node-1/load", none, 0)
		load("through another namespace: all", "/namespaces/default/nodes/*/load", ok, 0)

		requests := func(name, path string, code, items int) { t.Helper(); f(name, "http_requests", path, code, items) }
		const pods = "/namespaces/default/pods/"
		requests("namespaced: all", pods+"*/http_requests", ok, 16)
		requests("namespaced: all, escaped", pods+"%2A/http_requests", ok, 16)
		requests("namespaced: those of a selector", pods+"*/http_requests?labelSelector=app%3Dshop", ok, 8)
		requests("namespaced: those of a selector of several", pods+"*/http_requests?labelSelector=app+in+(shop,mail)", ok, 16)
		requests("namespaced: one", pods+"pod-0/http_requests", ok, 1)
		requests("namespaced: a slash at the end", pods+"pod-0/http_requests/", ok, 1)
		requests("namespaced: singular", "/namespaces/default/pod/pod-0/http_requests", ok, 1)
		requests("namespaced: with its group", "/namespaces/default/deployments.apps/shop/http_requests", ok, 1)
		requests("namespaced: without its group", "/namespaces/default/deployments/shop/http_requests", ok, 1)
		requests("namespaced: all of a group", "/namespaces/default/deployments.apps/*/http_requests", ok, 2)
		requests("namespaced: no metric", pods+"pod-0", none, 0)
		requests("namespaced: a part too many", pods+"pod-0/http_requests/more", none, 0)
		requests("namespaced: no such metric", pods+"*/none", none, 0)
		requests("namespaced: no such object", pods+"none/http_requests", none, 0)
		requests("namespaced: no such resource", "/namespaces/default/widgets.example.com/x/http_requests", none, 0)
		requests("namespaced: a version for a group", "/namespaces/default/pods.v1/pod-0/http_requests", none, 0)
		requests("namespaced: no such namespace", "/namespaces/none/pods/*/http_requests", none, 0)
		requests("namespaced: no namespace", "/namespaces//pods/*/http_requests", none, 0)
		requests("namespaced: every namespace", "/namespaces/*/pods/*/http_requests", none, 0)
		requests("namespaced: a selector that picks nothing", pods+"*/http_requests?labelSelector=app%3Dnone", none, 0)
		requests("namespaced: at the root", "/pods/pod-0/http_requests", none, 0)
		requests("namespaced: all, at the root", "/pods/*/http_requests", none, 0)
		requests("namespaced: a path of two parts", "/namespaces/default/pods", bad, 0)

		const namespace = "/namespaces/default/metrics/http_requests"
		requests("namespace", namespace, ok, 1)
		requests("namespace: a slash at the end", namespace+"/", ok, 1)
		requests("namespace: the library drops a part too many", namespace+"/more", ok, 1)
		requests("namespace: in itself", "/namespaces/default/namespaces/default/http_requests", ok, 1)
		requests("namespace: all that have it", "/namespaces/*/metrics/http_requests", ok, 1)
		requests("namespace: without series", "/namespaces/empty/metrics/http_requests", none, 0)
		requests("namespace: none such", "/namespaces/none/metrics/http_requests", none, 0)
		requests("namespace: no such metric", "/namespaces/default/metrics/none", none, 0)
		requests("namespace: no list of metrics", "/namespaces/default/metrics/*", none, 0)
		requests("namespace: no metric", "/namespaces/default/metrics", bad, 0)
		requests("namespace: not as other resources", "/namespaces/default/http_requests", bad, 0)

		requests("series: those of a selector", pods+"*/http_requests?metricLabelSelector=code%3D200", ok, 16)
		requests("series: none, of all", pods+"*/http_requests?metricLabelSelector=code%3D500", ok, 0)
		requests("series: none, of one", pods+"pod-0/http_requests?metricLabelSelector=code%3D500", none, 0)
		requests("series: an operator that there is not", pods+"*/http_requests?metricLabelSelector=code%3E1", none, 0)
		requests("ours: a bad selector of series is no internal error", pods+"*/http_requests?metricLabelSelector=)(", bad, 0)
		requests("ours: nor is it for a namespace", namespace+"?metricLabelSelector=)(", bad, 0)
		requests("a bad selector of objects", pods+"*/http_requests?labelSelector=)(", bad, 0)
		requests("a bad selector of objects, though it picks none", pods+"pod-0/http_requests?labelSelector=)(", bad, 0)
		requests("a selector does not count for one object", pods+"pod-0/http_requests?labelSelector=app%3Dnone", ok, 1)

		requests("parameters that are ignored", pods+"*/http_requests?limit=1&continue=x&resourceVersion=7&watch=true&timeoutSeconds=1&pretty=true&dryRun=All&other=x", ok, 16)
		requests("the object's own name", pods+"pod-0/http_requests?fieldSelector=metadata.name%3Dpod-0", ok, 1)
		requests("the library minds: another name", pods+"pod-0/http_requests?fieldSelector=metadata.name%3Dpod-1", bad, 0)
		requests("the library minds: another field", pods+"*/http_requests?fieldSelector=status.phase%3DRunning", bad, 0)
		requests("the library minds: no number", pods+"*/http_requests?limit=x", bad, 0)
		requests("the library minds: no duration", pods+"*/http_requests?timeout=x", bad, 0)
	}
}

// Whatever changes something is refused where there is something to read, and not found
// elsewhere.
func TestRoutesRefuseOtherMethods(t *testing.T) {
	base := startServer(t, fleet(t))
	c := client(t)
	readable := []string{externalGroup + "v1beta1", externalGroup + "v1beta1/namespaces/default/queue_length"}
	missing := []string{
		customGroup + "v1beta3/nodes/*/load", "/apis/metrics.k8s.io/v1beta1/nodes",
		externalGroup + "v1beta1/queue_length", externalGroup + "v1beta1/namespaces/default/queue/length",
	}
	for _, version := range []string{"v1beta1", "v1beta2"} {
		for _, path := range []string{
			"", "/nodes/*/load", "/nodes/node-0/load", "/namespaces/default/pods/*/http_requests",
			"/namespaces/default/pods/pod-0/http_requests", "/namespaces/default/metrics/http_requests", "/nodes/node-0/none",
		} {
			readable = append(readable, customGroup+version+path)
		}
		for _, path := range []string{"/nodes", "/nodes/node-0", "/namespaces/default/pods/pod-0", "/nodes/node-0/load/more"} {
			missing = append(missing, customGroup+version+path)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
		for _, path := range readable {
			code, body := send(t, c, method, base+path)
			requireStatus(t, http.StatusMethodNotAllowed, code, body, method+" "+path)
		}
	}
	for _, path := range readable {
		code, body := send(t, c, http.MethodHead, base+path)
		require.Equal(t, http.StatusMethodNotAllowed, code, path)
		require.Empty(t, body)
	}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		for _, path := range missing {
			code, _ := send(t, c, method, base+path)
			require.Equal(t, http.StatusNotFound, code, method+" "+path)
		}
	}
}

// What does not depend on which external metrics there are.
func TestRoutesOfExternalMetrics(t *testing.T) {
	base := startServer(t, fleet(t)) + externalGroup
	c := client(t)
	f := func(name, path string, want int) {
		t.Helper()
		code, body := get(t, c, base+path)
		requireStatus(t, want, code, body, name)
	}
	const none, bad = http.StatusNotFound, http.StatusBadRequest
	f("at the root", "v1beta1/none", none)
	f("no metric", "v1beta1/namespaces/default", none)
	f("a metric with a slash", "v1beta1/namespaces/default/queue/length", none)
	f("another version", "v1beta2/namespaces/default/none", none)
	f("prometheus-adapter: an unknown metric is no empty list", "v1beta1/namespaces/default/none", none)
	f("the same: with a selector", "v1beta1/namespaces/default/none?labelSelector=a%3Db", none)
	f("a bad selector", "v1beta1/namespaces/default/none?labelSelector=)(", bad)
	f("no watch", "v1beta1/namespaces/default/none?watch=true", http.StatusMethodNotAllowed)
}

// The library's own table has no discovery: it installs less than a whole server.
func TestRoutesOfDiscovery(t *testing.T) {
	base := startServer(t, fleet(t))
	c := client(t)
	f := func(path, kind, named string) {
		t.Helper()
		code, body := get(t, c, base+path)
		require.Equal(t, http.StatusOK, code, "%s: %s", path, body)
		var document struct {
			metav1.TypeMeta
			Name, GroupVersion string
		}
		require.NoError(t, json.Unmarshal(body, &document), path)
		require.Equal(t, kind, document.Kind, path)
		require.Equal(t, named, document.Name+document.GroupVersion, path)
	}
	for _, slash := range []string{"", "/"} {
		f("/apis"+slash, "APIGroupList", "")
		for group, versions := range map[string][]string{"custom.metrics.k8s.io": {"v1beta1", "v1beta2"}, "external.metrics.k8s.io": {"v1beta1"}} {
			f("/apis/"+group+slash, "APIGroup", group)
			for _, version := range versions {
				f("/apis/"+group+"/"+version+slash, "APIResourceList", group+"/"+version)
			}
		}
	}
	for _, path := range []string{
		"/api", "/api/v1", "/apis/metrics.k8s.io", "/apis/metrics.k8s.io/v1beta1",
		"/apis/custom.metrics.k8s.io/v1", "/apis/custom.metrics.k8s.io/v1beta3", "/apis/external.metrics.k8s.io/v1beta2",
	} {
		code, body := get(t, c, base+path)
		require.Equal(t, http.StatusNotFound, code, "%s: %s", path, body)
	}
}

// What is listed can be asked for.
func TestRoutesOfWhatDiscoveryLists(t *testing.T) {
	base := startServer(t, fleet(t)) + "/apis/"
	c := client(t)
	f := func(group, kind string, listed int) {
		t.Helper()
		_, body := get(t, c, base+group)
		var list metav1.APIResourceList
		require.NoError(t, json.Unmarshal(body, &list), group)
		require.NotNil(t, list.APIResources, "%s: a list without metrics is an empty one", group)
		require.GreaterOrEqual(t, len(list.APIResources), listed, group)
		for _, entry := range list.APIResources {
			require.Equal(t, kind, entry.Kind, entry.Name)
			require.Equal(t, metav1.Verbs{"get"}, entry.Verbs, entry.Name)
			resource, metric, ok := strings.Cut(entry.Name, "/")
			if !ok {
				continue // external metrics have no resource
			}
			path := resource + "/*/" + metric
			switch {
			case entry.Namespaced:
				path = "namespaces/default/" + path
			case resource == "namespaces":
				path = "namespaces/*/metrics/" + metric
			}
			code, body := get(t, c, base+group+"/"+path)
			require.Equal(t, http.StatusOK, code, "%s: %s", entry.Name, body)
		}
	}
	f("custom.metrics.k8s.io/v1beta1", "MetricValueList", 5)
	f("custom.metrics.k8s.io/v1beta2", "MetricValueList", 5)
	f("external.metrics.k8s.io/v1beta1", "ExternalMetricValueList", 0)
}
