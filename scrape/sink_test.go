package scrape

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/promlet/promlet/scrape/sink"
)

// kubeletBody is what a kubelet serves at /metrics/resource, with the times of its own: only
// container_start_time_seconds has none. ms is the time of the samples.
func kubeletBody(ms int64) string {
	return strings.ReplaceAll(`# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="app",namespace="shop",pod="web-1"} 12.5 MS
container_cpu_usage_seconds_total{container="proxy",namespace="shop",pod="web-1"} 0.25 MS
# HELP container_memory_working_set_bytes [STABLE] Current working set of the container in bytes
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="app",namespace="shop",pod="web-1"} 1.048576e+06 MS
# HELP container_start_time_seconds [STABLE] Start time of the container since unix epoch in seconds
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container="app",namespace="shop",pod="web-1"} 1.7e+09
# HELP node_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the node in core-seconds
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 1234.5 MS
# HELP pod_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the pod in core-seconds
# TYPE pod_cpu_usage_seconds_total counter
pod_cpu_usage_seconds_total{namespace="shop",pod="web-1"} 12.75 MS
# HELP resource_scrape_error [STABLE] 1 if there was an error while getting container metrics, 0 otherwise
# TYPE resource_scrape_error gauge
resource_scrape_error 0
`, "MS", itoa(ms))
}

// collector is a sink that notes what it gets, one line each.
type collector struct {
	mu    sync.Mutex
	lines []string
	busy  map[string]bool
}

func (c *collector) note(target labels.Labels, lines ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, line := range lines {
		c.lines = append(c.lines, target.Get("instance")+" "+line)
	}
}

// take returns the lines since it was last called.
func (c *collector) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := c.lines
	c.lines = nil
	return lines
}

// sink returns the sink of the names.
func (c *collector) sink(names ...string) sink.Sink {
	return sink.Sink{
		Wanted: func(name string) bool { return slices.Contains(names, name) },
		Scraped: func(target labels.Labels, at time.Time, samples []sink.Sample) {
			lines := []string{"scraped"}
			for _, s := range samples {
				when := s.Time.UnixMilli()
				if !s.Explicit {
					when -= at.UnixMilli()
				}
				lines = append(lines, fmt.Sprint(s.Labels, " ", s.Value, " @", when))
			}
			c.note(target, lines...)
		},
		Failed: func(target labels.Labels, _ time.Time, err error) { c.note(target, "failed: "+err.Error()) },
		Ended:  func(target labels.Labels) { c.note(target, "ended") },
	}
}

const cpuName, memoryName, startName = "container_cpu_usage_seconds_total", "container_memory_working_set_bytes", "container_start_time_seconds"

// withSink gives the job named kubelets a sink.
func withSink(s sink.Sink) func(*Options) {
	return func(o *Options) { o.Sinks = map[string]sink.Sink{"kubelets": s} }
}

// kubeletTarget is a target as discovery makes it.
func kubeletTarget(address string) model.LabelSet {
	return model.LabelSet{model.AddressLabel: model.LabelValue(address), model.InstanceLabel: "n1", "node": "n1"}
}

func storedSeries(r *recorder) (names []string) {
	for _, batch := range r.all() {
		for _, s := range batch {
			if s.name() != "up" && !strings.HasPrefix(s.name(), "scrape_") {
				names = append(names, s.lset.String())
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func lastReport(t *testing.T, r *recorder, name string) float64 {
	t.Helper()
	_, report := r.last(t)
	require.Contains(t, report, name)
	return report[name]
}

// A sink gets what it wants of each scrape, whether or not anything is stored on demand, and
// whoever reads these names: nothing but the synthetic series is stored.
func TestSink(t *testing.T) {
	for name, mutate := range map[string]func(*Options){"everything": noMutation, "on demand": onDemand} {
		t.Run(name, func(t *testing.T) {
			ms := time.Now().UnixMilli()
			s := serveBody(t, textType, kubeletBody(ms))
			var c collector
			r := &recorder{}
			m := newManager(t, r, mutate, withSink(c.sink(cpuName, startName)))
			require.NoError(t, m.SetDemand(context.Background(), wants(cpuName, memoryName)))
			l := testLoop(t, m, jobConfig("kubelets", slow), kubeletTarget(addressOf(s)))
			at := time.Now()
			for i := range 3 {
				l.scrape(at.Add(time.Duration(i) * time.Second))
				require.Equal(t, []string{
					`n1 scraped`,
					fmt.Sprintf(`n1 {__name__="container_cpu_usage_seconds_total", container="app", namespace="shop", pod="web-1"} 12.5 @%d`, ms),
					fmt.Sprintf(`n1 {__name__="container_cpu_usage_seconds_total", container="proxy", namespace="shop", pod="web-1"} 0.25 @%d`, ms),
					`n1 {__name__="container_start_time_seconds", container="app", namespace="shop", pod="web-1"} 1.7e+09 @0`,
				}, c.take(), "scrape %d", i)
				require.Equal(t, 7.0, lastReport(t, r, "scrape_samples_scraped"))
				require.Equal(t, 7.0, lastReport(t, r, "scrape_samples_post_metric_relabeling"))
				if i > 0 {
					require.Zero(t, lastReport(t, r, "scrape_series_added"), "scrape %d", i)
				}
			}
			require.Empty(t, storedSeries(r))
			require.Equal(t, promscrape.HealthGood, l.target.Health())
		})
	}
}

// What a sink does not want, and nobody stores, is not parsed once its name is known.
func TestSinkSkipsWhatItDoesNotWant(t *testing.T) {
	ms := time.Now().UnixMilli()
	broken := strings.ReplaceAll(kubeletBody(ms), "pod_cpu_usage_seconds_total{namespace", "pod_cpu_usage_seconds_total{names pace")
	s := serveSequence(t, textType, kubeletBody(ms), broken)
	var c collector
	l := testLoop(t, newManager(t, &recorder{}, withSink(c.sink(cpuName))), jobConfig("kubelets", slow), kubeletTarget(addressOf(s.Server)))
	l.scrape(time.Now())
	l.scrape(time.Now().Add(time.Second))
	got := c.take()
	require.Len(t, got, 6)
	require.Equal(t, got[:3], got[3:])
}

// All formats give a sink the same.
func TestSinkInAllFormats(t *testing.T) {
	reg := prometheus.NewRegistry()
	gauge := func(name string, value float64, set prometheus.Labels) {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, ConstLabels: set})
		g.Set(value)
		reg.MustRegister(g)
	}
	gauge("a", 5, prometheus.Labels{"x": "1"})
	gauge("b", 7, nil)
	bodies := map[string]string{
		textType: "# TYPE a gauge\na{x=\"1\"} 5\nb 7\n",
		omType:   "# TYPE a gauge\na{x=\"1\"} 5\n# TYPE b gauge\nb 7\n# EOF\n",
		pbType:   gathered(reg),
	}
	for contentType, body := range bodies {
		var c collector
		s := serveBody(t, contentType, body)
		_, l := scrapeOnce(t, s, jobConfig("kubelets", slow), onDemand, withSink(c.sink("a")))
		require.NoError(t, l.target.LastError(), contentType)
		got := c.take()
		require.Len(t, got, 2, contentType)
		require.Contains(t, got[1], `{__name__="a", x="1"} 5 @0`, contentType)
	}
}

// A scrape that fails hands over nothing, wherever it fails.
func TestSinkGetsWholeScrapesOnly(t *testing.T) {
	now := time.Now().UnixMilli()
	body := kubeletBody(now)
	f := func(name, body, want string, mutate ...func(*Options)) {
		t.Helper()
		var c collector
		s := serveBody(t, textType, body)
		scrapeOnce(t, s, jobConfig("kubelets", slow), append(mutate, withSink(c.sink(cpuName, startName, "a")))...)
		got := c.take()
		require.Len(t, got, 1, name)
		require.Contains(t, got[0], "failed: "+want, name)
	}
	f("a line", body+"container_start_time_seconds{\n", "line 20:")
	f("a label twice", body+"a{x=\"1\",x=\"2\"} 1\n", `label "x" is given twice`)
	f("the name twice", body+"a{__name__=\"container_start_time_seconds\"} 1\n", `label "__name__" is given twice`)
	f("too many samples", body, "sample_limit exceeded (limit: 2)", func(o *Options) { o.SampleLimit = 2 })
	f("too many labels", body, "label_limit exceeded", func(o *Options) { o.LabelLimit = 3 })
	f("a long value", body+"a{x=\""+strings.Repeat("v", 100)+"\"} 1\n", "label_value_length_limit exceeded", func(o *Options) { o.LabelValueLengthLimit = 64 })
	f("a large body", body, "body_size_limit exceeded", func(o *Options) { o.BodySizeLimit = 500 })
	f("no storage", body, "commit the scrape", func(o *Options) { o.Appendable = &recorder{failCommit: context.DeadlineExceeded} })
}

// A sample from the future is not handed over, as it would not be stored: a later one would
// seem to be out of order.
func TestSinkGetsNoSamplesOfTheFuture(t *testing.T) {
	var c collector
	at := time.Now()
	body := fmt.Sprintf("a{x=\"1\"} 1 %d\na{x=\"2\"} 2 %d\n", at.Add(time.Hour).UnixMilli(), at.UnixMilli())
	_, l := scrapeOnce(t, serveBody(t, textType, body), jobConfig("kubelets", slow), withSink(c.sink("a")))
	require.Len(t, c.take(), 2)
	require.Equal(t, at.Add(time.Hour).UnixMilli(), l.lastSamples.Load().outOfBounds["a"])
}

// A panic in a sink ends neither the scrape nor the loop.
func TestSinkPanics(t *testing.T) {
	s := sink.Sink{Wanted: func(string) bool { return true }, Scraped: func(labels.Labels, time.Time, []sink.Sample) { panic("oops") }}
	r, l := scrapeOnce(t, serveBody(t, textType, "a 1\n"), jobConfig("kubelets", slow), withSink(s))
	require.NoError(t, l.target.LastError())
	require.Equal(t, 1.0, lastReport(t, r, "up"))
}

// The names of a job with a sink are not offered, and nobody waits for them.
func TestSinkKeepsNamesOutOfTheCatalog(t *testing.T) {
	var c collector
	s := serveBody(t, textType, kubeletBody(time.Now().UnixMilli()))
	m := newManager(t, &recorder{}, onDemand, withSink(c.sink(cpuName)))
	require.NoError(t, m.SetDemand(context.Background(), wants(cpuName)))
	cfg := jobConfig("kubelets", slow)
	require.NoError(t, m.Apply([]*config.ScrapeConfig{cfg}, groups("kubelets", group(addressOf(s)))))
	before := m.CatalogVersion()
	eventually(t, func() bool { return len(c.take()) > 0 }, "scraped")
	eventually(t, func() bool { return len(exposedOf(m, "kubelets")) == 6 }, "the job's names are known")
	all, version := m.Catalog()
	require.Len(t, all, extraReports)
	for _, metric := range all {
		require.True(t, isReport(metric.Name) && metric.Stored, metric.Name)
	}
	require.Equal(t, before, version)
	require.False(t, m.Collecting(cpuName))
	for _, metric := range exposedOf(m, "kubelets") {
		require.False(t, metric.Stored, metric.Name)
	}
}

// Series of a job with a sink are stored where the sink says so: on demand if somebody reads
// them, and as long as it says so.
func TestSinkStores(t *testing.T) {
	const cpuSeries = `{__name__="container_cpu_usage_seconds_total", container="%s", instance="n1", job="kubelets", namespace="shop", node="n1", pod="web-1"}`
	for name, mutate := range map[string]func(*Options){"everything": noMutation, "on demand": onDemand} {
		t.Run(name, func(t *testing.T) {
			ms := time.Now().UnixMilli()
			s := serveBody(t, textType, kubeletBody(ms))
			var c collector
			var stored atomic.Bool
			to := c.sink(memoryName)
			to.Stored = func(name string) bool { return stored.Load() && name == cpuName }
			r := &recorder{}
			m := newManager(t, r, mutate, withSink(to))
			l := testLoop(t, m, jobConfig("kubelets", slow), kubeletTarget(addressOf(s)))
			l.job.plan.settings = l.settings
			m.jobs["kubelets"] = l.job
			defer delete(m.jobs, "kubelets")

			at := time.Now()
			l.scrape(at)
			require.Empty(t, storedSeries(r))
			stored.Store(true)
			require.NoError(t, m.SetDemand(context.Background(), wants(cpuName, startName)))
			l.scrape(at.Add(time.Second))
			require.Equal(t, []string{fmt.Sprintf(cpuSeries, "app"), fmt.Sprintf(cpuSeries, "proxy")}, storedSeries(r))
			if m.opts.OnDemand {
				require.NoError(t, m.SetDemand(context.Background(), wants(startName)))
			} else {
				stored.Store(false)
				require.NoError(t, m.SetDemand(context.Background(), wants(cpuName)))
			}
			n := len(r.all())
			l.scrape(at.Add(2 * time.Second))
			for _, s := range slices.Concat(r.all()[n:]...) {
				require.True(t, s.stale() || s.name() == "up" || strings.HasPrefix(s.name(), "scrape_"), s)
			}
			require.Len(t, slices.DeleteFunc(c.take(), func(line string) bool { return !strings.Contains(line, memoryName) }), 3)
		})
	}
}

// Ended comes when a target has gone, and not when it goes on: at another address, with other
// settings, or after a restart.
func TestSinkEnds(t *testing.T) {
	ms := time.Now().UnixMilli()
	first, second := serveBody(t, textType, kubeletBody(ms)), serveBody(t, textType, kubeletBody(ms))
	failing := serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	var c collector
	m := newManager(t, &recorder{}, onDemand, withSink(c.sink(cpuName)))
	cfg := jobConfig("kubelets", slow)
	apply := func(cfg *config.ScrapeConfig, address string) {
		t.Helper()
		g := &targetgroup.Group{Source: "node/n1"}
		if address != "" {
			g.Targets = []model.LabelSet{kubeletTarget(address)}
		}
		require.NoError(t, m.Apply([]*config.ScrapeConfig{cfg}, groups("kubelets", g)))
	}
	next := func(want string) {
		t.Helper()
		eventually(t, func() bool {
			got := c.take()
			require.NotContains(t, got, "n1 ended")
			return slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, want) })
		}, want)
	}
	apply(cfg, addressOf(first))
	next("n1 scraped")
	apply(cfg, addressOf(second))
	next("n1 scraped")
	apply(jobConfig("kubelets", slow, func(c *config.ScrapeConfig) { c.HonorLabels = true }), addressOf(second))
	next("n1 scraped")
	require.NoError(t, m.Restart(func() error { return nil }))
	next("n1 scraped")
	apply(cfg, addressOf(failing))
	next("n1 failed: server returned HTTP status 403 Forbidden")
	apply(cfg, "")
	require.Equal(t, "n1 ended", c.take()[0], "Apply has waited for it")
	apply(cfg, addressOf(first))
	next("n1 scraped")
	require.NoError(t, m.Apply(nil, nil))
	require.Contains(t, c.take(), "n1 ended")
	apply(cfg, addressOf(first))
	next("n1 scraped")
	m.Stop()
	require.NotContains(t, c.take(), "n1 ended")
}

// Many targets, demand and restarts at once: each target's calls come one after the other.
func TestSinkOfManyTargets(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", textType)
		_, _ = w.Write([]byte(kubeletBody(time.Now().UnixMilli())))
	})
	c := collector{busy: map[string]bool{}}
	var calls atomic.Int64
	enter := func(target labels.Labels) {
		calls.Add(1)
		node := target.Get("node")
		c.mu.Lock()
		taken := c.busy[node]
		c.busy[node] = true
		c.mu.Unlock()
		if taken {
			t.Errorf("two calls at once for %s", node)
		}
		time.Sleep(time.Millisecond)
		c.mu.Lock()
		c.busy[node] = false
		c.mu.Unlock()
	}
	m := newManager(t, newTSDB(t), onDemand, withSink(sink.Sink{
		Wanted:  func(name string) bool { return name == cpuName },
		Stored:  func(string) bool { return calls.Load()%2 == 0 },
		Scraped: func(target labels.Labels, _ time.Time, _ []sink.Sample) { enter(target) },
		Failed:  func(target labels.Labels, _ time.Time, _ error) { enter(target) },
		Ended:   enter,
	}))
	cfg := jobConfig("kubelets", every(20*time.Millisecond))
	for round := range 20 {
		g := &targetgroup.Group{Source: "nodes"}
		for i := range 10 + round%5 {
			name := model.LabelValue("n" + itoa(i))
			g.Targets = append(g.Targets, model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s)), model.InstanceLabel: name, "node": name})
		}
		require.NoError(t, m.Apply([]*config.ScrapeConfig{cfg}, groups("kubelets", g)))
		require.NoError(t, m.SetDemand(context.Background(), wants(cpuName, itoa(round))))
		if round%7 == 6 {
			require.NoError(t, m.Restart(func() error { return nil }))
		}
		m.Catalog()
		time.Sleep(30 * time.Millisecond)
	}
	require.Positive(t, calls.Load())
}
