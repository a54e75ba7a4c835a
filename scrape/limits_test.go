package scrape

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/promlet/promlet/scrape/internal/budget"
)

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name  string
		opts  func(*Options)
		cfg   func(*config.ScrapeConfig)
		good  string
		bad   string
		want  string
		limit string
	}{
		{
			"samples, option", func(o *Options) { o.SampleLimit = 2 }, nil,
			"a 1\nb 1\n", "a 1\nb 1\nc 1\n", "sample_limit exceeded (limit: 2)", "sample",
		},
		{
			"samples, job wins", func(o *Options) { o.SampleLimit = 1 }, func(c *config.ScrapeConfig) { c.SampleLimit = 2 },
			"a 1\nb 1\n", "a 1\nb 1\nc 1\n", "sample_limit exceeded (limit: 2)", "sample",
		},
		{
			"labels", func(o *Options) { o.LabelLimit = 4 }, nil,
			"a{x=\"1\"} 1\n", "a 1\na{x=\"1\",y=\"1\"} 1\n", "label_limit exceeded (metric: a, number of labels: 5, limit: 4)", "label",
		},
		{
			"label name", func(o *Options) { o.LabelNameLengthLimit = 8 }, nil,
			"a{abcdefgh=\"1\"} 1\n", "a{abcdefghi=\"1\"} 1\n", "label_name_length_limit exceeded (metric: a, label name: abcdefghi, length: 9, limit: 8)", "label",
		},
		{
			"label value", func(o *Options) { o.LabelValueLengthLimit = 21 }, nil,
			"a{x=\"123456789012345678901\"} 1\n", "a{x=\"1234567890123456789012\"} 1\n",
			`label_value_length_limit exceeded (metric: a, label name: x, value: "1234567890123456789012", length: 22, limit: 21)`, "label",
		},
		{
			"body", func(o *Options) { o.BodySizeLimit = 9 }, nil,
			"a 1\nb 1\n", "a 1\nb 11\n", "body_size_limit exceeded (limit: 9 bytes)", "body_size",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			reg := prometheus.NewRegistry()
			s := serveSequence(t, textType, c.good, c.bad, c.good)
			r := &recorder{}
			m := newManager(t, r, c.opts, func(o *Options) { o.Registerer = reg })
			cfg := jobConfig("j", slow)
			if c.cfg != nil {
				c.cfg(cfg)
			}
			l := testLoop(t, m, cfg, model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s.Server))})
			l.scrape(time.Now())
			require.NoError(t, l.target.LastError())
			l.scrape(time.Now())
			require.EqualError(t, l.target.LastError(), c.want)
			_, report := r.last(t)
			require.Zero(t, report["up"])
			l.scrape(time.Now())
			require.NoError(t, l.target.LastError())
			require.EqualValues(t, 1, testutil.ToFloat64(m.metrics.exceeded.WithLabelValues(c.limit)))
			require.EqualValues(t, 2, testutil.ToFloat64(m.metrics.succeeded))
		})
	}
}

func TestDefaultLimits(t *testing.T) {
	o := Options{}.withDefaults()
	require.EqualValues(t, DefaultBodySizeLimit, o.BodySizeLimit)
	require.Equal(t, DefaultSampleLimit, o.SampleLimit)
	require.Equal(t, DefaultLabelLimit, o.LabelLimit)
	require.Equal(t, DefaultLabelNameLengthLimit, o.LabelNameLengthLimit)
	require.Equal(t, DefaultLabelValueLengthLimit, o.LabelValueLengthLimit)
	require.Equal(t, DefaultBucketLimit, o.BucketLimit)
	require.EqualValues(t, DefaultScrapeMemory, o.ScrapeMemory)
	require.Equal(t, DefaultUserAgent, o.UserAgent)
	require.NotNil(t, o.Logger)

	noLimits(&o)
	o = o.withDefaults()
	require.Zero(t, o.BodySizeLimit+o.ScrapeMemory)
	require.Zero(t, o.SampleLimit+o.LabelLimit+o.LabelNameLengthLimit+o.LabelValueLengthLimit+o.BucketLimit)
}

func TestNoLimits(t *testing.T) {
	body := "a{x=\"" + strings.Repeat("x", 100_000) + "\"} 1\n" + manySeries(DefaultSampleLimit)
	r, l := scrapeOnce(t, serveBody(t, textType, body), jobConfig("j", slow), noLimits)
	require.NoError(t, l.target.LastError())
	_, report := r.last(t)
	require.EqualValues(t, DefaultSampleLimit+1, report["scrape_samples_scraped"])
}

// Numbers of samples are reported in full when a limit is exceeded.
func TestCountsAboveTheSampleLimit(t *testing.T) {
	s := serveBody(t, textType, "a 1\nb 1\nc 1\nd 1\ne 1\n")
	r, _ := scrapeOnce(t, s, jobConfig("j", slow), func(o *Options) { o.SampleLimit = 2 })
	body, report := r.last(t)
	require.Empty(t, body)
	require.EqualValues(t, 5, report["scrape_samples_scraped"])
	require.EqualValues(t, 5, report["scrape_samples_post_metric_relabeling"])
	require.EqualValues(t, 2, report["scrape_series_added"])
}

func TestExtraMetrics(t *testing.T) {
	yes := true
	s := serveSequence(t, textType, "a 1\nb 1\n", "!", strings.Repeat("a 1\n", 50))
	r := &recorder{}
	l := testLoop(t, newManager(t, r, func(o *Options) { o.BodySizeLimit = 100 }), jobConfig("j", every(90*time.Second), func(c *config.ScrapeConfig) {
		c.ExtraScrapeMetrics = &yes
		c.SampleLimit = 77
	}), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s.Server))})
	for _, size := range []float64{8, 0, -1} {
		l.scrape(time.Now())
		_, report := r.last(t)
		require.Len(t, report, allReports)
		require.EqualValues(t, 90, report["scrape_timeout_seconds"])
		require.EqualValues(t, 77, report["scrape_sample_limit"])
		require.Equal(t, size, report["scrape_body_size_bytes"])
	}
}

func TestMaxSchemaFor(t *testing.T) {
	for factor, want := range map[float64]int32{
		0: 8, 1: 8, 1.0001: 8, 1.00271: 8, 1.01: 6, 1.1: 2, 1.5: 0, 2: 0, 3: -1, 4: -1, 65536: -4, 1e9: -4,
	} {
		require.Equal(t, want, maxSchemaFor(factor), factor)
	}
}

func TestCoarsen(t *testing.T) {
	h := func() *histogram.Histogram {
		return &histogram.Histogram{
			Schema: 3, Count: 8, PositiveSpans: []histogram.Span{{Length: 8}}, PositiveBuckets: []int64{1, 0, 0, 0, 0, 0, 0, 0},
		}
	}
	none := limits{maxSchema: 8}
	got := h()
	require.NoError(t, none.coarsen(got, nil))
	require.Equal(t, h(), got)

	l := limits{maxSchema: 1}
	require.NoError(t, l.coarsen(got, nil))
	require.EqualValues(t, 1, got.Schema)

	l = limits{maxSchema: 8, buckets: 3}
	got = h()
	require.NoError(t, l.coarsen(got, nil))
	require.LessOrEqual(t, len(got.PositiveBuckets), 3)
	fh := h().ToFloat(nil)
	require.NoError(t, l.coarsen(nil, fh))
	require.LessOrEqual(t, len(fh.PositiveBuckets), 3)

	// At the coarsest, and with bounds of its own, nothing can be done.
	far := &histogram.Histogram{Schema: histogram.ExponentialSchemaMin, PositiveSpans: []histogram.Span{{Length: 4}}, PositiveBuckets: []int64{1, 0, 0, 0}}
	require.EqualError(t, l.coarsen(far, nil), "native_histogram_bucket_limit exceeded (number of buckets: 4, limit: 3)")
	custom := &histogram.FloatHistogram{Schema: histogram.CustomBucketsSchema, PositiveSpans: []histogram.Span{{Length: 4}}, PositiveBuckets: []float64{1, 2, 3, 4}}
	require.Error(t, l.coarsen(nil, custom))
}

// A target's labels beat the job's, and a label of the series is not lost.
func TestTargetLabels(t *testing.T) {
	s := serveBody(t, textType, `a{job="theirs",exported_job="older",x="1"} 1`+"\n")
	r, _ := scrapeOnce(t, s, jobConfig("ours", slow))
	body, _ := r.last(t)
	want := labels.FromStrings("__name__", "a", "job", "ours", "instance", addressOf(s), "x", "1", "exported_job", "older", "exported_exported_job", "theirs")
	require.Equal(t, want.String(), body[0].lset.String())

	r, _ = scrapeOnce(t, s, jobConfig("ours", slow, func(c *config.ScrapeConfig) { c.HonorLabels = true }))
	body, _ = r.last(t)
	want = labels.FromStrings("__name__", "a", "job", "theirs", "instance", addressOf(s), "x", "1", "exported_job", "older")
	require.Equal(t, want.String(), body[0].lset.String())
}

// Dropped texts above the bound are dropped all the same.
func TestManyDroppedSeries(t *testing.T) {
	var b strings.Builder
	for i := range maxDropped + 10 {
		fmt.Fprintf(&b, "drop{x=\"%d\"} 1\n", i)
	}
	s := serveBody(t, textType, b.String()+"keep 1\n")
	r := &recorder{}
	l := testLoop(t, newManager(t, r), jobConfig("j", slow, func(c *config.ScrapeConfig) {
		c.MetricRelabelConfigs = dropMetric("drop")
	}), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s))})
	for range 2 {
		l.scrape(time.Now())
		require.NoError(t, l.target.LastError())
		body, report := r.last(t)
		require.Len(t, body, 1)
		require.EqualValues(t, maxDropped+11, report["scrape_samples_scraped"])
		require.EqualValues(t, 1, report["scrape_samples_post_metric_relabeling"])
		require.Len(t, l.cache.dropped, maxDropped)
	}
}

// After a scrape that failed because memory was in use, the next one asks for enough first.
func TestMemoryInUse(t *testing.T) {
	s := serveBody(t, textType, manySeries(50_000))
	m := newManager(t, &recorder{}, func(o *Options) {
		o.ScrapeMemory = 19 << 20
	})
	l := testLoop(t, m, jobConfig("j", every(time.Second)), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s))})
	large := serveBody(t, textType, "a 1\n")
	held, err := l.settings.fetcher.Fetch(t.Context(), "j", large.URL, time.Minute, 7<<20, nil)
	require.NoError(t, err)
	l.scrape(time.Now())
	require.ErrorIs(t, l.target.LastError(), budget.ErrBusy)
	require.NotErrorIs(t, l.target.LastError(), context.DeadlineExceeded)
	require.Greater(t, l.size, 512<<10)
	l.scrape(time.Now())
	require.EqualError(t, l.target.LastError(), "timed out after 1s: memory for scrapes is in use: context deadline exceeded")
	held.Release()
	l.targetSettings.timeout = soon
	l.scrape(time.Now())
	require.NoError(t, l.target.LastError())
}

// Lines that nobody reads take no memory, however many there are.
func TestSkippedLinesTakeNoMemory(t *testing.T) {
	m := newManager(t, &recorder{}, onDemand)
	half := strings.Repeat("a_metric_of_some_length{label=\"value\"} 1\n", 100_000)
	held := make(chan float64, 3)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", textType)
		_, _ = io.WriteString(w, half)
		_ = http.NewResponseController(w).Flush()
		for testutil.ToFloat64(m.metrics.scrapeMemory) == 0 && r.Context().Err() == nil {
			time.Sleep(time.Millisecond) // The scrape has not begun to read.
		}
		held <- testutil.ToFloat64(m.metrics.scrapeMemory)
		_, _ = io.WriteString(w, half)
	})
	l := testLoop(t, m, jobConfig("j", slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s))})
	most := 0.0
	for range 3 { // The name is learnt in the first, and the size of the body in the second.
		l.scrape(time.Now())
		require.NoError(t, l.target.LastError())
		most = <-held
	}
	require.Equal(t, 200_000, l.lastSamples.Load().Seen)
	require.Less(t, most, float64(97<<10))
}

// Samples that are too old are refused, even by a storage that would take them.
func TestMaxSampleAge(t *testing.T) {
	ago := func(d time.Duration) int64 { return time.Now().Add(-d).UnixMilli() }
	s := serveBody(t, textType, fmt.Sprintf("old 1 %d\nyoung 1 %d\nnow 1\n", ago(time.Hour), ago(10*time.Minute)))
	for age, want := range map[time.Duration][]string{0: {"now", "old", "young"}, 15 * time.Minute: {"now", "young"}} {
		r := &recorder{}
		m := newManager(t, r, func(o *Options) { o.MaxSampleAge = age })
		l := testLoop(t, m, jobConfig("j", slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s))})
		l.scrape(time.Now())
		require.NoError(t, l.target.LastError())
		body, report := r.last(t)
		var names []string
		for _, s := range body {
			names = append(names, s.name())
		}
		require.Equal(t, want, sorted(names))
		require.EqualValues(t, 3, report["scrape_samples_post_metric_relabeling"])
		outOfBounds := l.lastSamples.Load().outOfBounds
		require.Equal(t, age != 0, outOfBounds["old"] != 0)
		require.Zero(t, outOfBounds["young"])
	}
}
