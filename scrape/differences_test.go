package scrape

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"
)

func differences() []difference {
	return []difference{
		{name: "values change", answers: text("# TYPE a counter\na 1\nb{x=\"y\"} 2\n", "# TYPE a counter\na 2\nb{x=\"y\"} 3\n")},
		{name: "series come and go", answers: text("a 1\nb 1\n", "a 2\n", "a 3\nc 1\n", "", "a 4\nb 2\n")},
		{name: "failures in between", answers: append(append(text("a 1\nb 1\n"), answer{status: 500}), text("a 2\n", "a 3\nb{ 1\n", "a 4\nb 5\n")...)},
		{name: "failure before the first series", answers: text("a 1\nb 1\n", "&&&\n", "a 1\n")},
		{name: "failure after all series, twice", answers: text("a 1\nb 1\n", "a 2\nb 2\n&&&\n", "a 3\n&&&\n", "&&&\n", "a 1\n")},
		{name: "new series in a failed scrape", answers: text("a 1\n", "a 2\nb 1\n&&&\n", "a 3\n")},
		{name: "duplicates", answers: text("a 1\na 2\na 1\nb{x=\"1\",y=\"2\"} 1\nb{y=\"2\",x=\"1\"} 2\n", "a 1\nb{y=\"2\",x=\"1\"} 2\n", "b{x=\"1\",y=\"2\"} 1\n", "c 1\n")},
		{name: "explicit timestamps", answers: text("a 1 @-30s@\nb 1\n", "a 2 @-20s@\nb 1\n", "a 3 @-20s@\n", "a 2 @-40s@\n", "b 1\n")},
		{name: "explicit timestamps, not honoured", job: "honor_timestamps: false", answers: text("a 1 @-30s@\nb 1\n", "a 2 @-20s@\n", "a 1 @+1h@\n", "b 1\n")},
		{name: "explicit timestamps, staleness tracked", job: "track_timestamps_staleness: true", answers: text("a 1 @-30s@\nb 1\n", "b 1\n", "a 1 @-10s@\n", "b 2\n")},
		{name: "too far ahead and too old", answers: text("a 1 @+11m@\nb 1 @+9m@\nc 1 @-9h@\nd 1\n", "a 1\nb 1\nc 1\nd 1\n")},
		{name: "out of order allowed", ooo: time.Hour, answers: text("a 1 @-30s@\n", "a 2 @-60s@\n", "a 3 @-90s@\na 4 @-90s@\n", "b 1\n")},
		{name: "same timestamp twice in a body", answers: text("a 1 @-30s@\na 2 @-20s@\na 3 @-20s@\na 1 @-30s@\n", "a 9\n")},
		{
			name: "clashes", labels: model.LabelSet{"x": "target", "exported_y": "target", "y": "target"},
			answers: text("a{x=\"body\",exported_x=\"body2\"} 1\na{y=\"b\",exported_y=\"c\",exported_exported_y=\"d\"} 1\na{job=\"j\",instance=\"i\"} 1\na{x=\"\"} 3\n"),
		},
		{
			name: "clashes, honoured", job: "honor_labels: true", labels: model.LabelSet{"x": "target", "y": "target"},
			answers: text("a{x=\"body\",exported_x=\"body2\"} 1\na{job=\"j\",instance=\"i\"} 1\na{y=\"\"} 3\nup 7\nscrape_samples_scraped 9\n"),
		},
		{name: "synthetic names in the body", answers: text("up 7\nscrape_duration_seconds 8\n", "a 1\n")},
		{
			name: "metric relabelling", job: `metric_relabel_configs:
  - {source_labels: [__name__], regex: "drop.*", action: drop}
  - {source_labels: [__name__], regex: "old_(.*)", target_label: __name__, replacement: "new_$1"}
  - {regex: "secret", action: labeldrop}
  - {source_labels: [x], target_label: y, replacement: "<$1>"}`,
			answers: text("drop_a 1\nold_b{x=\"1\"} 2\nc{secret=\"s\"} 3\n", "drop_a 2\nold_b{x=\"1\"} 3\nc{secret=\"t\"} 3\n", "drop_a 2\nold_b{x=\"2\"} 3\nnew_b{x=\"2\"} 4\n"),
		},
		{name: "name relabelled away", job: "metric_relabel_configs: [{regex: __name__, action: labeldrop}]", answers: text("a 1\n")},
		{name: "name relabelled to nonsense", job: "metric_name_validation_scheme: legacy\nmetric_relabel_configs: [{target_label: __name__, replacement: 'a.b'}]", answers: text("a 1\n")},
		{name: "utf-8 names", answers: text("{\"a.b\",\"c d\"=\"e\"} 1\n")},
		{name: "utf-8 names refused", job: "metric_name_validation_scheme: legacy", answers: text("a 1\n{\"a.b\",\"c d\"=\"e\"} 1\n", "a 1\n")},
		{name: "duplicate label names", answers: text("a 1\nb{x=\"1\",x=\"2\"} 1\n", "a 1\n")},
		{name: "sample limit", job: "sample_limit: 2", answers: text("a 1\nb 1\n", "a 2\nb 2\nc 2\n", "a 3\nb 3\n", "c 1\nd 1\n", "a 1\na 1\na 1\n")},
		{name: "sample limit and relabelling", job: "sample_limit: 1\nmetric_relabel_configs: [{source_labels: [__name__], regex: b, action: drop}]", answers: text("a 1\nb 1\n", "a 2\nb 2\nc 2\nb 3\n")},
		{name: "label limit", job: "label_limit: 3", answers: text("a 1\n", "a{x=\"1\"} 1\n", "a 2\nb{x=\"1\",y=\"2\"} 1\n", "a 1\n")},
		{name: "label name length", job: "label_name_length_limit: 8", answers: text("a{abcdefgh=\"1\"} 1\n", "a 1\nb{abcdefghi=\"1\"} 1\n")},
		{name: "label value length", job: "label_value_length_limit: 20", answers: text("a{x=\"12345678901234567890\"} 1\n", "a 1\nb{x=\"123456789012345678901\"} 1\n")},
		{name: "body limit", job: "body_size_limit: 16B\nextra_scrape_metrics: true", answers: text("a 1\nb 1\n", "a 1\nb 1\nccc 123\n", "a 1\nb 1\nccc 1\n")},
		{name: "extra metrics", job: "extra_scrape_metrics: true\nsample_limit: 7", answers: append(text("a 1\n"), answer{status: 503})},
		{name: "gzip", answers: []answer{{body: "a 1\nb 2\n", gzip: true}, {body: "a 2\n", gzip: true}}},
		{name: "content types", answers: []answer{
			{body: "a 1\n", contentType: "-"},
			{body: "a 1\n", contentType: "text/html"},
			{body: "a 1\n", contentType: "text/plain"},
			{body: "a 1\n", contentType: "application/json; charset"},
		}},
		{name: "fallback protocol", job: "fallback_scrape_protocol: PrometheusText0.0.4", answers: []answer{
			{body: "a 1\n", contentType: "-"}, {body: "a 2\n", contentType: "text/html"}, {body: "a 3\n# EOF\n", contentType: omType},
		}},
		{name: "metadata", answers: text(
			"# HELP a One.\n# TYPE a counter\na 1\n# TYPE b gauge\nb 1\nc 1\nb 2\n",
			"# HELP a Two \\\\ \\n lines.\n# TYPE a_total counter\na_total 1\n# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\nh_other 1\nh_sum 2\n",
			"# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 1\ns_count 1\ns_bucket 1\n",
		)},
		{name: "OpenMetrics", answers: om(
			"# TYPE a counter\n# UNIT a_seconds seconds\n# HELP a Text.\na_total 1 # {trace=\"x\"} 0.5 @-5s@\na_created @-60s@\n# TYPE i info\ni_info{v=\"1\"} 1\n# TYPE g gaugehistogram\ng_bucket{le=\"1\"} 1\ng_gsum 1\ng_gcount 1\n",
			"# TYPE a counter\na_total 2 # {trace=\"y\"} 0.5\na_created @-60s@\n# TYPE st stateset\nst{st=\"on\"} 1\n# TYPE u unknown\nu 1 @-5s@\n",
			"# TYPE a counter\na_total 3 # {trace=\"z\"} 0.5 @-50s@\n",
		)},
		{name: "OpenMetrics, start timestamps", parseST: true, answers: om(
			"# TYPE a counter\na_total 1\na_created @-60s@\na_total{x=\"1\"} 1\na_created{x=\"1\"} @-50s@\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\nh_created @-40s@\n# TYPE g gauge\ng_created 5\n",
			"# TYPE a counter\na_total 2\na_total{x=\"1\"} 1\n# TYPE b counter\nb_total 1 # {t=\"x\"} 1\nb_created @-9s@\n",
		)},
		{name: "OpenMetrics without end", answers: []answer{{body: "# TYPE a gauge\na 1\n# EOF\n", contentType: omType}, {body: "# TYPE a gauge\na 2\n", contentType: omType}, {body: "# TYPE a gauge\na 3\n# EOF\n", contentType: omType}}},
		{name: "classic histograms to NHCB", job: "convert_classic_histograms_to_nhcb: true", answers: text(
			"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"2\"} 3\nh_bucket{le=\"+Inf\"} 4\nh_sum 6\nh_count 4\na 1\n",
			"# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"2\"} 3\nh_bucket{le=\"+Inf\"} 4\nh_sum 6\nh_count 4\na 1\n",
			"a 1\n",
		)},
		{name: "NHCB beside classic, bucket limit", job: "convert_classic_histograms_to_nhcb: true\nalways_scrape_classic_histograms: true\nnative_histogram_bucket_limit: 2", answers: text(
			"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 4\nh_sum 6\nh_count 4\na 1\n",
			"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"2\"} 3\nh_bucket{le=\"+Inf\"} 4\nh_sum 6\nh_count 4\na 1\n",
		)},
		{name: "NHCB with exemplars", job: "convert_classic_histograms_to_nhcb: true", answers: om(
			"# TYPE h histogram\nh_bucket{le=\"1\"} 1 # {t=\"a\"} 0.5 @-5s@\nh_bucket{le=\"2\"} 2 # {t=\"b\"} 1.5\nh_bucket{le=\"+Inf\"} 3 # {t=\"c\"} 2.5 @-9s@\nh_sum 6\nh_count 3\n",
		)},
		{name: "settings by label", labels: model.LabelSet{"__convert_classic_histograms_to_nhcb__": "true"}, answers: text(
			"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 4\nh_sum 6\nh_count 4\na 1\n",
		)},
		{name: "protobuf, native histograms off", answers: protobuf(1, 2)},
		{name: "protobuf", job: "scrape_native_histograms: true", answers: protobuf(1, 2, 0, 3)},
		{name: "protobuf, start timestamps", job: "scrape_native_histograms: true", parseST: true, answers: protobuf(1, 2)},
		{name: "protobuf, classic too", job: "scrape_native_histograms: true\nalways_scrape_classic_histograms: true", answers: protobuf(1, 2)},
		{name: "protobuf, coarser", job: "scrape_native_histograms: true\nnative_histogram_min_bucket_factor: 1.5", answers: protobuf(1, 2)},
		{name: "protobuf, few buckets", job: "scrape_native_histograms: true\nnative_histogram_bucket_limit: 3", answers: protobuf(1, 2)},
		{name: "protobuf, broken", answers: append(protobuf(1), answer{body: "\x05abc", contentType: pbType}, answer{body: "\x02\x0a\x00", contentType: pbType})},
	}
}

// protobuf gives answers of a client_golang program after it did n things.
func protobuf(ns ...int) []answer {
	var out []answer
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "things_total", Help: "Things."})
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sizes", Help: "Sizes.", Buckets: []float64{1, 10}, NativeHistogramBucketFactor: 1.1})
	s := prometheus.NewSummary(prometheus.SummaryOpts{Name: "waits", Help: "Waits.", Objectives: map[float64]float64{0.5: 0.1}})
	reg.MustRegister(c, h, s)
	for _, n := range ns {
		for i := range n {
			l := prometheus.Labels{"trace": strconv.Itoa(i)}
			c.(prometheus.ExemplarAdder).AddWithExemplar(1, l)
			h.(prometheus.ExemplarObserver).ObserveWithExemplar(float64(i*i+1), l)
			h.Observe(float64(i) * 1.7)
			h.Observe(-float64(i) * 3)
			s.Observe(float64(i))
		}
		out = append(out, answer{contentType: pbType, body: gathered(reg)})
	}
	return out
}

func gathered(g prometheus.Gatherer) string {
	families, err := g.Gather()
	if err != nil {
		panic(err)
	}
	var b bytes.Buffer
	for _, f := range families {
		for _, m := range f.GetMetric() {
			// Some exemplars have no time, as other client libraries have it.
			for i, e := range m.GetHistogram().GetExemplars() {
				if i%2 == 0 {
					e.Timestamp = nil
				}
			}
			for i, b := range m.GetHistogram().GetBucket() {
				if i%2 == 0 && b.GetExemplar() != nil {
					b.Exemplar.Timestamp = nil
				}
			}
		}
		if err := promscrape.AddMetricFamilyToProtobuf(&b, f); err != nil {
			panic(err)
		}
	}
	return b.String()
}

// randomBodies gives n bodies over a few names, with what happens to bodies:
// series that come and go, times of their own, repetitions, garbage, nothing.
func randomBodies(rnd *rand.Rand, n int) []answer {
	var out []answer
	for range n {
		var b strings.Builder
		typed := map[string]bool{}
		for range rnd.IntN(8) {
			name := string(rune('a' + rnd.IntN(4)))
			if rnd.IntN(3) == 0 && !typed[name] {
				typed[name] = true
				fmt.Fprintf(&b, "# TYPE %s %s\n", name, []string{"counter", "gauge", "histogram", "untyped"}[rnd.IntN(4)])
			}
			b.WriteString(name)
			switch rnd.IntN(4) {
			case 0:
				fmt.Fprintf(&b, `{x="%d"}`, rnd.IntN(3))
			case 1:
				fmt.Fprintf(&b, `{y="%d",x="%d"}`, rnd.IntN(2), rnd.IntN(2))
			case 2:
				fmt.Fprintf(&b, `{le="%d",job="z"}`, rnd.IntN(2))
			}
			fmt.Fprintf(&b, " %d", rnd.IntN(3))
			if rnd.IntN(6) == 0 {
				fmt.Fprintf(&b, " @-%ds@", rnd.IntN(20))
			}
			b.WriteByte('\n')
		}
		if rnd.IntN(10) == 0 {
			b.WriteString("}{\n")
		}
		a := answer{body: b.String()}
		if rnd.IntN(15) == 0 {
			a.status = http.StatusBadGateway
		}
		out = append(out, a)
	}
	return out
}

func randomDifferences() []difference {
	var out []difference
	for i, job := range []string{
		"",
		"track_timestamps_staleness: true\nsample_limit: 5",
		"honor_labels: true\nmetric_relabel_configs: [{source_labels: [x], regex: '1', action: drop}, {regex: y, action: labeldrop}]",
		"convert_classic_histograms_to_nhcb: true\nlabel_limit: 5",
	} {
		rnd := rand.New(rand.NewPCG(uint64(i), 1)) //nolint:gosec // The same every time.
		out = append(out, difference{name: "random " + strconv.Itoa(i), job: job, answers: randomBodies(rnd, 40)})
	}
	return out
}

func exporterDifferences(t *testing.T) []difference {
	var out []difference
	files, err := filepath.Glob("testdata/node_exporter.*.gz")
	require.NoError(t, err)
	for _, file := range files {
		a := answer{body: string(unzipped(t, file)), contentType: textType, gzip: true}
		switch {
		case strings.Contains(file, "openmetrics"):
			a.contentType = omType
		case strings.Contains(file, "protobuf"):
			a.contentType = pbType
		}
		out = append(out, difference{name: filepath.Base(file), answers: []answer{a, a, text("a 1\n")[0], a}})
	}
	return out
}
