package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/adapter/autoscalers"
	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/tsdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nothing is what a promlet shows that knows nothing.
func nothing(t *testing.T) Options {
	_, opts := withProvider(t)
	return opts
}

func withProvider(t *testing.T) (*adapter.Provider, Options) {
	db, err := tsdb.Open(tsdb.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	provider, err := adapter.NewProvider(adapter.Options{DB: db, Objects: func(schema.GroupResource) (cache.GenericLister, bool) { return nil, false }})
	require.NoError(t, err)
	return provider, Options{
		Version:         "v0",
		Ready:           func() error { return nil },
		Problems:        func() []Problem { return nil },
		Scrapes:         true,
		Autoscalers:     provider.Autoscalers.List,
		LastAutoscalers: provider.Autoscalers.Last,
		Explain:         provider.Explainer.Explain,
		Usage:           provider.Demand.Current,
		Monitors:        func() []monitors.Status { return nil },
		WhyNoTargets:    func(*monitors.Status) string { return "" },
		Targets:         func() []Target { return nil },
		Unreachable:     func() map[string]error { return nil },
		OtherShards:     func() []Target { return nil },
		Foreign:         func() map[string]scrape.Foreign { return nil },
		Metrics:         func() []scrape.Metric { return nil },
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
		"/autoscalers?q=x":              "kind: HorizontalPodAutoscaler",
		"/targets":                      "No ServiceMonitors or PodMonitors",
		"/targets?bad=yes":              "kind: ServiceMonitor",
		"/catalog":                      "Nothing has been scraped yet.",
		"/catalog?q=a&from=-7":          "No name or help has “a” in it.",
		"/explain":                      "Name a metric",
		"/explain?metric=x&name=a":      "has no value",
		"/explain?metric=x&selector=((": "labels of objects: found",
		"/configuration":                "default rule 1",
		"/metrics":                      "",
		"/assets/style.css":             "prefers-color-scheme",
		"/-/healthy":                    "promlet is healthy.",
		"/-/ready":                      "promlet is ready.",
	} {
		require.Contains(t, get(t, opts, path, http.StatusOK), want, path)
	}
	opts.Scrapes = false
	for _, path := range []string{"/targets", "/catalog"} {
		page := get(t, opts, path, http.StatusOK)
		require.Contains(t, page, "This promlet scrapes nothing: it queries an engine")
		require.NotContains(t, page, "kind: ServiceMonitor", "it would have no effect")
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
	opts.Problems = func() []Problem { return []Problem{{Text: "web.yaml:3: <script>", URL: "/configuration#rules%5B0%5D"}} }
	for _, path := range []string{"/autoscalers", "/targets", "/catalog", "/explain", "/configuration"} {
		page := get(t, opts, path, http.StatusOK)
		require.Contains(t, page, "waiting for &lt;samples&gt;")
		require.Contains(t, page, "<summary>1 problem</summary>")
		require.Contains(t, page, `<details class="problems" id="problems">`, "a line that opens")
		require.Contains(t, page, `<a href="/configuration#rules%5B0%5D">web.yaml:3: &lt;script&gt;</a>`, "what others choose is escaped")
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

// Users choose names, labels and reasons. Pages show them as text, never as HTML.
func TestHostileNames(t *testing.T) {
	const evil = `"><img src=x onerror=alert(1)>'</script><script>alert(2)</script>`
	opts := nothing(t)
	value := int64(1)
	question := explain.Question{Metric: evil, Namespace: evil, Name: evil}
	all := []autoscalers.Autoscaler{{
		Namespace: evil, Name: evil, Target: evil, Stuck: evil,
		Metrics: []autoscalers.Metric{{Metric: evil, Object: evil, Value: &value, Question: question}, {Metric: evil, Object: evil, Reason: evil, Question: question}},
	}}
	opts.Autoscalers, opts.LastAutoscalers = listing(all), func() []autoscalers.Autoscaler { return all }
	opts.Explain = func(context.Context, explain.Question) (*explain.Explanation, error) {
		return &explain.Explanation{
			Metric: evil, Object: evil, Namespace: evil, Reason: evil, Query: evil, Steps: []explain.Step{{Link: explain.LinkRule, State: explain.StateOK, Text: evil}},
			Pods: []explain.PodValue{{Pod: evil, Reason: evil}},
		}, nil
	}
	opts.Monitors = func() []monitors.Status {
		return []monitors.Status{{Kind: evil, Namespace: evil, Name: evil, Jobs: []string{evil}}, {Kind: evil, Namespace: evil, Name: evil + evil}}
	}
	opts.WhyNoTargets = func(*monitors.Status) string { return evil }
	opts.Targets = func() []Target {
		return []Target{{Job: evil, Address: evil, Err: evil, Labels: labels.FromStrings("namespace", evil, "service", evil, "pod", evil)}}
	}
	opts.Metrics = func() []scrape.Metric {
		return []scrape.Metric{{Job: evil, Name: evil, Stored: true, Metadata: metadata.Metadata{Type: "gauge", Help: evil, Unit: evil}, LabelNames: []string{evil}}}
	}
	opts.Problems = func() []Problem { return []Problem{{Text: evil, URL: "/targets?q=" + url.QueryEscape(evil)}} }
	q := "?" + url.Values{"q": {evil}, "metric": {evil}, "name": {evil}, "resource": {evil}}.Encode()
	for _, path := range []string{"/autoscalers", "/autoscalers" + q, "/targets", "/targets" + q, "/catalog", "/catalog" + q, "/explain" + q, "/configuration" + q} {
		page := get(t, opts, path, http.StatusOK)
		require.NotContains(t, page, "<img src=x", path)
		require.Equal(t, 1, strings.Count(page, "<script"), path)
		require.Contains(t, page, "&lt;img src=x", path)
	}
}
