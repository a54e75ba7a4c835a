package tsdb

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/stretchr/testify/require"
)

// scraped is a database whose series are scraped every 10 s from at(0) on.
type scraped struct {
	*DB
	t       *testing.T
	sources map[string]Source // by labels
	objects map[string]time.Time
	gone    map[string]bool // pods
}

// scraping loads series, each of which its target has been observed for since its first sample. A target is told by
// the label url, or else by the pod.
func scraping(t *testing.T, script string) *scraped {
	s := &scraped{DB: openIn(t, t.TempDir()), t: t, sources: map[string]Source{}, objects: map[string]time.Time{}, gone: map[string]bool{}}
	load(t, s.DB, 10*time.Second, script)
	q, err := s.Querier(at(0).UnixMilli(), at(1e6).UnixMilli())
	require.NoError(t, err)
	defer func() { require.NoError(t, q.Close()) }()
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchNotEqual, "__name__", ""))
	for set.Next() {
		ls := set.At().Labels()
		it := set.At().Iterator(nil)
		it.Next()
		first := time.UnixMilli(it.AtT())
		url := ls.Get("url")
		if url == "" {
			url = ls.Get("pod")
		}
		s.sources[ls.String()] = Source{
			Target: &Target{
				ID: labels.FromStrings("url", url).Hash(), Rank: uint64(len(s.sources)), Interval: 10 * time.Second, LastScrape: at(240),
			},
			Exposed: labels.NewBuilder(ls).Del("pod", "service", "url", "job").Labels().Hash(), First: first, Since: first,
		}
	}
	require.NoError(t, set.Err())
	return s
}

// of changes what is known of a series.
func (s *scraped) of(series string, change func(*Source)) {
	id := parseLabels(s.t, series).String()
	source, ok := s.sources[id]
	require.True(s.t, ok, series)
	change(&source)
	s.sources[id] = source
}

func (s *scraped) query(expr string, apart ...string) Vector {
	s.t.Helper()
	parsed, err := s.parser.ParseExpr(expr)
	require.NoError(s.t, err)
	v, err := s.Instant(context.Background(), Query{
		Expr: expr, At: at(240), Grouping: NewGrouping(parsed, apart...), Interval: 10 * time.Second, LongestInterval: 10 * time.Second,
		Source: func(ls labels.Labels) (Source, bool) {
			source, ok := s.sources[ls.String()]
			return source, ok
		},
		Object: func(ls labels.Labels) (time.Time, bool) { return s.objects[ls.Get("pod")], s.gone[ls.Get("pod")] },
	})
	require.NoError(s.t, err)
	return v
}

// value is that of the only result, "none" where there is none, with the window where that is not the whole.
func (s *scraped) value(expr string, apart ...string) string {
	s.t.Helper()
	v := s.query(expr, apart...)
	if len(v) == 0 {
		return "none"
	}
	require.Len(s.t, v, 1, expr)
	text := fmt.Sprintf("%.4g", v[0].Value)
	if w := v[0].Window; w != 0 && w != 2*time.Minute {
		text += " over " + w.String()
	}
	return text
}

func TestRatesOfYoungSeries(t *testing.T) {
	f := func(want, script string, change ...func(*scraped)) {
		t.Helper()
		s := scraping(t, script)
		for _, c := range change {
			c(s)
		}
		require.Equal(t, want, s.value(`sum(rate(x[2m]))`))
	}
	f("5", `x{pod="a"} 0+50x24`)
	f("5 over 30s", `x{pod="a"} _x21 1000+50x3`)
	f("5 over 30s", `x{pod="a"} _x21 0+50x3`)         // its line begins below zero
	f("5 over 30s", `x{pod="a"} _x21 100 150 50 100`) // a reset in which nothing is lost
	f("none", `x{pod="a"} _x24 7`)
	f("15", `x{pod="a"} 0+50x24
		x{pod="b"} _x22 0+100x2`)
	// A failed scrape or two in the window, at its beginning and at its end.
	f("5", `x{pod="a"} 0+50x16 _x3 1000+50x4`)
	f("5 over 1m40s", `x{pod="a"} 0+50x10 _x3 700+50x10`) // too long a gap to bridge
	f("5", `x{pod="a"} 0+50x22 stale`, func(s *scraped) {
		s.of(`x{pod="a"}`, func(o *Source) { o.Target.FailingSince, o.Target.LastScrape = at(230), at(220) })
	})
	// One sample in the window, and one before it.
	f("5 over 1m50s", `x{pod="a"} 0+50x11 _x10 1100+50x0 _x2`, func(s *scraped) {
		s.of(`x{pod="a"}`, func(o *Source) { o.Target.Interval = 2 * time.Minute })
	})
	// New itself, on a target that was scraped before: it counts with what it has added, as in Prometheus.
	f("1.25", `x{pod="a"} _x21 0+50x3`, func(s *scraped) { // 150 in 120 s
		s.of(`x{pod="a"}`, func(o *Source) { o.Since = at(0) })
	})
}

// An increase reaches back to when its pod began.
func TestIncreaseOfYoungSeries(t *testing.T) {
	const script = `x{pod="a"} _x18 900+50x6`
	s := scraping(t, script)
	require.Equal(t, "600 over 1m0s", s.value(`sum(increase(x[2m]))`))
	s.objects["a"] = at(10)
	require.Equal(t, "600 over 1m0s", s.value(`sum(increase(x[2m]))`))
	s.objects["a"] = at(140)
	require.Equal(t, "535.7 over 1m0s", s.value(`sum(increase(x[2m]))`), "as Prometheus says of a series that began then")
	s.objects["a"] = at(179)
	require.Equal(t, "325", s.value(`sum(increase(x[2m]))`))
}

func TestRatesOfYoungHistograms(t *testing.T) {
	s := &scraped{DB: openIn(t, t.TempDir()), t: t, sources: map[string]Source{}}
	app := s.AppenderV2(t.Context())
	series := labels.FromStrings("__name__", "latency", "pod", "a")
	for i := range 4 {
		h := tsdbutil.GenerateTestHistogram(int64(10 * i))
		if i == 0 {
			h.CounterResetHint = histogram.CounterReset
		}
		_, err := app.Append(0, series, 0, at(float64(210+10*i)).UnixMilli(), 0, h, nil, storage.AOptions{})
		require.NoError(t, err)
	}
	require.NoError(t, app.Commit())
	s.sources[series.String()] = Source{Target: &Target{Interval: 10 * time.Second, LastScrape: at(240)}, First: at(210), Since: at(210)}
	rise := tsdbutil.GenerateTestHistogram(30).Count - tsdbutil.GenerateTestHistogram(0).Count
	require.Equal(t, fmt.Sprintf("%.4g over 30s", float64(rise)/30), s.value(`histogram_count(sum(rate(latency[2m])))`))
}

// Which series count, and for how long.
func TestWhatCounts(t *testing.T) {
	f := func(expr, want, script string, change ...func(*scraped)) {
		t.Helper()
		s := scraping(t, script)
		for _, c := range change {
			c(s)
		}
		require.Equal(t, want, s.value(expr))
	}
	failing := func(s *scraped) {
		s.of(`x{pod="b"}`, func(o *Source) { o.Target.FailingSince, o.Target.LastScrape = at(230), at(220) })
	}
	down := func(s *scraped) {
		s.of(`x{pod="b"}`, func(o *Source) { o.Target.FailingSince, o.Target.LastScrape = at(210), at(200) })
	}
	gone := func(s *scraped) { s.gone["b"] = true }
	both := `x{pod="a"} 1x24
		x{pod="b"} 2x22 stale`
	f(`sum(x)`, "3", both, failing)
	f(`sum(x)`, "1", both) // a scrape that succeeded did not hold it
	f(`sum(x)`, "1", both, failing, gone)
	f(`sum(x)`, "1", `x{pod="a"} 1x24
		x{pod="b"} 2x20 stale`, down)
	// What the author of a rule looks back for is there as long as the object is.
	f(`sum(max_over_time(x[2m]))`, "3", both)
	f(`sum(x or max_over_time(x[2m]))`, "3", both)
	f(`sum(max_over_time(x[2m]))`, "1", both, gone)
	// A series that nobody is known to scrape counts while it is fresh.
	unknown := func(s *scraped) { clear(s.sources) }
	f(`sum(x)`, "3", `x{pod="a"} 1x24
		x{pod="b"} 2x22`, unknown)
	f(`sum(x)`, "1", `x{pod="a"} 1x24
		x{pod="b"} 2x21`, unknown)
	f(`sum(x)`, "1", both, unknown)
	// Samples with times of the exporter's own are as old as they say, and current while they are exposed.
	f(`sum(x)`, "3", `x{pod="a"} 1x24
		x{pod="b"} 2x8`)
}

// A URL counts once, whatever labels it is scraped under; several URLs of a pod are added.
func TestURLCountsOnce(t *testing.T) {
	s := scraping(t, `
		x{pod="a",service="one",url="a:80"} 0+50x24
		x{pod="a",service="two",url="a:80"} 0+50x24
		x{pod="a",service="one",url="a:81"} 0+10x24
		x{pod="a",service="one",url="a:80",code="500"} 0+20x24`)
	require.Equal(t, "8", s.value(`sum by (pod) (rate(x[2m]))`))
	require.Equal(t, "8", s.value(`sum(rate(x[2m]))`))
	require.Len(t, s.query(`sum by (service) (rate(x[2m]))`), 2, "each Service has its own")
	require.Len(t, s.query(`rate(x[2m])`), 3)
	require.Len(t, s.query(`rate(x[2m])`, "service"), 4)
	// Of two the one that counts now counts.
	s.of(`x{pod="a",service="one",url="a:80"}`, func(o *Source) { o.Target.LastScrape = at(100) })
	require.Equal(t, "8", s.value(`sum by (pod) (rate(x[2m]))`))
}

// When a pod joins or leaves, the load of the others changes: 100 a second of one pod are 50 of each of two from
// at(200) on.
func TestSumsWhosePartsChange(t *testing.T) {
	const joined = `x{pod="a"} 0+1000x20 20500+500x3
		x{pod="b"} _x20 0+500x4`
	s := scraping(t, joined)
	require.Equal(t, "131.8", s.value(`sum(rate(x[2m]))`), "nobody has said that the load changed")
	require.Equal(t, "81.82", s.value(`sum by (pod) (rate(x{pod="a"}[2m]))`))
	changes := func(o *Source) { o.Target.Changes = []time.Time{at(199)} }
	s.of(`x{pod="a"}`, changes)
	s.of(`x{pod="b"}`, changes)
	require.Equal(t, "100 over 40s", s.value(`sum(rate(x[2m]))`))
	require.Equal(t, "50 over 40s", s.value(`sum by (pod) (rate(x{pod="a"}[2m]))`))

	// Before all have been read twice since, it has the parts that it had before.
	s = scraping(t, `x{pod="a"} 0+1000x23 23500
		x{pod="b"} _x24 0`)
	changes = func(o *Source) { o.Target.Changes = []time.Time{at(239)} }
	s.of(`x{pod="a"}`, changes)
	s.of(`x{pod="b"}`, changes)
	require.Equal(t, "100", s.value(`sum(rate(x[2m]))`))

	// What has left counts until then, also while scraping does not know yet that its pod is gone.
	s = scraping(t, `x{pod="a"} 0+500x24
		x{pod="b"} 0+500x24`)
	s.gone["b"] = true
	require.Equal(t, "100", s.value(`sum(rate(x[2m]))`))
	s.of(`x{pod="b"}`, func(o *Source) { o.Target.LastScrape = at(210) })
	require.Equal(t, "50", s.value(`sum(rate(x[2m]))`), "it has long not been scraped")
	s = scraping(t, `x{pod="a"} 0+500x24
		x{pod="b"} 0+500x23 stale`)
	s.of(`x{pod="b"}`, func(o *Source) { o.Target.Ended, o.Target.LastScrape = at(235), at(230) })
	s.of(`x{pod="a"}`, func(o *Source) { o.Target.Changes = []time.Time{at(235)} })
	require.Equal(t, "100", s.value(`sum(rate(x[2m]))`))
	s.of(`x{pod="b"}`, func(o *Source) { o.Target.Ended = at(226) })
	s.of(`x{pod="a"}`, func(o *Source) { o.Target.Changes = []time.Time{at(226)} })
	require.Equal(t, "50", s.value(`sum(rate(x[2m]))`)[:2])

	// Of two changes a moment apart, the sum is as it was before the first until all have been read twice since the last.
	s = scraping(t, `x{pod="a"} 0+500x23 11700
		x{pod="b"} 0+500x23 stale
		x{pod="c"} _x23 0 100`)
	s.of(`x{pod="b"}`, func(o *Source) { o.Target.Ended, o.Target.LastScrape = at(231), at(230) })
	s.of(`x{pod="a"}`, func(o *Source) { o.Target.Changes = []time.Time{at(231), at(235)} })
	require.Equal(t, "100", s.value(`sum(rate(x[2m]))`))
}

// Sums of counters that move slowly keep the whole window: a few events say little.
func TestSlowSumsKeepTheirWindow(t *testing.T) {
	s := scraping(t, `x{pod="a"} 0+10x24
		x{pod="b"} _x20 0+10x4`)
	for _, series := range []string{`x{pod="a"}`, `x{pod="b"}`} {
		s.of(series, func(o *Source) { o.Target.Changes = []time.Time{at(199)} })
	}
	require.Equal(t, "2", s.value(`sum(rate(x[2m]))`))
}
