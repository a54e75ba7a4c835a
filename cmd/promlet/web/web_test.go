package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/adapter/autoscalers"
	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/tsdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nothing is what a promlet shows that knows nothing.
func nothing(t *testing.T) Options {
	db, err := tsdb.Open(tsdb.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	provider, err := adapter.NewProvider(adapter.Options{DB: db, Objects: func(schema.GroupResource) (cache.GenericLister, bool) { return nil, false }})
	require.NoError(t, err)
	return Options{
		Version:     "v0",
		Ready:       func() error { return nil },
		Problems:    func() []string { return nil },
		Autoscalers: provider.Autoscalers.List,
		Explain:     provider.Explainer.Explain,
		Usage:       provider.Demand.Current,
		Monitors:    func() []monitors.Status { return nil },
		Targets:     func() []Target { return nil },
		OtherShards: func() []Target { return nil },
		Foreign:     func() map[string]scrape.Foreign { return nil },
		Metrics:     func() []scrape.Metric { return nil },
		Configuration: func() Configuration {
			return Configuration{Rules: provider.Rules().Custom, Flags: []Flag{{Name: "log-level", Value: "info", Usage: "One of them."}}}
		},
		Gatherer: prometheus.NewRegistry(),
		Logger:   slog.New(slog.DiscardHandler),
	}
}

// get asks for a path, and returns the body.
func get(t *testing.T, opts Options, path string, want int) string {
	t.Helper()
	s, err := New(opts)
	require.NoError(t, err)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	require.Equal(t, want, w.Code, w.Body)
	require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
	return w.Body.String()
}

func TestPagesOfNothing(t *testing.T) {
	opts := nothing(t)
	for path, want := range map[string]string{
		"/autoscalers":                  "No HorizontalPodAutoscalers.",
		"/autoscalers?q=x":              "No HorizontalPodAutoscaler has “x” in its name.",
		"/targets":                      "No ServiceMonitors or PodMonitors",
		"/targets?bad=yes":              "No targets match.",
		"/catalog":                      "Nothing has been scraped yet.",
		"/catalog?q=a&from=-7":          "No name or help has “a” in it.",
		"/explain":                      "Name a metric",
		"/explain?metric=x&name=a":      "has no value",
		"/explain?metric=x&selector=((": "labels of objects: found",
		"/configuration":                "rules[0]",
		"/metrics":                      "",
		"/assets/style.css":             "prefers-color-scheme",
		"/-/healthy":                    "promlet is healthy.",
		"/-/ready":                      "promlet is ready.",
	} {
		require.Contains(t, get(t, opts, path, http.StatusOK), want, path)
	}
	get(t, opts, "/", http.StatusFound)
	get(t, opts, "/favicon.ico", http.StatusMovedPermanently)
	get(t, opts, "/nowhere", http.StatusNotFound)
	get(t, opts, "/api/v1/query", http.StatusNotFound)
	opts.API = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) })
	require.Equal(t, "/api/v1/query", get(t, opts, "/api/v1/query", http.StatusOK))
}

func TestNotReadyAndProblems(t *testing.T) {
	opts := nothing(t)
	opts.Ready = func() error { return errors.New("waiting for <samples>") }
	opts.Problems = func() []string { return []string{"web.yaml:3: <script>"} }
	for _, path := range []string{"/autoscalers", "/targets", "/catalog", "/explain", "/configuration"} {
		page := get(t, opts, path, http.StatusOK)
		require.Contains(t, page, "waiting for &lt;samples&gt;")
		require.Contains(t, page, "<summary>1 problem</summary>")
		require.Contains(t, page, "web.yaml:3: &lt;script&gt;", "what others choose is escaped")
	}
	require.Contains(t, get(t, opts, "/-/ready", http.StatusServiceUnavailable), "waiting for")
}

func TestPageThatFails(t *testing.T) {
	opts := nothing(t)
	opts.Autoscalers = func(context.Context, func(string, string) bool) ([]autoscalers.Autoscaler, error) {
		return nil, errors.New("the index is broken")
	}
	page := get(t, opts, "/autoscalers", http.StatusInternalServerError)
	require.Contains(t, page, "the index is broken")
	require.Contains(t, page, "</html>", "in the frame, with the way to the other pages")
	require.Contains(t, get(t, opts, "/autoscalers.json", http.StatusInternalServerError), "the index is broken")
}

func TestAutoscalersPage(t *testing.T) {
	opts := nothing(t)
	now := time.Now()
	v := int64(140_010)
	all := []autoscalers.Autoscaler{{
		Namespace: "default", Name: "shop", Target: "Deployment/shop", Min: 2, Max: 10, Replicas: 2, Asks: 3,
		Metrics: []autoscalers.Metric{
			{
				Metric: "http_requests", Object: "services/shop", Value: &v, Target: 100_000, Asks: 3, Last: now, Window: 2 * time.Minute,
				Question: explain.Question{Metric: "http_requests", Namespace: "default", Name: "shop", Object: schema.GroupResource{Resource: "services"}},
				History:  []autoscalers.Point{{At: now.Add(-30 * time.Minute), Milli: 50_000}, {At: now.Add(-time.Minute), Milli: 120_000}},
			},
			{Metric: "queue<b>", Object: "pods", Target: 15_000, Average: true, Reason: "no monitor selects it", Question: explain.Question{Metric: "queue<b>", Namespace: "default", External: true}},
			{Metric: "cpu", Object: "resource", Reason: "metrics-server's, not promlet's"},
		},
	}}
	opts.Autoscalers = func(_ context.Context, filter func(string, string) bool) (shown []autoscalers.Autoscaler, err error) {
		for _, a := range all {
			if filter(a.Namespace, a.Name) {
				shown = append(shown, a)
			}
		}
		return shown, nil
	}
	page := get(t, opts, "/autoscalers", http.StatusOK)
	for _, want := range []string{
		"140.01", "of 100<", "would ask for <b class=\"asks\">3</b>", "over 2m0s", "<svg class=\"spark\"",
		"between 50 and 140.01; the target is 100", "1 metric without a value", "no monitor selects it", "a pod", "queue&lt;b&gt;",
		"/explain?metric=http_requests&amp;name=shop&amp;namespace=default&amp;resource=services",
		"/explain?external=yes&amp;metric=queue%3Cb%3E&amp;namespace=default", "metrics-server&#39;s",
	} {
		require.Contains(t, page, want)
	}
	var twin struct {
		Autoscalers []autoscalers.Autoscaler `json:"autoscalers"`
		Lacking     int                      `json:"lacking"`
	}
	require.NoError(t, json.Unmarshal([]byte(get(t, opts, "/autoscalers.json", http.StatusOK)), &twin))
	require.Equal(t, 1, twin.Lacking)
	require.Equal(t, v, *twin.Autoscalers[0].Metrics[0].Value)

	all[0].Stuck = "two <HPAs> have these pods"
	page = get(t, opts, "/autoscalers", http.StatusOK)
	require.Contains(t, page, "does not scale")
	require.Contains(t, page, "two &lt;HPAs&gt; have these pods")
	require.NotContains(t, page, "would ask for", "it would not")

	for i := range 250 {
		all = append(all, autoscalers.Autoscaler{Namespace: "many", Name: fmt.Sprintf("hpa-%03d", i)})
	}
	page = get(t, opts, "/autoscalers?q=MANY/&from=100", http.StatusOK)
	require.Contains(t, page, "101–200 of 250")
	require.Contains(t, page, "from=200&amp;q=MANY%2F")
	require.Equal(t, 100, strings.Count(page, "<article"))
	require.Contains(t, get(t, opts, "/autoscalers?from=5000", http.StatusOK), "1–100 of 251", "there are not so many any more")
}

func TestTargetsPage(t *testing.T) {
	opts := nothing(t)
	opts.Monitors = func() []monitors.Status {
		return []monitors.Status{
			{Kind: "PodMonitor", Namespace: "default", Name: "empty"},
			{Kind: "ServiceMonitor", Namespace: "default", Name: "legacy", Err: errors.New("spec.endpoints[0].bearerTokenFile: refused")},
			{Kind: "ServiceMonitor", Namespace: "default", Name: "shop", Jobs: []string{"shop/0", "shop/1"}, Adjusted: []string{"spec.endpoints[0].interval: 5ms is raised to 1s"}},
		}
	}
	targets := []Target{
		{Job: "shop/0", Address: "10.0.0.1:80/metrics", Health: "up", Seen: 154, Stored: 3, Took: 38 * time.Millisecond, LastScrape: time.Now(), Labels: labels.FromStrings("pod", "a"), Discovered: labels.FromStrings("__meta_pod", "a")},
		{Job: "shop/0", Address: "10.0.0.2:80/metrics", Health: "down", Err: "connection refused"},
		{Job: "shop/1", Address: "10.0.0.1:81/metrics", Health: "unknown"},
	}
	opts.Targets = func() []Target { return targets }
	opts.Foreign = func() map[string]scrape.Foreign {
		return map[string]scrape.Foreign{"shop/0": {Series: 7, Example: "kube-system"}, "shop/1": {Series: 2, Targets: 1, Enforced: true}, "other": {Series: 1}}
	}
	page := get(t, opts, "/targets", http.StatusOK)
	for _, want := range []string{
		"1 down", "1 monitor rejected", "waiting for the first scrape", "bearerTokenFile: refused", "1 of 3 up", "3 of 154", "38ms", "connection refused",
		"no targets", "never", "adjusted: spec.endpoints[0].interval: 5ms is raised to 1s", "shop/0: writes 7 series of other namespaces, such as kube-system",
		"shop/1: 1 targets and 2 series of other namespaces were given to namespace default", `{pod=&#34;a&#34;}`, `{__meta_pod=&#34;a&#34;}`,
	} {
		require.Contains(t, page, want)
	}
	require.Less(t, strings.Index(page, "default-legacy"), strings.Index(page, "default-empty"), "what is wrong comes first")
	require.Less(t, strings.Index(page, "10.0.0.2:80"), strings.Index(page, "10.0.0.1:80"))

	page = get(t, opts, "/targets?bad=yes&q=10.0.0", http.StatusOK)
	require.NotContains(t, page, "10.0.0.1:80/")
	require.NotContains(t, page, "legacy")
	require.Contains(t, page, "10.0.0.2:80")
	require.Contains(t, get(t, opts, "/targets?q=pod%3D%22a", http.StatusOK), "10.0.0.1:80/", "by label")

	for i := range 500 {
		targets = append(targets, Target{Job: "shop/1", Address: fmt.Sprintf("10.1.%d.%d:80/metrics", i/250, i%250), Health: "up"})
	}
	seen := map[string]bool{}
	for range 3 {
		var twin targetsData
		require.NoError(t, json.Unmarshal([]byte(get(t, opts, fmt.Sprintf("/targets.json?from=%d", len(seen)), http.StatusOK)), &twin))
		require.Equal(t, 505, twin.Of)
		for _, m := range twin.Monitors {
			if len(m.Targets) == 0 {
				seen[m.Name] = true
			}
			for _, target := range m.Targets {
				seen[target.Address] = true
			}
		}
	}
	require.Len(t, seen, 505, "the parts are the whole")
}

// The annotated objects of a kind share a job; each has targets of its own.
func TestTargetsOfAnnotatedObjects(t *testing.T) {
	opts := nothing(t)
	opts.Monitors = func() []monitors.Status {
		return []monitors.Status{
			{Kind: "Pod", Namespace: "default", Name: "a", Origin: monitors.OriginAnnotation, Jobs: []string{"annotations/pods"}},
			{Kind: "Pod", Namespace: "default", Name: "b", Origin: monitors.OriginAnnotation, Jobs: []string{"annotations/pods"}},
			{Kind: "Service", Namespace: "default", Name: "a", Origin: monitors.OriginAnnotation, Jobs: []string{"annotations/services"}},
		}
	}
	opts.Targets = func() []Target {
		return []Target{
			{Job: "annotations/pods", Address: "10.0.0.1:80/metrics", Health: "up", Labels: labels.FromStrings("namespace", "default", "pod", "a")},
			{Job: "annotations/pods", Address: "10.0.0.1:81/metrics", Health: "up", Labels: labels.FromStrings("namespace", "default", "pod", "a")},
			{Job: "annotations/pods", Address: "10.0.0.2:80/metrics", Health: "down", Labels: labels.FromStrings("namespace", "default", "pod", "b")},
			{Job: "annotations/services", Address: "10.0.0.2:82/metrics", Health: "up", Labels: labels.FromStrings("namespace", "default", "pod", "b", "service", "a")},
		}
	}
	var twin targetsData
	require.NoError(t, json.Unmarshal([]byte(get(t, opts, "/targets.json", http.StatusOK)), &twin))
	var got []string
	for _, m := range twin.Monitors {
		for _, target := range m.Targets {
			got = append(got, m.Kind+" "+m.Name+" "+target.Address)
		}
	}
	require.Equal(t, []string{"Pod b 10.0.0.2:80/metrics", "Pod a 10.0.0.1:80/metrics", "Pod a 10.0.0.1:81/metrics", "Service a 10.0.0.2:82/metrics"}, got)
}

// A monitor whose targets are in other shards is not shown as one without targets.
func TestTargetsOfOtherShards(t *testing.T) {
	opts := nothing(t)
	opts.Monitors = func() []monitors.Status {
		return []monitors.Status{
			{Kind: "PodMonitor", Namespace: "default", Name: "elsewhere", Jobs: []string{"elsewhere/0"}},
			{Kind: "Pod", Namespace: "default", Name: "b", Origin: monitors.OriginAnnotation, Jobs: []string{"annotations/pods"}},
			{Kind: "ServiceMonitor", Namespace: "default", Name: "both", Jobs: []string{"both/0", "both/1"}},
		}
	}
	opts.Targets = func() []Target { return []Target{{Job: "both/0", Address: "10.0.0.1:80", Health: "up"}} }
	opts.OtherShards = func() []Target {
		return []Target{
			{Job: "elsewhere/0"}, {Job: "both/0"}, {Job: "both/0"}, {Job: "both/1"},
			{Job: "annotations/pods", Labels: labels.FromStrings("namespace", "default", "pod", "b")},
			{Job: "annotations/pods", Labels: labels.FromStrings("namespace", "default", "pod", "c")},
		}
	}
	page := get(t, opts, "/targets", http.StatusOK)
	require.Equal(t, 2, strings.Count(page, "in other shards"), page)
	require.Equal(t, 2, strings.Count(page, "1 target is scraped by another shard"), page)
	require.Contains(t, page, "1 of 1 up")
	require.Contains(t, page, "3 targets are scraped by other shards")
	require.NotContains(t, page, "no targets")
	var twin targetsData
	require.NoError(t, json.Unmarshal([]byte(get(t, opts, "/targets.json", http.StatusOK)), &twin))
	require.Equal(t, 3, twin.Monitors[2].OtherShards)
}

func TestMetricsPage(t *testing.T) {
	opts := nothing(t)
	opts.Metrics = func() []scrape.Metric {
		return []scrape.Metric{
			{Job: "b", Name: "http_requests_total", Series: 2, Stored: true},
			{Job: "a", Name: "http_requests_total", Series: 3, Metadata: metadata.Metadata{Type: "counter", Help: "Requests & more."}, LabelNames: []string{"code"}},
			{Job: "a", Name: "go_threads", Series: 1, Metadata: metadata.Metadata{Type: "gauge"}},
		}
	}
	var twin metricsData
	require.NoError(t, json.Unmarshal([]byte(get(t, opts, "/catalog.json", http.StatusOK)), &twin))
	require.Equal(t, 2, twin.Names)
	require.Equal(t, 1, twin.Stored)
	require.Equal(t, metric{
		Name: "http_requests_total", Type: "counter", Help: "Requests & more.", Jobs: []string{"a", "b"}, Series: 5, Stored: true, Labels: []string{"code"},
		Served: []demand.ServedMetric{{Metric: "http_requests", Rule: "a default rule"}},
	}, twin.Metrics[1])
	page := get(t, opts, "/catalog?stored=yes", http.StatusOK)
	require.Contains(t, page, "Requests &amp; more.")
	require.NotContains(t, page, "go_threads")
	require.Contains(t, get(t, opts, "/catalog?q=threads", http.StatusOK), "1 matches")
	require.Contains(t, get(t, opts, "/explain", http.StatusOK), `<option value="http_requests">`)
}

func TestSparkline(t *testing.T) {
	now := time.Now()
	at := func(ago time.Duration, milli int64) autoscalers.Point {
		return autoscalers.Point{At: now.Add(-ago), Milli: milli}
	}
	require.Empty(t, sparkline(&autoscalers.Metric{Target: 5}, now))
	v := int64(-3000)
	svg := string(sparkline(&autoscalers.Metric{Target: 1000, Value: &v, History: []autoscalers.Point{at(59*time.Minute, 0), at(58*time.Minute+30*time.Second, 10_000), at(time.Minute, 0)}}, now))
	require.Equal(t, 2, strings.Count(svg, "M"), "a gap is a gap")
	require.NotContains(t, svg, "NaN")
	require.Contains(t, svg, "between -3 and 10; the target is 1.")
	require.Contains(t, string(sparkline(&autoscalers.Metric{Value: new(int64)}, now)), `<circle cx="256.0" cy="52.0"`)
}

// Run ends with its context, and says so when it cannot serve.
func TestRun(t *testing.T) {
	s, err := New(nothing(t))
	require.NoError(t, err)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, listener) }()
	resp, err := http.Get("http://" + listener.Addr().String() + "/targets")
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Contains(t, string(body), "</html>")
	http.DefaultClient.CloseIdleConnections()

	// A name that somebody makes mean this machine is not answered to.
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	for host, want := range map[string]int{
		"evil.example.com": http.StatusForbidden, "evil.example.com:" + port: http.StatusForbidden, "localhost.evil.com": http.StatusForbidden,
		"localhost:" + port: http.StatusOK, "localhost": http.StatusOK, "127.0.0.1": http.StatusOK, "[::1]:9090": http.StatusOK, "[::1]": http.StatusOK,
	} {
		request, err := http.NewRequest(http.MethodGet, "http://"+listener.Addr().String()+"/targets", nil)
		require.NoError(t, err)
		request.Host, request.Close = host, true
		resp, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, resp.StatusCode, host)
	}

	// Who sends slowly is cut off, and that is no error.
	slow, err := new(net.Dialer).Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer slow.Close()
	_, err = slow.Write([]byte("GET /targets HTTP/1.1\r\n"))
	require.NoError(t, err)
	cancel()
	require.NoError(t, <-done)
	require.ErrorContains(t, s.Run(t.Context(), listener), "serve the web port")
}

func TestProfiles(t *testing.T) {
	opts := nothing(t)
	get(t, opts, "/debug/pprof/", http.StatusNotFound)
	opts.Profiling = true
	require.Contains(t, get(t, opts, "/debug/pprof/cmdline", http.StatusForbidden), "loopback addresses only", "the recorder has no address")

	s, err := New(opts)
	require.NoError(t, err)
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	for path, want := range map[string]string{
		"/debug/pprof/": "goroutine", "/debug/pprof/heap?debug=1": "heap profile:", "/debug/pprof/cmdline": "web.test", "/debug/pprof/symbol": "num_symbols: 1",
		"/debug/pprof/profile?seconds=1": "", "/debug/pprof/trace?seconds=0.1": "go 1.",
	} {
		response, err := server.Client().Get(server.URL + path)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, errors.Join(err, response.Body.Close()))
		require.Equal(t, http.StatusOK, response.StatusCode, path)
		require.Contains(t, string(body), want, path)
	}
	server.Client().CloseIdleConnections()
}
