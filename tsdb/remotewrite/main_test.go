package remotewrite

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/tsdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start is where the time of the tests begins, in milliseconds: receivers refuse what is in the future.
var start = time.Now().Add(-3 * time.Hour).UnixMilli()

// engine is a receiver made of Prometheus's own handler and storage. It refuses, as Prometheus does, a whole request for
// one sample that is out of order.
type engine struct {
	*promtsdb.DB
	server   *httptest.Server
	status   atomic.Int64 // answered instead of storing, if not 0
	requests atomic.Int64 // whose samples were stored or refused
	// storing keeps reads and requests apart: Prometheus sorts its list of series in place when two requests add series at
	// once, also while others read it.
	storing sync.RWMutex
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	silent := slog.New(slog.DiscardHandler)
	db, err := promtsdb.Open(t.TempDir(), silent, nil, promtsdb.DefaultOptions(), nil)
	require.NoError(t, err)
	e := &engine{DB: db}
	handler := remote.NewWriteHandler(silent, prometheus.NewRegistry(), db, list(config.DefaultRemoteWriteConfig.ProtobufMessage, "io.prometheus.write.v2.Request"), false, false, false)
	e.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := e.status.Load(); status != 0 {
			http.Error(w, "not now", int(status))
			return
		}
		e.requests.Add(1)
		e.storing.RLock()
		defer e.storing.RUnlock()
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		e.server.Close()
		require.NoError(t, db.Close())
	})
	return e
}

func list[T any](all ...T) []T { return all }

// source is a database whose samples are sent to engines.
type source struct {
	t   *testing.T
	dir string
	db  *tsdb.DB
	now int64
}

func newSource(t *testing.T, change ...func(*tsdb.Options)) *source {
	t.Helper()
	s := &source{t: t, dir: t.TempDir(), now: start}
	s.open(change...)
	t.Cleanup(func() { require.NoError(t, s.db.Close()) })
	return s
}

func (s *source) open(change ...func(*tsdb.Options)) {
	s.t.Helper()
	opts := tsdb.Options{Dir: s.dir, Retention: 24 * time.Hour, BlockDuration: 4 * time.Hour}
	for _, c := range change {
		c(&opts)
	}
	var err error
	s.db, err = tsdb.Open(opts)
	require.NoError(s.t, err)
}

// scrape stores n series, as scrapes a second apart do.
func (s *source) scrape(times, n int) {
	s.t.Helper()
	for range times {
		s.now += 1000
		app := s.db.AppenderV2(s.t.Context())
		for i := range n {
			_, err := app.Append(0, labels.FromStrings("__name__", "x", "i", fmt.Sprint(i)), 0, s.now, float64(s.now%100_000+int64(i)), nil, nil, storage.AOptions{})
			require.NoError(s.t, err)
		}
		require.NoError(s.t, app.Commit())
	}
}

// one stores one sample.
func (s *source) one(series labels.Labels, v float64) {
	s.t.Helper()
	s.now++
	app := s.db.AppenderV2(s.t.Context())
	_, err := app.Append(0, series, 0, s.now, v, nil, nil, storage.AOptions{})
	require.NoError(s.t, err)
	require.NoError(s.t, app.Commit())
}

func (s *source) histogram(series labels.Labels, i int64) {
	s.t.Helper()
	s.now++
	app := s.db.AppenderV2(s.t.Context())
	_, err := app.Append(0, series, 0, s.now, 0, tsdbutil.GenerateTestHistogram(i), nil, storage.AOptions{})
	require.NoError(s.t, err)
	require.NoError(s.t, app.Commit())
}

// writer returns a Writer for a source.
func (s *source) writer(change ...func(*Options)) *Writer {
	s.t.Helper()
	opts := Options{Log: filepath.Join(s.dir, "wal"), Held: filepath.Join(s.dir, "unsent"), Dir: filepath.Join(s.dir, "remote-write"), Registerer: prometheus.NewRegistry()}
	for _, c := range change {
		c(&opts)
	}
	w := New(opts)
	s.t.Cleanup(func() { require.NoError(s.t, w.Close()) })
	return w
}

// parse reads the remoteWrite part of a configuration file.
func parse(t testing.TB, text string, args ...any) (Config, error) {
	t.Helper()
	asJSON, err := yaml.YAMLToJSONStrict(fmt.Appendf(nil, text, args...))
	require.NoError(t, err)
	var file struct {
		RemoteWrite    []map[string]any  `json:"remoteWrite"`
		ExternalLabels map[string]string `json:"externalLabels"`
	}
	require.NoError(t, json.UnmarshalCaseSensitivePreserveInts(asJSON, &file))
	return Parse(file.RemoteWrite, file.ExternalLabels, "/etc/promlet")
}

// apply configures engines, with short delays.
func apply(t *testing.T, w *Writer, more string, engines ...*engine) {
	t.Helper()
	text := "remoteWrite:\n"
	for i, e := range engines {
		text += fmt.Sprintf("- {name: e%d, url: %q, send_native_histograms: true, queue_config: {batch_send_deadline: 100ms, max_backoff: 100ms}%s}\n", i, e.server.URL, more)
	}
	c, err := parse(t, "%s", text)
	require.NoError(t, err)
	require.NoError(t, w.Apply(c))
}

// samples returns all samples of a storage by series, and their number.
func samples(t *testing.T, db storage.Queryable) (all map[string][]string, n int) {
	t.Helper()
	q, err := db.Querier(math.MinInt64, math.MaxInt64)
	require.NoError(t, err)
	defer func() { require.NoError(t, q.Close()) }()
	all = map[string][]string{}
	set := q.Select(context.Background(), false, nil, labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+"))
	for set.Next() {
		series := set.At()
		it := series.Iterator(nil)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			var text string
			switch kind {
			case chunkenc.ValFloat:
				at, v := it.At()
				text = fmt.Sprintf("%d %x", at, math.Float64bits(v))
			default:
				at, h := it.AtFloatHistogram(nil)
				text = fmt.Sprintf("%d %s", at, h)
			}
			all[series.Labels().String()] = append(all[series.Labels().String()], text)
			n++
		}
		require.NoError(t, it.Err())
	}
	require.NoError(t, set.Err())
	return all, n
}

// samples returns all samples of an engine by series, and their number.
func (e *engine) samples(t *testing.T) (all map[string][]string, n int) {
	t.Helper()
	e.storing.Lock()
	defer e.storing.Unlock()
	return samples(t, e.DB)
}

// arrives waits until an engine has every sample of a source, and no other.
func (e *engine) arrives(t *testing.T, s *source) {
	t.Helper()
	want, n := samples(t, s.db)
	e.arrivesAll(t, want, n)
}

func (e *engine) arrivesAll(t *testing.T, want map[string][]string, n int) {
	t.Helper()
	require.NotZero(t, n)
	got := map[string][]string{}
	deadline := time.Now().Add(20 * time.Second)
	for have := 0; have < n && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		got, have = e.samples(t)
	}
	require.Equal(t, len(want), len(got), "series")
	for series := range want {
		require.Equal(t, want[series], got[series], series)
	}
}
