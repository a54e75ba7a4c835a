package tsdb

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/stretchr/testify/require"
)

func instant(t testing.TB, db *DB, expr string, when time.Time) Vector {
	t.Helper()
	v, err := db.Instant(context.Background(), Query{Expr: expr, At: when})
	require.NoError(t, err)
	return v
}

// The scene of most tests, evaluated at 120 s: pods a and b are scraped every 10 s (b stopped after
// 100 s), c has just begun, d went stale after 90 s, e was there long ago.
const scene = `
	requests_total{pod="a",ns="x"} 0+10x12
	requests_total{pod="b",ns="x"} 0+20x10
	requests_total{pod="c",ns="x"} _x12 5
	requests_total{pod="d",ns="y"} 0+30x9 stale
	requests_total{pod="e",ns="y"} 0+1x2
	requests_total{pod="a",ns="x",job="other"} 0+1x8
	temperature{pod="a",ns="x"} 20+1x12
	temperature{pod="b",ns="x"} 20+1x10
	temperature{pod="d",ns="y"} 20+1x9 stale
	info{pod="a",version="1"} 1x12
	info{pod="b",version="2"} 1x11
	weight{pod="a"} 2x5`

func openScene(t testing.TB, change ...func(*Options)) *DB {
	t.Helper()
	db := openIn(t, t.TempDir(), change...)
	load(t, db, 10*time.Second, scene)
	return db
}

// TestLast: for each expression, results as `labels @ seconds of the last sample`.
func TestLast(t *testing.T) {
	db := openScene(t)
	f := func(expr string, want ...string) {
		t.Helper()
		var got []string
		for _, s := range instant(t, db, expr, at(120)) {
			last := "never"
			if !s.Last.IsZero() {
				last = fmt.Sprint(s.Last.Sub(at(0)).Seconds())
			}
			got = append(got, s.Labels.String()+" @ "+last)
		}
		require.ElementsMatch(t, want, got)
	}
	// One series a result.
	f(`temperature`, `{__name__="temperature", ns="x", pod="a"} @ 120`, `{__name__="temperature", ns="x", pod="b"} @ 100`)
	f(`temperature + 1`, `{ns="x", pod="a"} @ 120`, `{ns="x", pod="b"} @ 100`)
	f(`temperature > 31`, `{__name__="temperature", ns="x", pod="a"} @ 120`)
	f(`timestamp(temperature{pod="b"})`, `{ns="x", pod="b"} @ 100`)
	f(`topk(1, temperature)`, `{__name__="temperature", ns="x", pod="a"} @ 120`)
	f(`rate(requests_total{job=""}[1m])`, `{ns="x", pod="a"} @ 120`, `{ns="x", pod="b"} @ 100`, `{ns="y", pod="d"} @ 90`)

	// Sums are as old as their oldest part; what gave nothing does not count: the stale d in an
	// instant vector, the single sample of c in a rate, and e, which is out of the window.
	f(`sum(temperature)`, `{} @ 100`)
	f(`sum by (ns) (temperature)`, `{ns="x"} @ 100`)
	f(`sum by (pod) (rate(requests_total[1m]))`, `{pod="a"} @ 80`, `{pod="b"} @ 100`, `{pod="d"} @ 90`)
	f(`sum without (ns, job) (rate(requests_total[1m]))`, `{pod="a"} @ 80`, `{pod="b"} @ 100`, `{pod="d"} @ 90`)
	f(`count by (pod) (count_over_time(requests_total{pod=~"c|d"}[1m]))`, `{pod="c"} @ 120`, `{pod="d"} @ 90`)
	f(`sum(rate(requests_total{pod=~"a|c",job=""}[1m]))`, `{} @ 120`)
	f(`sum(requests_total{pod=~"a|d",job=""})`, `{} @ 120`)
	f(`sum(requests_total{pod="d"})`)
	f(`max_over_time(requests_total{pod="d"}[1m])`, `{ns="y", pod="d"} @ 90`)

	// Two selectors.
	f(`rate(requests_total{job=""}[1m]) / on (pod, ns) temperature`, `{ns="x", pod="a"} @ 120`, `{ns="x", pod="b"} @ 100`)
	f(`temperature * on (pod) group_left weight`, `{ns="x", pod="a"} @ 50`)
	f(`temperature * on (pod) group_left (version) info`, `{ns="x", pod="a", version="1"} @ 120`, `{ns="x", pod="b", version="2"} @ 100`)
	f(`temperature and on (pod) weight`, `{__name__="temperature", ns="x", pod="a"} @ 120`)
	f(`temperature{pod="b"} or weight`, `{__name__="temperature", ns="x", pod="b"} @ 100`, `{__name__="weight", pod="a"} @ 50`)
	f(`temperature{pod="a"} / scalar(sum(weight))`, `{ns="x", pod="a"} @ 50`)

	// Labels made up: by a new label the series are still told; by a replaced one not, and the oldest of
	// all counts.
	f(`label_replace(temperature, "kind", "Pod", "", "")`, `{__name__="temperature", kind="Pod", ns="x", pod="a"} @ 120`, `{__name__="temperature", kind="Pod", ns="x", pod="b"} @ 100`)
	f(`label_replace(temperature{pod="a"}, "pod", "z", "", "") or on() weight`, `{__name__="temperature", ns="x", pod="z"} @ 50`)

	// Moved in time.
	f(`temperature{pod="a"} offset 25s`, `{__name__="temperature", ns="x", pod="a"} @ 90`)
	f(`temperature{pod="d"} offset 30s`, `{__name__="temperature", ns="y", pod="d"} @ 90`)
	f(`rate(requests_total{pod="e"}[1m] offset 90s)`, `{ns="y", pod="e"} @ 20`)
	f(fmt.Sprintf(`temperature{pod="a"} @ %d`, at(33).Unix()), `{__name__="temperature", ns="x", pod="a"} @ 30`)
	f(`max_over_time(temperature{pod="a"}[1m:20s])`, `{ns="x", pod="a"} @ 120`)
	f(`max_over_time(temperature{pod="a"}[1m:50s])`, `{ns="x", pod="a"} @ 100`) // multiples of 50 s since 1970
	f(`max_over_time(rate(requests_total{pod="d"}[30s])[1m:10s])`, `{ns="y", pod="d"} @ 90`)

	// Nothing behind it.
	f(`vector(1)`, `{} @ never`)
	f(`1 + 1`, `{} @ never`)
	f(`absent(nonsense)`, `{} @ never`)
	f(`scalar(sum(temperature))`, `{} @ 100`)
	f(`nonsense`)
}

func TestLookback(t *testing.T) {
	db := openScene(t, func(o *Options) { o.LookbackDelta = 15 * time.Second })
	f := func(lookback time.Duration, want int) {
		t.Helper()
		v, err := db.Instant(context.Background(), Query{Expr: `temperature`, At: at(120), Lookback: lookback})
		require.NoError(t, err)
		require.Len(t, v, want)
	}
	f(0, 1)
	f(-time.Minute, 1)
	f(30*time.Second, 2)
	f(20*time.Second, 1) // b is exactly 20 s old: the window is open there
	f(20*time.Second+time.Millisecond, 2)
}

// TestAgreesWithEngine compares values and labels with what the engine gives without us between.
func TestAgreesWithEngine(t *testing.T) {
	db := openScene(t)
	for _, expr := range []string{
		`requests_total`, `sum by (ns) (rate(requests_total[1m]))`, `irate(requests_total[2m])`, `increase(requests_total[90s])`,
		`avg_over_time(temperature[1m])`, `quantile_over_time(0.9, temperature[1m])`, `deriv(temperature[1m])`,
		`predict_linear(temperature[1m], 60)`, `changes(temperature[1m])`, `resets(requests_total[1m])`, `last_over_time(requests_total[5m])`,
		`temperature * on (pod) group_left (version) info`, `sort_desc(temperature)`, `topk(2, requests_total)`, `bottomk(1, requests_total)`,
		`count_values("v", temperature)`, `stddev(temperature)`, `absent(nonsense)`, `absent_over_time(requests_total{pod="e"}[30s])`,
		`requests_total unless on (pod) temperature`, `timestamp(requests_total)`, `label_join(temperature, "both", "-", "ns", "pod")`,
		`max_over_time(sum(rate(requests_total[30s]))[1m:10s])`, `delta(temperature[1m] offset 20s)`, `clamp_max(temperature, 25)`,
	} {
		query, err := db.Engine().NewInstantQuery(context.Background(), db, nil, expr, at(120))
		require.NoError(t, err)
		result := query.Exec(context.Background())
		require.NoError(t, result.Err)
		want, err := result.Vector()
		require.NoError(t, err)
		got := instant(t, db, expr, at(120))
		require.Len(t, got, len(want), expr)
		byLabels := map[string]float64{}
		for _, s := range want {
			byLabels[s.Metric.String()] = s.F
		}
		for _, s := range got {
			require.Contains(t, byLabels, s.Labels.String(), expr)
			require.InDelta(t, byLabels[s.Labels.String()], s.Value, 0, expr)
			require.False(t, strings.HasPrefix(expr, "absent") != s.Last.IsZero(), expr)
		}
		query.Close()
	}
}

func TestNotVector(t *testing.T) {
	db := openScene(t)
	for expr, kind := range map[string]string{`temperature[1m]`: "range vector", `"text"`: "string"} {
		_, err := db.Instant(context.Background(), Query{Expr: expr, At: at(120)})
		require.ErrorIs(t, err, ErrNotVector)
		require.ErrorContains(t, err, expr)
		require.ErrorContains(t, err, kind)
	}
}

func TestHistograms(t *testing.T) {
	dir := t.TempDir()
	db := openIn(t, dir)
	app := db.AppenderV2(context.Background())
	for i := range 13 {
		ls := labels.FromStrings("__name__", "latency", "pod", "a")
		_, err := app.Append(0, ls, 0, at(float64(10*i)).UnixMilli(), 0, tsdbutil.GenerateTestHistogram(int64(i)), nil, storage.AOptions{})
		require.NoError(t, err)
		fh := tsdbutil.GenerateTestFloatHistogram(int64(i))
		if i == 12 {
			fh.Sum = math.Float64frombits(value.StaleNaN)
		}
		_, err = app.Append(0, labels.FromStrings("__name__", "latency", "pod", "b"), 0, at(float64(10*i)).UnixMilli(), 0, nil, fh, storage.AOptions{})
		require.NoError(t, err)
	}
	require.NoError(t, app.Commit())
	require.NoError(t, db.Close())
	db = openIn(t, dir) // reads them from the log
	require.NoError(t, db.Damage())

	_, err := db.Instant(context.Background(), Query{Expr: `sum(rate(latency[1m]))`, At: at(120)})
	require.ErrorIs(t, err, ErrHistogram)
	require.ErrorContains(t, err, "sum(rate(latency[1m]))")

	for expr, want := range map[string]map[string]time.Time{
		`histogram_count(latency)`:                                 {"a": at(120)},
		`histogram_count(rate(latency[1m]))`:                       {"a": at(120), "b": at(110)},
		`histogram_quantile(0.9, latency)`:                         {"a": at(120)},
		`histogram_quantile(0.9, sum by (pod)(rate(latency[1m])))`: {"a": at(120), "b": at(110)},
	} {
		got := map[string]time.Time{}
		for _, s := range instant(t, db, expr, at(120)) {
			got[s.Labels.Get("pod")] = s.Last.UTC()
		}
		require.Equal(t, want, got, expr)
	}
}

func TestQueryErrors(t *testing.T) {
	db := openScene(t, func(o *Options) { o.MaxSamples = 20 })
	_, err := db.Instant(context.Background(), Query{Expr: `sum(rate(requests_total[1m])`, At: at(120)})
	require.ErrorContains(t, err, "evaluate sum(rate(requests_total[1m]): ")
	var parseErrs parser.ParseErrors
	require.ErrorAs(t, err, &parseErrs)

	_, err = db.Instant(context.Background(), Query{Expr: `rate({__name__=~".+"}[2m])`, At: at(120)})
	var tooMany promql.ErrTooManySamples
	require.ErrorAs(t, err, &tooMany)

	_, err = db.Instant(context.Background(), Query{Expr: `temperature * on (ns) temperature`, At: at(120)})
	require.ErrorContains(t, err, "many-to-many")

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = db.Instant(ctx, Query{Expr: `temperature`, At: at(120)})
	var canceled promql.ErrQueryCanceled
	require.ErrorAs(t, err, &canceled)

	long := `temperature{pod=~"` + strings.Repeat("é|", 5000) + `"}[1m]`
	_, err = db.Instant(context.Background(), Query{Expr: long, At: at(120)})
	require.ErrorIs(t, err, ErrNotVector)
	require.Less(t, len(err.Error()), 2000)
}

func TestQueryTimeout(t *testing.T) {
	db := openScene(t, func(o *Options) { o.QueryTimeout = 50 * time.Millisecond; o.MaxSamples = 1 << 30 })
	// Two million steps of two selectors.
	_, err := db.Instant(context.Background(), Query{Expr: `count_over_time((temperature + on (pod) temperature)[2000s:1ms])`, At: at(120)})
	var timeout promql.ErrQueryTimeout
	require.ErrorAs(t, err, &timeout)
}

// A query over the limit waits, runs when a slot is free, and gives up with ErrBusy otherwise.
func TestConcurrencyLimit(t *testing.T) {
	db := openScene(t, func(o *Options) { o.MaxConcurrency = 2; o.QueryTimeout = time.Second })
	busy := db.slots
	require.Equal(t, 2, busy.GetMaxConcurrent())
	for range 2 {
		_, err := busy.Insert(context.Background(), "")
		require.NoError(t, err)
	}
	_, err := db.Instant(context.Background(), Query{Expr: `temperature`, At: at(120)})
	require.ErrorIs(t, err, ErrBusy)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "evaluate temperature: too many queries at once: 2 are running")
	_, err = db.Engine().NewInstantQuery(context.Background(), db, nil, `temperature`, at(120))
	require.ErrorIs(t, err, ErrBusy)

	for range 2 {
		busy.Delete(0)
	}
	var wg sync.WaitGroup
	for range 50 { // 25 times the limit
		wg.Go(func() {
			if _, err := db.Instant(context.Background(), Query{Expr: `sum(temperature)`, At: at(120)}); err != nil {
				t.Error(err)
			}
			if n := len(busy.free); n > 2 {
				t.Error("slots taken: ", n)
			}
		})
	}
	wg.Wait()
	require.Empty(t, busy.free)
}

// Queries that read many samples take turns; others go beside them.
func TestLargeQueriesTakeTurns(t *testing.T) {
	db := openIn(t, t.TempDir(), func(o *Options) { o.QueryTimeout = time.Second })
	for step := range 120 {
		appender := db.AppenderV2(t.Context())
		for i := range 1000 {
			_, err := appender.Append(0, labels.FromStrings("__name__", "x", "a", strconv.Itoa(i)), 0, at(float64(step)).UnixMilli(), float64(step), nil, nil, storage.AOptions{})
			require.NoError(t, err)
		}
		require.NoError(t, appender.Commit())
	}
	large := Query{Expr: `sum(rate(x[2m]))`, At: at(119)}
	_, err := db.Instant(t.Context(), large)
	require.NoError(t, err)
	require.True(t, db.heavy.take(t.Context()), "it gave its turn back")
	_, err = db.Instant(t.Context(), large)
	require.ErrorAs(t, err, new(promql.ErrQueryTimeout))
	_, err = db.Instant(t.Context(), Query{Expr: `sum(rate(x[1m]))`, At: at(119)})
	require.NoError(t, err)
	db.heavy.giveBack()
	_, err = db.Instant(t.Context(), large)
	require.NoError(t, err)
}

// Close does not wait for a query to end by itself.
func TestCloseEndsQueries(t *testing.T) {
	db := openScene(t, func(o *Options) { o.MaxConcurrency = 1; o.QueryTimeout = time.Hour })
	slot, err := db.slots.Insert(context.Background(), "")
	require.NoError(t, err)
	done := make(chan error)
	go func() {
		_, err := db.Instant(context.Background(), Query{Expr: `temperature`, At: at(120)})
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatal("did not wait: ", err)
	case <-time.After(20 * time.Millisecond):
	}
	require.NoError(t, db.Close())
	require.ErrorIs(t, <-done, ErrClosed)
	db.slots.Delete(slot)
}

// TestManyKindsOfResults: past maxTables the time may be too old, but never too new.
func TestManyKindsOfResults(t *testing.T) {
	db := openIn(t, t.TempDir())
	for i := range maxTables + 20 {
		add(t, db, fmt.Sprintf(`many{label%d="x"}`, i), at(float64(i)), 1)
	}
	exact := 0
	for _, s := range instant(t, db, `many`, at(120)) {
		var i int
		s.Labels.Range(func(l labels.Label) {
			if l.Name != "__name__" {
				_, err := fmt.Sscanf(l.Name, "label%d", &i)
				require.NoError(t, err)
			}
		})
		if s.Last.Equal(at(float64(i))) {
			exact++
		} else {
			require.Equal(t, at(0).UnixMilli(), s.Last.UnixMilli())
		}
	}
	require.Equal(t, maxTables, exact)
}
