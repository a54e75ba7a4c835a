package scrape

import (
	"bytes"
	"compress/gzip"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/teststorage"

	"github.com/promlet/promlet/scrape/seriesroom"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

const (
	textType = "text/plain; version=0.0.4; charset=utf-8"
	omType   = "application/openmetrics-text; version=1.0.0; charset=utf-8"
	pbType   = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

	// soon is how long to wait at most for what happens within some intervals.
	soon = 30 * time.Second
)

// serve answers every request by h.
func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// serveBody answers every request with the body.
func serveBody(t testing.TB, contentType, body string) *httptest.Server {
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write([]byte(body))
	})
}

// answers serves one body after the other; the last one for ever. A body that
// begins with "!" is a failure.
type answers struct {
	*httptest.Server
	n atomic.Int64
}

func serveSequence(t testing.TB, contentType string, bodies ...string) *answers {
	a := &answers{}
	a.Server = serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n := int(a.n.Add(1))
		body := bodies[min(n, len(bodies))-1]
		if strings.HasPrefix(body, "!") {
			http.Error(w, "broken", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write([]byte(body))
	})
	return a
}

func gzipped(t testing.TB, s string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(s))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.Bytes()
}

// jobConfig is a valid job as the operator would write one.
func jobConfig(name string, mutate ...func(*config.ScrapeConfig)) *config.ScrapeConfig {
	c := config.DefaultScrapeConfig
	c.JobName = name
	c.HTTPClientConfig = config_util.DefaultHTTPClientConfig
	// Long enough for a busy machine not to run into the timeout.
	c.ScrapeInterval = model.Duration(500 * time.Millisecond)
	c.ScrapeTimeout = model.Duration(500 * time.Millisecond)
	for _, m := range mutate {
		m(&c)
	}
	return &c
}

func every(d time.Duration) func(*config.ScrapeConfig) {
	return func(c *config.ScrapeConfig) {
		c.ScrapeInterval, c.ScrapeTimeout = model.Duration(d), model.Duration(d)
	}
}

func addressOf(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }

func group(addresses ...string) *targetgroup.Group {
	g := &targetgroup.Group{Source: "test"}
	for _, a := range addresses {
		g.Targets = append(g.Targets, model.LabelSet{model.AddressLabel: model.LabelValue(a)})
	}
	return g
}

func groups(job string, gs ...*targetgroup.Group) map[string][]*targetgroup.Group {
	return map[string][]*targetgroup.Group{job: gs}
}

func newManager(t testing.TB, app storage.AppendableV2, mutate ...func(*Options)) *Manager {
	t.Helper()
	opts := Options{Appendable: app, Compression: true} // as Prometheus
	for _, m := range mutate {
		m(&opts)
	}
	m, err := NewManager(opts)
	require.NoError(t, err)
	t.Cleanup(m.Stop)
	return m
}

// exposedOf are the names in the catalog that a job's targets expose.
func exposedOf(m *Manager, job string) []Metric {
	return slices.DeleteFunc(m.CatalogOf(job), func(metric Metric) bool { return isReport(metric.Name) })
}

// noLimits are the options with which nothing differs from Prometheus.
func noLimits(o *Options) {
	o.BodySizeLimit, o.SampleLimit, o.LabelLimit = -1, -1, -1
	o.LabelNameLengthLimit, o.LabelValueLengthLimit, o.BucketLimit, o.ScrapeMemory = -1, -1, -1, -1
}

// testLoop makes the loop of one target without starting it: the test calls scrape with
// timestamps of its choice.
func testLoop(t testing.TB, m *Manager, cfg *config.ScrapeConfig, target model.LabelSet) *loop {
	t.Helper()
	g := &targetgroup.Group{Source: "test", Targets: []model.LabelSet{target}}
	p, err := m.planJob(nil, cfg, []*targetgroup.Group{g})
	require.NoError(t, err)
	require.NoError(t, p.err)
	require.Len(t, p.targets, 1)
	j := &job{loops: map[uint64]*loop{}}
	j.adopt(p)
	l := m.newLoop(j, p.settings, p.made[g].targets[0])
	t.Cleanup(func() {
		l.cancel()
		l.settings.fetcher.CloseIdleConnections()
	})
	return l
}

// scrapeOnce scrapes the server with a fresh loop into a fresh recorder.
func scrapeOnce(t testing.TB, s *httptest.Server, cfg *config.ScrapeConfig, mutate ...func(*Options)) (*recorder, *loop) {
	t.Helper()
	r := &recorder{}
	l := testLoop(t, newManager(t, r, mutate...), cfg, model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s))})
	l.scrape(time.Now())
	return r, l
}

func slow(c *config.ScrapeConfig) { every(time.Minute)(c) }

func newTSDB(t testing.TB, mutate ...teststorage.Option) *teststorage.TestStorage {
	return teststorage.New(t, append([]teststorage.Option{func(o *tsdb.Options) {
		o.EnableExemplarStorage, o.MaxExemplars = true, 1000
	}}, mutate...)...)
}

// counted has a room count the series of a storage.
func counted(room *seriesroom.Room) teststorage.Option {
	return func(o *tsdb.Options) { o.SeriesLifecycleCallback = room.Storage() }
}

// eventually waits until ok returns true.
func eventually(t testing.TB, ok func() bool, msg string) {
	t.Helper()
	require.Eventually(t, ok, soon, 5*time.Millisecond, msg)
}

// targetAt returns the target with the address.
func targetAt(t testing.TB, m *Manager, job, address string) *promscrape.Target {
	t.Helper()
	for _, tg := range m.TargetsActive()[job] {
		if tg.GetValue(model.AddressLabel) == address {
			return tg
		}
	}
	require.Failf(t, "no such target", "%s in %v", address, slices.Collect(maps.Keys(m.TargetsActive())))
	return nil
}

// soonTarget is a target with an address whose scheduled time, with the job's long
// interval, is within the next two seconds.
func soonTarget(t testing.TB, cfg *config.ScrapeConfig, address string) *targetgroup.Group {
	t.Helper()
	checked, err := checkedConfig(cfg)
	require.NoError(t, err)
	for i := range 1_000_000 {
		own := model.LabelSet{model.AddressLabel: model.LabelValue(address), "__try": model.LabelValue(itoa(i))}
		c, err := discoverTarget(own, nil, checked, namespacePin{}, labels.NewBuilder(labels.EmptyLabels()))
		require.NoError(t, err)
		if wait := offset(c.key, c.settings.interval, time.Now()); wait > 300*time.Millisecond && wait < 2*time.Second {
			return &targetgroup.Group{Source: "soon", Targets: []model.LabelSet{own}}
		}
	}
	require.Fail(t, "no scheduled time soon")
	return nil
}

func itoa[T int | int64](n T) string { return strconv.FormatInt(int64(n), 10) }

// logBuffer collects what is logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
