package scrape

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/promlet/promlet/bench/skip"
)

// contents counts what is in a body, independently of the code under test.
type contents struct {
	samples, histograms int
	series              map[string]bool
}

func contentsOf(t testing.TB, body []byte, contentType string, native bool) contents {
	t.Helper()
	p, err := textparse.New(body, contentType, labels.NewSymbolTable(), textparse.ParserOptions{IgnoreNativeHistograms: !native})
	require.NoError(t, err)
	c := contents{series: map[string]bool{}}
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return c
		}
		require.NoError(t, err)
		if entry == textparse.EntryHistogram {
			c.histograms++
		} else if entry != textparse.EntrySeries {
			continue
		}
		c.samples++
		var lset labels.Labels
		p.Labels(&lset)
		c.series[lset.WithoutEmpty().String()] = true
	}
}

// requireStored scrapes a body into a TSDB and compares what is stored with the whole body.
func requireStored(t *testing.T, contentType string, body []byte, native bool, compress bool) {
	want := contentsOf(t, bytes.Clone(body), contentType, native)
	require.Positive(t, want.samples)
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		if compress {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(gzipped(t, string(body)))
			return
		}
		_, _ = w.Write(body)
	})
	db := newTSDB(t)
	r := &recorder{next: db}
	l := testLoop(t, newManager(t, r), jobConfig("j", slow, func(c *config.ScrapeConfig) { c.ScrapeNativeHistograms = &native }),
		model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s))})
	start := time.Now().Add(-time.Minute)
	for i := range 3 {
		l.scrape(start.Add(time.Duration(i) * time.Second))
		require.NoError(t, l.target.LastError())
		appended, report := r.last(t)
		require.Len(t, appended, want.samples)
		histograms := 0
		for _, s := range appended {
			require.NoError(t, s.err, s)
			if s.h != nil || s.fh != nil {
				histograms++
			}
		}
		require.Equal(t, want.histograms, histograms)
		require.EqualValues(t, want.samples, report["scrape_samples_scraped"])
		require.EqualValues(t, want.samples, report["scrape_samples_post_metric_relabeling"])
		require.EqualValues(t, 1, report["up"])
		if i == 0 {
			require.EqualValues(t, len(want.series), report["scrape_series_added"])
		} else {
			require.Zero(t, report["scrape_series_added"])
		}
	}
	require.Equal(t, want.series, stored(t, db.DB, 3))
}

// stored returns the series in the TSDB without the target's labels, each of which
// must hold n samples; synthetic ones are left out.
func stored(t *testing.T, db *tsdb.DB, n int) map[string]bool {
	q, err := db.Querier(0, time.Now().UnixMilli())
	require.NoError(t, err)
	defer func() { require.NoError(t, q.Close()) }()
	out := map[string]bool{}
	set := q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".+"))
	for set.Next() {
		lset := set.At().Labels()
		if isReport(lset.Get(model.MetricNameLabel)) {
			continue
		}
		it, samples := set.At().Iterator(nil), 0
		for it.Next() != chunkenc.ValNone {
			samples++
		}
		require.NoError(t, it.Err())
		require.Equal(t, n, samples, lset)
		out[labels.NewBuilder(lset).Del(model.JobLabel, model.InstanceLabel).Labels().String()] = true
	}
	require.NoError(t, set.Err())
	return out
}

// The bodies of real exporters in testdata, named NAME.KIND.gz.
func TestExporterBodies(t *testing.T) {
	files, err := filepath.Glob("testdata/*.gz")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 3)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			kind := strings.TrimPrefix(filepath.Ext(strings.TrimSuffix(file, ".gz")), ".")
			contentType, ok := map[string]string{"txt": textType, "openmetrics": omType, "protobuf": pbType}[kind]
			require.True(t, ok, "the name of %s does not tell its format", file)
			body := unzipped(t, file)
			requireStored(t, contentType, body, true, false)
			requireStored(t, contentType, body, false, true)
		})
	}
}

func unzipped(t testing.TB, file string) []byte {
	f, err := os.Open(file)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	body, err := io.ReadAll(z)
	require.NoError(t, err)
	return body
}

// A program with client_golang as people write them: counters with exemplars,
// classic and native histograms, summaries, labels that need escaping.
func clientGolang(t *testing.T) (*httptest.Server, *prometheus.Registry) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total", Help: "Requests \"by\" path\nand code."}, []string{"path", "code"})
	classic := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "latency_seconds", Help: "Latency.", Buckets: prometheus.DefBuckets}, []string{"path"})
	native := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "size_bytes", Help: "Size.", NativeHistogramBucketFactor: 1.1})
	both := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "both", Help: "Both.", Buckets: []float64{1, 2, 3}, NativeHistogramBucketFactor: 1.1})
	summary := prometheus.NewSummary(prometheus.SummaryOpts{Name: "wait_seconds", Help: "Wait.", Objectives: map[float64]float64{0.5: 0.05, 0.99: 0.001}})
	reg.MustRegister(requests, classic, native, both, summary)
	for i := range 100 {
		path := []string{"/", `/a\b"c`, "/ü\n"}[i%3]
		trace := prometheus.Labels{"trace_id": itoa(i)}
		requests.WithLabelValues(path, "200").(prometheus.ExemplarAdder).AddWithExemplar(1, trace)
		classic.WithLabelValues(path).(prometheus.ExemplarObserver).ObserveWithExemplar(float64(i)/50, trace)
		native.Observe(float64(i * i))
		both.(prometheus.ExemplarObserver).ObserveWithExemplar(float64(i)/20, trace)
		summary.Observe(float64(i) / 10)
	}
	s := httptest.NewServer(promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	t.Cleanup(s.Close)
	return s, reg
}

func TestClientGolangLive(t *testing.T) {
	s, _ := clientGolang(t)
	yes := true
	for name, c := range map[string]struct {
		mutate                func(*config.ScrapeConfig)
		exemplars, histograms int // at least
	}{
		"OpenMetrics by default": {func(*config.ScrapeConfig) {}, 10, 0},
		"text": {func(c *config.ScrapeConfig) {
			c.ScrapeProtocols = []config.ScrapeProtocol{config.PrometheusText0_0_4}
		}, 0, 0},
		"protobuf": {func(c *config.ScrapeConfig) { c.ScrapeNativeHistograms = &yes }, 10, 2},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := jobConfig("j", slow, c.mutate)
			accept := headersOf(t, cfg).Get("Accept")
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/metrics", http.NoBody)
			require.NoError(t, err)
			req.Header.Set("Accept", accept)
			resp, err := s.Client().Do(req)
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			want := contentsOf(t, body, resp.Header.Get("Content-Type"), c.histograms > 0)

			r := &recorder{next: newTSDB(t)}
			l := testLoop(t, newManager(t, r), cfg, model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s))})
			l.scrape(time.Now())
			require.NoError(t, l.target.LastError())
			appended, report := r.last(t)
			require.EqualValues(t, want.samples, report["scrape_samples_scraped"])
			require.Len(t, appended, want.samples)
			var exemplars, histograms int
			for _, a := range appended {
				require.NoError(t, a.err)
				require.True(t, want.series[labels.NewBuilder(a.lset).Del("job", "instance").Labels().WithoutEmpty().String()], a)
				exemplars += len(a.es)
				if a.h != nil {
					histograms++
				}
			}
			require.GreaterOrEqual(t, exemplars, c.exemplars)
			require.Equal(t, c.histograms, histograms)
			i := slices.IndexFunc(appended, func(a sample) bool { return a.name() == "http_requests_total" })
			require.Equal(t, "Requests \"by\" path\nand code.", appended[i].meta.Help)
			require.Equal(t, model.MetricTypeCounter, appended[i].meta.Type)
		})
	}
}

// node_exporter itself, where it is installed.
func TestNodeExporterLive(t *testing.T) {
	var path string
	for _, name := range []string{"prometheus-node-exporter", "node_exporter"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
		}
	}
	if path == "" {
		skip.Test(t, "A scrape of node_exporter", "install it, such as Debian's prometheus-node-exporter")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())
	cmd := exec.CommandContext(t.Context(), path, "--web.listen-address="+address) //nolint:gosec // What the test is about.
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})

	eventually(t, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, "node_exporter to listen")

	r := &recorder{next: newTSDB(t)}
	m := newManager(t, r)
	cfg := jobConfig("node", every(2*soon))
	require.NoError(t, m.Apply(one(cfg), groups("node", soonTarget(t, cfg, address))))
	eventually(t, func() bool { return len(r.all()) > 0 }, "a scrape of node_exporter")
	require.NoError(t, targetAt(t, m, "node", address).LastError())
	require.Equal(t, promscrape.HealthGood, targetAt(t, m, "node", address).Health())
	m.Stop()
	_, report := r.last(t)
	require.Greater(t, report["scrape_samples_scraped"], 100.0)
	names := map[string]bool{}
	for _, s := range r.byInstance(address) {
		require.NoError(t, s.err)
		names[s.name()] = true
	}
	for _, name := range []string{"node_cpu_seconds_total", "node_memory_MemTotal_bytes", "node_exporter_build_info", "up"} {
		require.Contains(t, names, name)
	}
}
