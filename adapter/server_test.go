package adapter

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/server/healthz"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta1"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"

	"github.com/promlet/promlet/adapter/apiserver"
)

// startServer serves the fixture on a loopback port until the test ends and
// returns its address.
func startServer(t *testing.T, f *fixture, checks ...healthz.HealthChecker) string {
	t.Helper()
	return serve(t, apiserver.Options{Provider: f.Provider, Explain: f.Explainer.Explain, ReadyChecks: checks})
}

// serve serves on a loopback port until the test ends and returns the address.
func serve(t *testing.T, opts apiserver.Options) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	opts.SecureServing = genericoptions.NewSecureServingOptions()
	opts.SecureServing.Listener = listener
	opts.SecureServing.BindAddress = net.IPv4(127, 0, 0, 1)
	opts.SecureServing.ServerCert.CertDirectory = ""
	server, err := apiserver.New(opts)
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
func client(t *testing.T) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

func get(t *testing.T, c *http.Client, url string) (int, []byte) {
	t.Helper()
	response, err := c.Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, body
}

func TestServerAnswersBothVersions(t *testing.T) {
	f := scenario(t)
	base := startServer(t, f) + "/apis/custom.metrics.k8s.io/"
	c := client(t)

	code, body := get(t, c, base+"v1beta1/namespaces/default/services/sample/http_requests")
	require.Equal(t, http.StatusOK, code, string(body))
	var old v1beta1.MetricValueList
	require.NoError(t, json.Unmarshal(body, &old))
	require.Equal(t, "MetricValueList", old.Kind)
	require.Equal(t, "custom.metrics.k8s.io/v1beta1", old.APIVersion)
	require.Len(t, old.Items, 1)
	require.Equal(t, "http_requests", old.Items[0].MetricName)
	require.Equal(t, int64(120), *old.Items[0].WindowSeconds)
	require.Equal(t, int64(30000), old.Items[0].Value.MilliValue())
	require.Equal(t, "v1", old.Items[0].DescribedObject.APIVersion)
	require.Contains(t, string(body), `"window":120`)

	code, body = get(t, c, base+"v1beta2/namespaces/default/services/sample/http_requests")
	require.Equal(t, http.StatusOK, code, string(body))
	var recent v1beta2.MetricValueList
	require.NoError(t, json.Unmarshal(body, &recent))
	require.Equal(t, "custom.metrics.k8s.io/v1beta2", recent.APIVersion)
	require.Equal(t, "http_requests", recent.Items[0].Metric.Name)
	require.Contains(t, string(body), `"windowSeconds":120`)

	code, body = get(t, c, base+"v1beta2/namespaces/default/pods/*/http_requests?labelSelector=app%3Dsample&metricLabelSelector=code%3D200")
	require.Equal(t, http.StatusOK, code, string(body))
	require.NoError(t, json.Unmarshal(body, &recent))
	require.Len(t, recent.Items, 2)
	require.Equal(t, map[string]string{"code": "200"}, recent.Items[1].Metric.Selector.MatchLabels)

	code, body = get(t, c, base+"v1beta1/namespaces/default/metrics/http_requests")
	require.Equal(t, http.StatusOK, code, string(body))
	require.NoError(t, json.Unmarshal(body, &old))
	require.Equal(t, "Namespace", old.Items[0].DescribedObject.Kind)
	require.Equal(t, "default", old.Items[0].DescribedObject.Name)
}

func TestServerDiscovery(t *testing.T) {
	base := startServer(t, scenario(t))
	c := client(t)
	for _, version := range []string{"v1beta1", "v1beta2"} {
		code, body := get(t, c, base+"/apis/custom.metrics.k8s.io/"+version)
		require.Equal(t, http.StatusOK, code, string(body))
		var list metav1.APIResourceList
		require.NoError(t, json.Unmarshal(body, &list))
		require.Contains(t, list.APIResources, metav1.APIResource{Name: "services/http_requests", Namespaced: true, Kind: "MetricValueList", Verbs: metav1.Verbs{"get"}})
		require.Contains(t, list.APIResources, metav1.APIResource{Name: "namespaces/http_requests", Kind: "MetricValueList", Verbs: metav1.Verbs{"get"}})
	}
	// What kube-apiserver's aggregation layer asks for first.
	request, err := http.NewRequest(http.MethodGet, base+"/apis", nil)
	require.NoError(t, err)
	request.Header.Set("Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
	response, err := c.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	var groups apidiscoveryv2.APIGroupDiscoveryList
	require.NoError(t, json.NewDecoder(response.Body).Decode(&groups))
	require.Len(t, groups.Items, 2)
	require.Equal(t, "external.metrics.k8s.io", groups.Items[1].Name)
	require.Empty(t, groups.Items[1].Versions[0].Resources)
	require.Equal(t, "custom.metrics.k8s.io", groups.Items[0].Name)
	require.Len(t, groups.Items[0].Versions, 2)
	services := groups.Items[0].Versions[0].Resources[2]
	require.Equal(t, "services", services.Resource)
	require.Equal(t, "http_requests", services.Subresources[0].Subresource)

	code, body := get(t, c, base+"/apis")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, string(body), "custom.metrics.k8s.io")
}

// Whatever a client sends is answered, and the server goes on.
func TestServerSurvivesItsClients(t *testing.T) {
	base := startServer(t, scenario(t))
	c := client(t)
	f := func(path string, want int) {
		t.Helper()
		code, body := get(t, c, base+path)
		require.Equal(t, want, code, "%s: %s", path, body)
		var status metav1.Status
		require.NoError(t, json.Unmarshal(body, &status), "%s: %s", path, body)
		require.NotEmpty(t, status.Message)
	}
	const ns = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/"
	f(ns+"services/sample/none", http.StatusNotFound)
	f(ns+"services/none/http_requests", http.StatusNotFound)
	f(ns+"widgets/none/http_requests", http.StatusNotFound)
	f(ns+"pods/*/http_requests?labelSelector=)(", http.StatusBadRequest)
	f(ns+"pods/*/http_requests?metricLabelSelector=)(", http.StatusBadRequest)
	f(ns+"pods/*/http_requests?metricLabelSelector=a%3E1", http.StatusNotFound)
	f(ns+"pods/*/http_requests?labelSelector=app%3Dnone", http.StatusNotFound)
	f(ns+"pods/%22%7D/http_requests", http.StatusNotFound)
	f("/apis/custom.metrics.k8s.io/v1beta1/pods/sample-1/http_requests", http.StatusNotFound)
	code, _ := get(t, c, base+ns+"pods/*/http_requests")
	require.Equal(t, http.StatusOK, code)
}

func TestServerBoundsSelectors(t *testing.T) {
	base := startServer(t, scenario(t))
	c := client(t)
	const pods = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/http_requests?"
	f := func(path, selector string, want int, message string) {
		t.Helper()
		code, body := get(t, c, base+path+url.QueryEscape(selector))
		require.Equal(t, want, code, string(body))
		require.Contains(t, string(body), message)
		require.Less(t, len(body), 1024, "it is not repeated")
	}
	requirements := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("absent-%d!=x", i))
		}
		return strings.Join(all, ",")
	}
	values := "app in (sample," + strings.Repeat("x,", 7000) + "y)"
	for _, parameter := range []string{"labelSelector=", "metricLabelSelector="} {
		name := strings.TrimSuffix(parameter, "=")
		f(pods+parameter, requirements(51), http.StatusBadRequest, name+" has 51 requirements, more than 50: select by fewer labels")
		f(pods+parameter, requirements(5000), http.StatusBadRequest, name+" has 73889 bytes, more than 16384")
		f(pods+parameter, strings.Repeat("x", 900<<10), http.StatusBadRequest, name+" has 921600 bytes, more than 16384: select by fewer labels or values")
		f(pods+"explain=true&"+parameter, requirements(51), http.StatusBadRequest, name+" has 51 requirements")
		f(pods+parameter+"a%3Db&"+parameter, requirements(51), http.StatusBadRequest, name+" has 51 requirements")
		f("/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue?"+parameter, requirements(51), http.StatusBadRequest, name+" has 51 requirements")
	}
	const noValue = "a selector cannot have the value org/model-7b of model: only letters, digits, -, _ and . are allowed; write the matcher in the metricsQuery of a rule, or change the value by metricRelabelings"
	f(pods+"metricLabelSelector=", "model=org/model-7b", http.StatusBadRequest, noValue)
	f(pods+"explain=true&metricLabelSelector=", "model in (org/model-7b)", http.StatusBadRequest, noValue)
	f("/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue?labelSelector=", "model=org/model-7b", http.StatusBadRequest, noValue)
	f(pods+"labelSelector=", "model=org/model-7b", http.StatusBadRequest, "a valid label must be")
	for _, selector := range []string{requirements(50), values} {
		code, body := get(t, c, base+pods+"labelSelector="+url.QueryEscape(selector))
		require.Equal(t, http.StatusOK, code, string(body))
		code, body = get(t, c, base+pods+"metricLabelSelector="+url.QueryEscape(selector))
		require.Equal(t, http.StatusOK, code, string(body))
	}
}

func TestServerIsReadyWhenItsChecksAre(t *testing.T) {
	fault := errors.New("pods are not listed yet")
	base := startServer(t, scenario(t), healthz.NamedCheck("discovery", func(*http.Request) error { return fault }))
	c := client(t)
	for _, path := range []string{"/readyz", "/readyz/discovery"} {
		code, body := get(t, c, base+path)
		require.Equal(t, http.StatusInternalServerError, code)
		require.Contains(t, string(body), "pods are not listed yet", path)
	}
	code, body := get(t, c, base+"/readyz?verbose")
	require.Equal(t, http.StatusInternalServerError, code)
	require.Contains(t, string(body), "[-]discovery failed")
	code, body = get(t, c, base+"/readyz?exclude=discovery")
	require.Equal(t, http.StatusOK, code, string(body))
	code, _ = get(t, c, base+"/livez")
	require.Equal(t, http.StatusOK, code)
	fault = nil
	code, body = get(t, c, base+"/readyz")
	require.Equal(t, http.StatusOK, code, string(body))
}

// Without external rules the API is there, and has nothing.
func TestServerHasNoExternalMetrics(t *testing.T) {
	base := startServer(t, scenario(t)) + "/apis/external.metrics.k8s.io/v1beta1"
	c := client(t)
	code, body := get(t, c, base)
	require.Equal(t, http.StatusOK, code, string(body))
	code, body = get(t, c, base+"/namespaces/default/queue_length")
	require.Equal(t, http.StatusNotFound, code)
	require.Contains(t, string(body), "no series has been collected that a rule serves under that name")
}

func TestServerWithoutAuthenticationListensOnLoopbackOnly(t *testing.T) {
	serving := genericoptions.NewSecureServingOptions()
	opts := apiserver.Options{Provider: scenario(t).Provider, SecureServing: serving}
	_, err := apiserver.New(opts)
	require.ErrorIs(t, err, apiserver.ErrNotLoopback)

	// A listener counts for where it is bound, whatever the options say.
	listener, err := net.Listen("tcp", "0.0.0.0:0")
	require.NoError(t, err)
	defer listener.Close()
	serving.Listener, serving.BindAddress = listener, net.IPv4(127, 0, 0, 1)
	_, err = apiserver.New(opts)
	require.ErrorIs(t, err, apiserver.ErrNotLoopback)

	// Half an answer to who may call is none.
	opts.Authentication = genericoptions.NewDelegatingAuthenticationOptions()
	_, err = apiserver.New(opts)
	require.ErrorContains(t, err, "give both Authentication and Authorization, or neither")
}

func BenchmarkGetByName(b *testing.B) { benchmarkGet(b, "services/sample/http_requests") }

func BenchmarkGetPods(b *testing.B) { benchmarkGet(b, "pods/*/http_requests") }

func benchmarkGet(b *testing.B, path string) {
	f := scenario(b)
	handler, err := apiserver.NewHandler(apiserver.Options{Provider: f.Provider})
	require.NoError(b, err)
	defer handler.Close()
	for b.Loop() {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/"+path, nil))
		require.Equal(b, http.StatusOK, recorder.Code, recorder.Body.String())
	}
}
