package tsdb

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
)

// Series that do not count are as if they were not there: the result is that of a
// database without them.
func TestSeriesThatDoNotCount(t *testing.T) {
	db := openScene(t)
	f := func(expr string, counts func(Series) bool, want ...float64) {
		t.Helper()
		v, err := db.Instant(context.Background(), expr, at(120), 0, counts)
		require.NoError(t, err)
		got := []float64{}
		for _, s := range v {
			got = append(got, s.Value)
		}
		require.InDeltaSlice(t, want, got, 1e-9, expr)
	}
	fresh := func(s Series) bool { return !s.Last.Before(at(110)) }
	marked := func(s Series) bool { return !s.Stale }
	nothing := func(Series) bool { return false }

	f(`sum(last_over_time(temperature[1m]))`, nil, 32+30+29)
	f(`sum(last_over_time(temperature[1m]))`, marked, 32+30)
	f(`sum(last_over_time(temperature[1m]))`, fresh, 32)
	f(`sum(rate(requests_total{ns="x"}[1m]))`, fresh, 1)
	f(`sum by (ns) (last_over_time(temperature[1m]))`, func(s Series) bool { return s.Labels.Get("ns") == "y" }, 29)
	f(`temperature`, fresh, 32)
	f(`count(temperature)`, nothing)
	f(`vector(1)`, nothing, 1)
	// Both selectors read it.
	f(`sum(rate(requests_total{pod="b"}[1m]) / rate(requests_total{pod="b"}[2m]))`, fresh)
}

// What is told of a series is what the query used of it.
func TestToldOfSeries(t *testing.T) {
	db := openScene(t)
	told := map[string]Series{}
	_, err := db.Instant(context.Background(), `sum(rate(requests_total[1m]))`, at(120), 0, func(s Series) bool {
		told[s.Labels.Get("pod")+s.Labels.Get("job")] = s
		return true
	})
	require.NoError(t, err)
	require.Len(t, told, 4, "c, with one sample, and e, which is old, gave nothing")
	require.Equal(t, at(120), told["a"].Last.UTC())
	require.Equal(t, at(100), told["b"].Last.UTC())
	require.Equal(t, at(90), told["d"].Last.UTC())
	require.True(t, told["d"].Stale)
	require.False(t, told["b"].Stale)
	require.Equal(t, at(80), told["aother"].Last.UTC())
}

// BenchmarkGone is a sum of which one in twenty series is gone.
func BenchmarkGone(b *testing.B) {
	db := openIn(b, b.TempDir())
	for i := range 200 {
		app := db.AppenderV2(context.Background())
		series := labels.FromStrings("__name__", "requests_total", "pod", time.Duration(i).String())
		for step := range 10 {
			if i%20 != 0 || step < 5 {
				_, err := app.Append(0, series, 0, at(float64(10*step)).UnixMilli(), float64(step), nil, nil, storage.AOptions{})
				require.NoError(b, err)
			}
		}
		require.NoError(b, app.Commit())
	}
	counts := func(s Series) bool { return !s.Last.Before(at(70)) }
	b.ReportAllocs()
	for b.Loop() {
		_, err := db.Instant(context.Background(), `sum(rate(requests_total[2m]))`, at(90), 0, counts)
		require.NoError(b, err)
	}
}
