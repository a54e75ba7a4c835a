package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"

	prometheusbinary "github.com/promlet/promlet/bench/upstream"
)

// TestRemoteWrite sends to a real Prometheus and a real VictoriaMetrics while promlet is killed again and again and
// Prometheus is away for a while, and compares every sample that any of them has in the end.
func TestRemoteWrite(t *testing.T) {
	built, err := prometheusbinary.Build(t.Context(), filepath.Join("..", "..", "bench", "prometheus"))
	require.NoError(t, err)
	receiver, victoriaMetrics := startReceiver(t, built.Prometheus), startVictoriaMetrics(t)
	manifests, data := t.TempDir(), t.TempDir()
	writeManifests(t, manifests, map[string]string{"app-a": countingTarget(t, 40), "app-b": countingTarget(t, 60)})
	config := filepath.Join(t.TempDir(), "promlet.yaml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
externalLabels: {replica: a}
remoteWrite:
- name: receiver
  url: %q
  queue_config: {batch_send_deadline: 200ms, max_backoff: 500ms}
- name: victoriametrics
  url: %q
  queue_config: {batch_send_deadline: 200ms, max_backoff: 500ms}
`, receiver.url+"/api/v1/write", victoriaMetrics+"/api/v1/write"), 0o600))
	flags := []string{"--config", config, "--ingest", "all"}

	killAfter := func(d time.Duration) {
		t.Helper()
		p := startProcess(t, manifests, data, flags...)
		time.Sleep(d)
		p.kill()
	}
	killAfter(4 * time.Second)
	killAfter(3 * time.Second)
	receiver.stop()
	killAfter(6 * time.Second)
	killAfter(6 * time.Second)
	p := startProcess(t, manifests, data, flags...)
	time.Sleep(3 * time.Second)
	_, metrics, err := p.get(p.web + "/metrics")
	require.NoError(t, err)
	require.Contains(t, string(metrics), `prometheus_remote_storage_samples_pending{remote_name="receiver"`)
	receiver.refusing.Store(true)
	require.Eventually(t, func() bool {
		_, page, err := p.get(p.web + "/")
		return err == nil && strings.Contains(string(page), "the engine does not let promlet write: server returned HTTP status 401 Unauthorized")
	}, patience, 100*time.Millisecond)
	receiver.start()
	p.eventuallySent(receiver.url)
	require.NoError(t, p.terminate())
	receiver.stop()

	want := storedSamples(t, data, labels.FromStrings("replica", "a"))
	got := storedSamples(t, receiver.dir, labels.EmptyLabels())
	require.Len(t, want, 110, "the counters, and five series about each target")
	scrapes := 0
	for series, all := range want {
		require.Equal(t, all, got[series], series)
		scrapes = max(scrapes, len(all))
	}
	require.Equal(t, len(want), len(got), "series")
	require.Greater(t, scrapes, 15, "samples of a series")
	requireExported(t, victoriaMetrics, want)
}

// eventuallySent waits until the receiver has samples of the last moments.
func (p *process) eventuallySent(receiver string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		_, body, err := p.get(receiver + "/api/v1/query?query=" + url.QueryEscape("time() - min(timestamp(up)) < 3"))
		return err == nil && strings.Contains(string(body), `"value"`)
	}, patience, 200*time.Millisecond, "%s", p.log)
}

// startVictoriaMetrics returns the URL of a VictoriaMetrics that keeps one copy of a sample that is sent several times.
func startVictoriaMetrics(t *testing.T) string {
	t.Helper()
	binary, err := prometheusbinary.BuildVictoriaMetrics(t.Context(), filepath.Join("..", "..", "bench", "victoriametrics"))
	require.NoError(t, err)
	address, stop, err := prometheusbinary.StartVictoriaMetrics(t.Context(), binary, t.TempDir(), "-dedup.minScrapeInterval=1ms")
	require.NoError(t, err)
	t.Cleanup(stop)
	return address
}

// requireExported waits until VictoriaMetrics exports exactly the wanted samples. VictoriaMetrics keeps about 15 digits of a
// number, and exports a stale marker as null.
func requireExported(t *testing.T, address string, want map[string][]string) {
	t.Helper()
	var exported map[string][]string
	rounded := map[string][]string{}
	for series, all := range want {
		for _, sample := range all {
			var at int64
			var bits uint64
			_, err := fmt.Sscanf(sample, "%d %x", &at, &bits)
			require.NoError(t, err)
			v := math.Float64frombits(bits)
			rounded[series] = append(rounded[series], exportedSample(at, &v))
		}
	}
	defer func() {
		for series, all := range rounded { // the first difference, in place of all samples
			require.Equal(t, all, exported[series], series)
		}
		require.Equal(t, len(rounded), len(exported), "series")
	}()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if exported = export(t, address); reflect.DeepEqual(exported, rounded) {
			return
		}
	}
}

// export returns all samples of a VictoriaMetrics by their series.
func export(t *testing.T, address string) map[string][]string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"/api/v1/export?match[]="+url.QueryEscape(`{__name__!=""}`), http.NoBody)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	all := map[string][]string{}
	for lines := json.NewDecoder(response.Body); lines.More(); {
		var series struct {
			Metric     map[string]string
			Values     []*float64
			Timestamps []int64
		}
		require.NoError(t, lines.Decode(&series))
		name := labels.FromMap(series.Metric).String()
		for i, v := range series.Values {
			all[name] = append(all[name], exportedSample(series.Timestamps[i], v))
		}
	}
	return all
}

func exportedSample(at int64, v *float64) string {
	if v == nil || math.IsNaN(*v) {
		return fmt.Sprint(at, " NaN")
	}
	return fmt.Sprintf("%d %.12g", at, *v)
}

// countingTarget serves n counters, and returns its address.
func countingTarget(t *testing.T, n int) string {
	t.Helper()
	var scrapes atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		scrape := scrapes.Add(1)
		for i := range n {
			_, _ = fmt.Fprintf(w, "shipped_total{i=\"%d\"} %d\n", i, scrape*int64(i+1)) // the scrape may be cut short
		}
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// receiver is a real Prometheus that is stopped and started behind one URL.
type receiver struct {
	t           *testing.T
	binary, dir string
	config      string
	url         string
	behind      atomic.Pointer[httputil.ReverseProxy]
	refusing    atomic.Bool // in place of being away
	end         func()
}

func startReceiver(t *testing.T, binary string) *receiver {
	t.Helper()
	e := &receiver{t: t, binary: binary, dir: t.TempDir(), config: filepath.Join(t.TempDir(), "prometheus.yml")}
	require.NoError(t, os.WriteFile(e.config, nil, 0o600))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if proxy := e.behind.Load(); proxy != nil {
			proxy.ServeHTTP(w, r)
			return
		}
		if e.refusing.Load() {
			http.Error(w, "who is it", http.StatusUnauthorized)
			return
		}
		http.Error(w, "no engine", http.StatusBadGateway)
	}))
	e.url = server.URL
	t.Cleanup(server.Close)
	t.Cleanup(func() { e.stop() })
	e.start()
	return e
}

func (e *receiver) start() {
	e.t.Helper()
	address, end, err := prometheusbinary.Start(e.t.Context(), e.binary, e.config, e.dir, "--web.enable-remote-write-receiver")
	require.NoError(e.t, err)
	to, err := url.Parse(address)
	require.NoError(e.t, err)
	e.end = end
	e.behind.Store(httputil.NewSingleHostReverseProxy(to))
}

// stop kills it.
func (e *receiver) stop() {
	if e.behind.Swap(nil) != nil {
		e.end()
	}
}

// storedSamples returns all samples in a data directory, by their series with more labels.
func storedSamples(t *testing.T, dir string, more labels.Labels) map[string][]string {
	t.Helper()
	// Other files in the directory are not part of the log.
	db, err := promtsdb.Open(dir, nil, nil, promtsdb.DefaultOptions(), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	querier, err := db.Querier(math.MinInt64, math.MaxInt64)
	require.NoError(t, err)
	defer func() { require.NoError(t, querier.Close()) }()
	return allSamples(t, querier, more)
}

func allSamples(t *testing.T, querier storage.Querier, more labels.Labels) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	set := querier.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+"))
	for set.Next() {
		builder := labels.NewBuilder(set.At().Labels())
		more.Range(func(l labels.Label) { builder.Set(l.Name, l.Value) })
		name := builder.Labels().String()
		it := set.At().Iterator(nil)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			require.Equal(t, chunkenc.ValFloat, kind, name)
			at, v := it.At()
			all[name] = append(all[name], fmt.Sprintf("%d %x", at, math.Float64bits(v)))
		}
		require.NoError(t, it.Err())
		require.True(t, slices.IsSorted(all[name]), name)
	}
	require.NoError(t, set.Err())
	return all
}
