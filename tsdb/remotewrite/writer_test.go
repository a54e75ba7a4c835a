package remotewrite

import (
	"fmt"
	"math"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/tsdb"
)

func TestEverySampleArrives(t *testing.T) {
	t.Parallel()
	for _, message := range []string{"prometheus.WriteRequest", "io.prometheus.write.v2.Request"} {
		t.Run(message, func(t *testing.T) {
			s, e := newSource(t), newEngine(t)
			w := s.writer()
			apply(t, w, ", protobuf_message: "+message, e)
			s.scrape(20, 300)
			series := labels.FromStrings("__name__", "y", "utf8.name", "ü")
			s.one(series, math.Inf(1))
			s.one(series, math.NaN())
			s.one(series, math.Float64frombits(value.StaleNaN))
			s.histogram(labels.FromStrings("__name__", "h"), 1)
			s.histogram(labels.FromStrings("__name__", "h"), 2)
			e.arrives(t, s)
			require.Empty(t, w.Problems())
		})
	}
}

// An engine's rates are too low while the newest sample is late. Prometheus's default deadline is 5 s.
func TestArrivesSoon(t *testing.T) {
	t.Parallel()
	s, e := newSource(t), newEngine(t)
	w := s.writer()
	c, err := parse(t, "remoteWrite: [{url: %q}]", e.server.URL)
	require.NoError(t, err)
	require.NoError(t, w.Apply(c))
	s.scrape(1, 50)
	began := time.Now()
	e.arrives(t, s)
	require.Less(t, time.Since(began), 4*time.Second)
}

func TestGoesOnAfterRestart(t *testing.T) {
	t.Parallel()
	s, e := newSource(t), newEngine(t)
	w := s.writer()
	apply(t, w, "", e)
	s.scrape(10, 50)
	e.arrives(t, s)

	e.status.Store(http.StatusServiceUnavailable)
	s.scrape(10, 50)
	require.NoError(t, w.Close())
	require.NoError(t, s.db.Close())
	s.open()
	e.status.Store(0)
	w = s.writer()
	apply(t, w, "", e)
	s.scrape(10, 50)
	e.arrives(t, s)
	require.Empty(t, w.Problems())
}

// After a crash of the system, the log may have lost more than the file with the queue's position.
func TestLogShorterThanNoted(t *testing.T) {
	t.Parallel()
	s, e := newSource(t), newEngine(t)
	w := s.writer()
	apply(t, w, "", e)
	s.scrape(3, 10)
	e.arrives(t, s)
	q := w.queue(0)
	require.NoError(t, w.Close())
	noted := q.progress
	noted.Sent.Segment += 2
	noted.Sent.Record = 1000
	noted.Tried = noted.Sent
	require.NoError(t, noted.write(q.path))
	require.NoError(t, s.db.Close())
	s.open()
	w = s.writer()
	apply(t, w, "", e)
	s.scrape(3, 10)
	e.arrives(t, s)
}

// Samples sent shortly before a crash are sent again. An engine that refuses a whole request because of one old sample
// still gets all new samples.
func TestSentAgainAfterCrash(t *testing.T) {
	t.Parallel()
	s, e := newSource(t), newEngine(t)
	w := s.writer()
	apply(t, w, "", e)
	file := func() string {
		files, err := filepath.Glob(filepath.Join(s.dir, "remote-write", "*.json"))
		require.NoError(t, err)
		require.Len(t, files, 1)
		return files[0]
	}
	before, err := readProgress(file())
	require.NoError(t, err)
	s.scrape(5, 50)
	e.arrives(t, s)
	s.scrape(3, 1) // the engine has a part of the last batch
	e.arrives(t, s)
	require.NoError(t, w.Close())
	after, err := readProgress(file())
	require.NoError(t, err)
	require.True(t, before.Sent.before(after.Sent))
	require.Equal(t, after.Sent, after.Tried)

	s.now -= 3000
	for i := 1; i < 50; i++ { // and not the rest
		s.one(labels.FromStrings("__name__", "x", "i", "late"), float64(i))
	}
	s.now += 3000
	before.Tried = position{before.Tried.Generation, before.Tried.Segment + 1, 0}
	require.NoError(t, before.write(file()))
	requests := e.requests.Load()
	w = s.writer()
	apply(t, w, "", e)
	s.scrape(5, 50)
	e.arrives(t, s)
	require.Greater(t, e.requests.Load(), requests+5, "it must have been sent again, in small requests")
	require.Empty(t, w.Problems(), "that samples are refused again is no problem")
}

// The storage writes blocks, makes checkpoints and removes segments while the engine is away. Prometheus's watcher would
// find its next segment gone.
func TestEngineAwayLongerThanTheLog(t *testing.T) {
	t.Parallel()
	small := func(o *tsdb.Options) { o.BlockDuration, o.WALSegmentSize = time.Minute, 32<<10 }
	s, e := newSource(t, small), newEngine(t)
	w := s.writer()
	apply(t, w, "", e)
	s.scrape(30, 50)
	s.one(labels.FromStrings("__name__", "ended"), 1)
	e.arrives(t, s)
	e.status.Store(http.StatusBadGateway)
	_, last, err := wlog.Segments(filepath.Join(s.dir, "wal"))
	require.NoError(t, err)
	s.outgrow(w, last)
	e.status.Store(0)
	e.arrives(t, s)
	require.Empty(t, w.Problems())

	// Sent segments are removed.
	require.Eventually(t, func() bool {
		bytes, _, err := w.log.alone(time.Now())
		return err == nil && bytes == 0
	}, 30*time.Second, 100*time.Millisecond)
	s.scrape(30, 50)
	e.arrives(t, s)
}

// A database that starts empty numbers segments and series from the beginning. It sets its log aside, or removes it.
func TestDatabaseBeginsAnew(t *testing.T) {
	t.Parallel()
	for name, reason := range map[string]error{"clock": tsdb.ErrClockSet, "size": syscall.EDQUOT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			beginsAnew(t, reason)
		})
	}
}

func beginsAnew(t *testing.T, reason error) {
	t.Helper()
	s, e := newSource(t), newEngine(t)
	w := s.writer()
	apply(t, w, "", e)
	s.scrape(5, 50)
	e.arrives(t, s)
	e.status.Store(http.StatusBadGateway)
	s.one(labels.FromStrings("__name__", "before"), 1)
	s.scrape(5, 50)
	want, n := samples(t, s.db)
	require.NoError(t, s.db.Renew(reason))
	s.one(labels.FromStrings("__name__", "after"), 1)
	s.scrape(5, 50)
	more, m := samples(t, s.db)
	for series, all := range more {
		want[series] = append(want[series], all...)
	}
	time.Sleep(2 * holdEvery)
	e.status.Store(0)
	e.arrivesAll(t, want, n+m)
	s.scrape(5, 1)
	require.Eventually(t, func() bool {
		all, err := w.log.generations()
		return err == nil && len(all) == 1
	}, 30*time.Second, 100*time.Millisecond, "the log of before must be released")
	require.Empty(t, w.Problems())
}

// outgrow stores half an hour of samples, until the storage has removed some segments after one.
func (s *source) outgrow(w *Writer, segment int) {
	s.t.Helper()
	for range 60 {
		s.scrape(30, 50)
		require.NoError(s.t, w.tend(time.Now()))
	}
	require.Eventually(s.t, func() bool {
		first, _, err := wlog.Segments(filepath.Join(s.dir, "wal"))
		return err == nil && first > segment+5
	}, 20*time.Second, 50*time.Millisecond, "the storage must have removed what was not sent")
}

func TestHeldForTooLong(t *testing.T) {
	t.Parallel()
	small := func(o *tsdb.Options) { o.BlockDuration, o.WALSegmentSize = time.Minute, 32<<10 }
	s, e := newSource(t, small), newEngine(t)
	w := s.writer(func(o *Options) { o.HeldBytes = 100 << 10 })
	apply(t, w, "", e)
	e.status.Store(http.StatusBadGateway)
	s.outgrow(w, 0)
	require.NoError(t, w.tend(time.Now()))
	e.status.Store(0)
	require.Eventually(t, func() bool { return strings.Contains(strings.Join(w.Problems(), "\n"), "samples were lost at") }, 20*time.Second, 50*time.Millisecond)
	series := labels.FromStrings("__name__", "goes_on")
	s.one(series, 1)
	require.Eventually(t, func() bool { all, _ := e.samples(t); return len(all[series.String()]) == 1 }, 20*time.Second, 50*time.Millisecond)
}

// queue returns a running queue.
func (w *Writer) queue(i int) *queue { return (*w.queues.Load())[i] }

func TestEngineThatRefuses(t *testing.T) {
	t.Parallel()
	s, e := newSource(t), newEngine(t)
	w := s.writer()
	apply(t, w, "", e)
	problem := func(text string) {
		t.Helper()
		require.Eventually(t, func() bool { return strings.Contains(strings.Join(w.Problems(), "\n"), text) }, 10*time.Second, 20*time.Millisecond, "%s: %s", text, w.Problems())
	}
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests} {
		e.status.Store(int64(status))
		s.scrape(3, 20)
		if status != http.StatusTooManyRequests {
			problem("remoteWrite e0 (" + e.server.URL + "): the engine does not let promlet write: server returned HTTP status")
		}
		time.Sleep(200 * time.Millisecond)
		e.status.Store(0)
		e.arrives(t, s)
		// The engine has stored samples before its answer arrives.
		require.Eventually(t, func() bool { return len(w.Problems()) == 0 }, 10*time.Second, 20*time.Millisecond, "%s", w.Problems())
	}
	e.status.Store(http.StatusBadRequest)
	s.scrape(1, 1)
	problem("the engine refused samples, and they are not sent again: server returned HTTP status 400 Bad Request: not now")
}

func TestProblemsOfWaiting(t *testing.T) {
	t.Parallel()
	s, e := newSource(t), newEngine(t)
	w := s.writer(func(o *Options) { o.Retention = 2 * time.Hour })
	apply(t, w, "", e)
	e.server.Close()
	s.scrape(1, 1)
	q := w.queue(0)
	require.Eventually(t, func() bool { failing, _, _ := q.client.status(time.Now()); return failing != "" }, 10*time.Second, 20*time.Millisecond)
	require.Empty(t, w.Problems())
	lines := q.problems(time.Now().Add(10*time.Minute), 2*time.Hour)
	require.Len(t, lines, 1)
	require.Regexp(t, `^remoteWrite e0 \(http://127.0.0.1:\d+\): samples have been waiting for 10m\d+s: dial tcp .*connection refused: make the engine reachable; samples are kept for up to 2h0m0s$`, lines[0])
}

func TestApply(t *testing.T) {
	t.Parallel()
	s, first, second := newSource(t), newEngine(t), newEngine(t)
	registry := prometheus.NewRegistry()
	w := s.writer(func(o *Options) { o.Registerer = registry })
	s.scrape(2, 20)
	shipped := func() (n int) {
		all, err := registry.Gather()
		require.NoError(t, err)
		for _, family := range all {
			require.True(t, strings.HasPrefix(family.GetName(), "prometheus_remote_storage_"), family.GetName())
			if family.GetName() == "prometheus_remote_storage_samples_total" {
				n = len(family.GetMetric())
			}
		}
		return n
	}
	apply(t, w, "", first, second)
	require.Equal(t, 2, shipped())
	unchanged := w.queue(0)
	apply(t, w, "", first, second)
	require.Same(t, unchanged, w.queue(0))

	// Samples stored before are not sent.
	s.scrape(1, 20)
	for _, e := range []*engine{first, second} {
		require.Eventually(t, func() bool { _, n := e.samples(t); return n == 20 }, 10*time.Second, 20*time.Millisecond)
	}

	// The second one changes while it does not answer, and loses nothing. Samples noted as sent are not sent again.
	require.Eventually(t, func() bool {
		end, err := w.log.end()
		return err == nil && w.queue(1).sent() == end
	}, 10*time.Second, 20*time.Millisecond)
	second.status.Store(http.StatusBadGateway)
	s.scrape(5, 20)
	c, err := parse(t, `
remoteWrite:
- {name: e0, url: %q, send_native_histograms: true, queue_config: {batch_send_deadline: 100ms, max_backoff: 100ms}}
- {name: e1, url: %q, queue_config: {batch_send_deadline: 50ms, max_backoff: 100ms}, write_relabel_configs: [{target_label: more, replacement: "1"}]}
`, first.server.URL, second.server.URL)
	require.NoError(t, err)
	require.NoError(t, w.Apply(c))
	require.Same(t, unchanged, w.queue(0))
	second.status.Store(0)
	require.Eventually(t, func() bool { _, n := samples(t, second.DB); return n == 120 }, 10*time.Second, 20*time.Millisecond)
	all, _ := samples(t, second.DB)
	require.Len(t, all[`{__name__="x", i="3", more="1"}`], 5)

	// With a missing file the old configuration stays.
	bad, err := parse(t, `remoteWrite: [{url: "https://x/", tls_config: {ca_file: ca.pem}}]`)
	require.NoError(t, err)
	require.ErrorContains(t, w.Apply(bad), "remoteWrite[0]: unable to read CA cert: unable to read file /etc/promlet/ca.pem")
	require.Equal(t, 2, shipped())

	apply(t, w, "", first)
	require.Equal(t, 1, shipped())
	files, err := filepath.Glob(filepath.Join(s.dir, "remote-write", "*.json"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.NoError(t, w.Apply(Config{}))
	require.Zero(t, shipped())
	require.NoDirExists(t, filepath.Join(s.dir, "unsent"))
	require.NoDirExists(t, filepath.Join(s.dir, "remote-write"))
}

// Metrics have none of a URL's secrets, and two queues that differ in these alone are two.
func TestMetricsOfQueues(t *testing.T) {
	t.Parallel()
	s, e := newSource(t), newEngine(t)
	registry := prometheus.NewRegistry()
	w := s.writer(func(o *Options) { o.Registerer = registry })
	c, err := parse(t, `
remoteWrite:
- {url: "%[1]s/?token=s3cr3t", authorization: {credentials: a}}
- {url: "%[1]s/?token=s3cr3t", authorization: {credentials: b}, metadata_config: {send_interval: 0s}}
`, e.server.URL)
	require.NoError(t, err)
	require.NoError(t, w.Apply(c))
	n, err := testutil.GatherAndCount(registry, "prometheus_remote_storage_samples_pending")
	require.NoError(t, err)
	require.Equal(t, 2, n)
	all, err := registry.Gather()
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprint(all), "s3cr3t")
}
