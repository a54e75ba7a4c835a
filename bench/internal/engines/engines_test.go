package engines

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/promlet/promlet/bench/internal/harness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// samples returns the sums of a body's values by metric.
func samples(t *testing.T, body []byte) map[string]float64 {
	t.Helper()
	sums := map[string]float64{}
	parser := textparse.NewPromParser(body, labels.NewSymbolTable(), false)
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			return sums
		}
		require.NoError(t, err)
		if entry == textparse.EntrySeries {
			var of labels.Labels
			parser.Labels(&of)
			_, _, value := parser.Series()
			sums[of.Get(model.MetricNameLabel)] += value
		}
	}
}

// Each pod serves its metrics at its own address.
func TestFleet(t *testing.T) {
	pods := newPods()
	require.Len(t, pods, 2000)
	ports, err := harness.FreePorts(1)
	require.NoError(t, err)
	f, err := startFleet(t.Context(), pods, ports[0])
	require.NoError(t, err)
	require.Len(t, f.pods, len(pods), "addresses are different")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, p := range []pod{pods[0], pods[399], pods[1999]} {
		response, err := client.Get("http://" + p.ip + ":" + ports[0] + "/metrics")
		require.NoError(t, err)
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.InDelta(t, p.value(gaugeMetric), samples(t, text)[gaugeMetric], 0)
		before, after := samples(t, p.body(10*time.Second)), samples(t, p.body(70*time.Second))
		require.InDelta(t, p.value(rateMetric), (after[counter]-before[counter])/60, 1e-4)
	}
	require.NoError(t, f.stop())
}

func TestManifests(t *testing.T) {
	o := options{dir: t.TempDir()}
	require.NoError(t, writeManifests(o.objects(), o.monitored(), newPods(), "8080"))
	for dir, monitors := range map[string]int{o.objects(): 0, o.monitored(): 1} {
		text, err := os.ReadFile(filepath.Join(dir, "apps.yaml"))
		require.NoError(t, err)
		for kind, want := range map[string]int{"ServiceMonitor": monitors, "Service": services, "HorizontalPodAutoscaler": services, "Pod": 2000, "EndpointSlice": 20} {
			require.Equal(t, want, strings.Count("\n"+string(text), "\nkind: "+kind+"\n"), kind)
		}
		require.Equal(t, 2000, strings.Count(string(text), "\n- {addresses: "))
	}
}

// A Service forwards to its endpoints in turn, and fails without one.
func TestService(t *testing.T) {
	asked := map[string]int{}
	endpoint := func(name string) string {
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked[name]++ }))
		t.Cleanup(server.Close)
		return strings.TrimPrefix(server.URL, "http://")
	}
	s, err := startService(t.Context())
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	status := func() int {
		response, err := client.Get(s.url)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode
	}
	require.Equal(t, http.StatusBadGateway, status())
	a, b := endpoint("a"), endpoint("b")
	s.set(a, b)
	for range 4 {
		require.Equal(t, http.StatusOK, status())
	}
	require.Equal(t, map[string]int{"a": 2, "b": 2}, asked)
	s.set(b)
	require.Equal(t, http.StatusOK, status())
	require.Equal(t, map[string]int{"a": 2, "b": 3}, asked)
	require.NoError(t, s.stop())
	http.DefaultTransport.(*http.Transport).CloseIdleConnections() // the proxy's
}

// truth answers like a promlet with the right values of all pods, except where a test changes them.
type truth struct {
	pods   []pod
	factor float64
	absent map[string]bool // Services and pods
	late   int             // pods of each Service with half their value
}

func (s truth) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.Split(strings.TrimPrefix(r.URL.Path, "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/"), "/")
	service := path[1]
	if path[0] == "pods" {
		service = strings.TrimPrefix(r.URL.Query().Get("labelSelector"), "app=")
	}
	if s.absent[service] {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"kind": "Status", "message": "the engine is away"}`)
		return
	}
	sum, items := 0.0, []string{}
	item := func(name string, value float64) {
		items = append(items, `{"describedObject": {"name": "`+name+`"}, "value": "`+harness.Figure(s.factor*value)+`"}`)
	}
	n := 0
	for _, p := range s.pods {
		if p.service != service {
			continue
		}
		value := p.value(path[2])
		if n < s.late {
			value /= 2
		}
		n++
		sum += value
		if path[0] == "pods" && !s.absent[p.name] {
			item(p.name, value)
		}
	}
	if path[0] == "services" {
		item(service, 0)
		items[0] = strings.Replace(items[0], `"0.00"`, `"`+strings.ReplaceAll(harness.Figure(s.factor*sum), ",", "")+`"`, 1)
	}
	_, _ = io.WriteString(w, `{"items": [`+strings.Join(items, ",")+`]}`)
}

// Answers are right only if no value is missing or wrong.
func TestAnswers(t *testing.T) {
	pods := newPods()
	f := func(s truth, right bool, services, inPods, wrong int, shares, reason string) {
		t.Helper()
		s.pods = pods
		server := httptest.NewTLSServer(s)
		defer server.Close()
		c := newClient(server.URL)
		defer c.close()
		a := ask(context.Background(), c, pods)
		require.Equal(t, right, a.right())
		got := a.of[rateMetric]
		require.Equal(t, services, got.services)
		require.Equal(t, inPods, got.pods)
		require.Equal(t, wrong, got.podsWrong)
		require.Equal(t, shares, got.shares())
		var out strings.Builder
		line := timeline{out: &out, began: time.Now()}
		line.row(a, true)
		line.row(a, true)
		require.Contains(t, out.String(), shares+" ")
		if reason != "" {
			require.Equal(t, 1, strings.Count(out.String(), reason), "not again while it stays: %s", out.String())
		}
		require.Equal(t, !right, line.missed == 2)
	}
	f(truth{factor: 1}, true, 5, 2000, 0, "100.0 %", "")
	f(truth{factor: 1.01}, true, 5, 2000, 0, "101.0 %", "")
	f(truth{factor: 0.75}, false, 5, 2000, 2000, "75.0 %", "")
	f(truth{factor: 1, late: 4}, true, 5, 2000, 20, "99.5..99.6 %", "")
	f(truth{factor: 1, late: 5}, false, 5, 2000, 25, "99.4..99.5 %", "")
	f(truth{factor: 1, absent: map[string]bool{"app-1-007": true}}, false, 5, 1999, 0, "100.0 %", "")
	f(truth{factor: 1, absent: map[string]bool{"app-3": true}}, false, 4, 1600, 0, "100.0 % (4)", "services/app-3/http_requests: 503: the engine is away\n")
	require.Equal(t, "none", figures{lowest: math.NaN()}.shares())
}

// The longest time with a wrong value lasts from the first to the last such row.
func TestLow(t *testing.T) {
	var line timeline
	at := time.Now()
	note := func(low bool) {
		line.noteLow(low, at)
		at = at.Add(5 * time.Second)
	}
	note(true)
	note(true)
	require.Zero(t, line.longest, "nothing was judged before")
	line.judged = 1
	for _, low := range []bool{true, true, false, true, true, true, false, true, true} {
		note(low)
	}
	require.Equal(t, 10*time.Second, line.longest)
}

// A run fails if a steady row was wrong, and if samples of a shard that was not killed are missing.
func TestReport(t *testing.T) {
	complete := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			_, _ = io.WriteString(w, "promlet_scrape_targets 500\nprometheus_remote_storage_samples_total{url=\"a\"} 1234\n")
			return
		}
		_, _ = io.WriteString(w, `{"data": {"result": [{"value": [1, "`+complete+`"]}]}}`)
	}))
	defer server.Close()
	f := func(has string, judged, missed int, want string) {
		t.Helper()
		complete = has
		var out strings.Builder
		e := &engines{programs: &programs{engineURL: server.URL}, client: newClient(""), timeline: timeline{out: &out, judged: judged, missed: missed}}
		defer e.client.close()
		for _, name := range []string{"a", "b", "c", "d"} {
			e.programs.shards = append(e.programs.shards, &program{name: name})
			e.programs.shardWeb = append(e.programs.shardWeb, server.URL)
		}
		err := e.report(t.Context())
		require.Regexp(t, `d +500 +1,234 +0.00`, out.String())
		if want == "" {
			require.NoError(t, err)
			require.Contains(t, out.String(), "The 1500 gauges of the shards that were not killed have all samples of the last 5m0s: it holds.")
			return
		}
		require.EqualError(t, err, "missed: "+want)
	}
	f("1500", 21, 0, "")
	f("1499", 21, 0, "1499 gauges are complete")
	f("1600", 21, 1, "1 of 21 steady rows are wrong")
	f("1600", 0, 0, "0 of 0 steady rows are wrong")
}

func TestShortened(t *testing.T) {
	require.Equal(t, "a short one", shortened("a short one"))
	require.Equal(t, strings.Repeat("a", 200)+" … "+strings.Repeat("b", 200), shortened(strings.Repeat("a", 300)+strings.Repeat("b", 300)))
}

func TestSum(t *testing.T) {
	require.InDelta(t, 12, sum([]byte("# TYPE a counter\na{x=\"1\"} 4\na{x=\"2\"} 5\na_total 9\na 3\n"), "a"), 0)
}
