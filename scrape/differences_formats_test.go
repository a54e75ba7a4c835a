package scrape

import (
	"bytes"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"
)

// formatDifferences are about what the formats have beside samples.
func formatDifferences() []difference {
	return []difference{
		{name: "metadata", answers: text(
			"# HELP a One.\n# TYPE a counter\na 1\n# TYPE b gauge\nb 1\nc 1\nb 2\n",
			"# HELP a Two \\\\ \\n lines.\n# TYPE a_total counter\na_total 1\n# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\nh_other 1\nh_sum 2\n",
			"# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 1\ns_count 1\ns_bucket 1\n",
		)},
		{name: "metadata changes", answers: text(
			"# TYPE a counter\na 1\n", "# HELP a One.\na 2\n", "# TYPE a gauge\n# HELP a Two.\na 3\n", "a 4\n", "# HELP a\na 5\n", "# TYPE a summary\na 6\na_sum 1\na_count 1\na_bucket 1\n",
		)},
		{name: "metadata goes", answers: append(text("# TYPE a counter\na 1\n# TYPE b gauge\n"), append(text(strings.Split(strings.Repeat("c 1\n|", 9)+"&", "|")...), text("c 1\n", "c 1\n", "c 1\n", "# HELP b x\nc 1\n")...)...)},
		{name: "metadata of series that change their names", job: "metric_relabel_configs: [{source_labels: [__name__], regex: 'a(.*)', target_label: __name__, replacement: 'b$1'}]", answers: text("# TYPE a counter\na_total 1\n# TYPE b counter\nb_total 1\na_total{x=\"1\"} 1\n")},
		{name: "metadata of failing scrapes", answers: text("# TYPE a counter\na 1\n", "# TYPE a gauge\n# TYPE b gauge\n&&\n", "a 1\nb 1\n")},
		{name: "OpenMetrics", answers: om(
			"# TYPE a counter\n# UNIT a_seconds seconds\n# HELP a Text.\na_total 1 # {trace=\"x\"} 0.5 @-5s@\na_created @-60s@\n# TYPE i info\ni_info{v=\"1\"} 1\n# TYPE g gaugehistogram\ng_bucket{le=\"1\"} 1\ng_gsum 1\ng_gcount 1\n",
			"# TYPE a counter\na_total 2 # {trace=\"y\"} 0.5\na_created @-60s@\n# TYPE st stateset\nst{st=\"on\"} 1\n# TYPE u unknown\nu 1 @-5s@\n",
			"# TYPE a counter\na_total 3 # {trace=\"z\"} 0.5 @-50s@\n",
		)},
		{name: "OpenMetrics units", answers: om("# TYPE a_seconds gauge\n# UNIT a_seconds seconds\na_seconds 1\n", "# UNIT a_seconds ms\na_seconds 1\n", "# UNIT a seconds\na 1\n", "# UNIT a_seconds \na_seconds 1\n")},
		{name: "OpenMetrics timestamps", answers: om("a 1 @-5.5s@\nb 1 0\n", "a 1 1e3\n", "a 1 -1.5\n", "a 1 NaN\n", "a 1 +Inf\n", "a 1 1e300\n", "a 1 @-5.4s@\n")},
		{name: "OpenMetrics quoted names", answers: om("# TYPE \"a.b\" counter\n# HELP \"a.b\" x\n{\"a.b_total\",\"c d\"=\"1\"} 1 # {\"t t\"=\"1\"} 1\n", "{\"a\",x=\"1\"} 1\n{\"a\"} 1 @-5s@\n")},
		{name: "OpenMetrics broken", answers: []answer{
			{body: "a 1\n# EOF", contentType: omType}, {body: "a 1\n# EOF\n\n", contentType: omType}, {body: "a 1\n\n# EOF\n", contentType: omType}, {body: "a 1\n# x\n# EOF\n", contentType: omType},
			{body: "a 1\n# EOF\nb 1\n", contentType: omType}, {body: "# EOF\n", contentType: omType}, {body: "", contentType: omType}, {body: "a  1\n# EOF\n", contentType: omType}, {body: "a 1 # {} 1\n# EOF\n", contentType: omType},
		}},
		{name: "OpenMetrics without end", answers: []answer{{body: "# TYPE a gauge\na 1\n# EOF\n", contentType: omType}, {body: "# TYPE a gauge\na 2\n", contentType: omType}, {body: "# TYPE a gauge\na 3\n# EOF\n", contentType: omType}}},
		{name: "OpenMetrics, start timestamps", parseST: true, answers: om(
			"# TYPE a counter\na_total 1\na_created @-60s@\na_total{x=\"1\"} 1\na_created{x=\"1\"} @-50s@\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\nh_created @-40s@\n# TYPE g gauge\ng_created 5\n",
			"# TYPE a counter\na_total 2\na_total{x=\"1\"} 1\n# TYPE b counter\nb_total 1 # {t=\"x\"} 1\nb_created @-9s@\n",
		)},
		{name: "OpenMetrics, odd start timestamps", parseST: true, answers: om(
			"# TYPE a counter\na_total 1\na_created 0\n# TYPE b counter\nb_created @-5s@\nb_total 1\n# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 1\ns_count 1\ns_created @-30s@\n",
			"# TYPE a counter\na_total 1 @-20s@\na_created NaN\na_created @+1m@\n", "# TYPE a counter\na_total{x=\"1\",y=\"2\"} 1\na_created{y=\"2\",x=\"1\"} @-20s@\n", "a_total 1\na_created @-5s@\n",
		)},
		{name: "start timestamps and text", parseST: true, answers: text("# TYPE a counter\na_total 1\na_created 5\n")},
		{name: "exemplars", answers: om(
			"# TYPE a counter\na_total 1 # {t=\"1\"} 1 @-5s@\n# TYPE g gauge\ng 1 # {t=\"1\"} 1\n",
			"# TYPE a counter\na_total 2 # {t=\"1\"} 1 @-5s@\n", "# TYPE a counter\na_total 2 # {t=\"2\"} 1 @-9s@\n", "# TYPE a counter\na_total 2 # {} 1\n",
			"# TYPE a counter\na_total 2 # {t=\""+strings.Repeat("x", 130)+"\"} 1\n", "# TYPE a counter\na_total 2 # {t=\"1\"} NaN\n", "# TYPE a counter\na_total 2 # {t=\"1\",t=\"2\"} 1\n", "# TYPE a counter\na_total 2 # {t=\"1\"}\n",
			"# TYPE a counter\na_total 2 # {t=\"3\"} 1 @+1h@\n", "# TYPE a counter\na_total 2 # {t=\"4\"} 1 1e300\n",
		)},
		{name: "exemplars of classic histograms", answers: om(
			"# TYPE h histogram\nh_bucket{le=\"1\"} 1 # {t=\"a\"} 0.5 @-5s@\nh_bucket{le=\"2\"} 2 # {t=\"b\"} 1.5\nh_bucket{le=\"+Inf\"} 3 # {t=\"c\"} 2.5 @-9s@\nh_sum 6 # {t=\"d\"} 1\nh_count 3\n",
			"# TYPE h histogram\nh_bucket{le=\"1\"} 1 # {t=\"a\"} 0.5 @-5s@\nh_bucket{le=\"2\"} 2 # {t=\"b\"} 1.5 @-50s@\nh_bucket{le=\"+Inf\"} 3\nh_sum 6\nh_count 3\n",
		)},
		{name: "exemplars of explicit timestamps", answers: om("# TYPE a counter\na_total 1 @-9s@ # {t=\"1\"} 1\n", "# TYPE a counter\na_total 2 @-9s@ # {t=\"2\"} 1\n", "# TYPE a counter\na_total 2 @-50s@ # {t=\"3\"} 1\n")},
		{name: "bounds of buckets and quantiles", answers: append(text(
			"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n# TYPE s summary\ns{quantile=\"1\"} 1\ns{quantile=\"0.50\"} 1\n",
			"# TYPE h histogram\nh_bucket{le=\"1.0\"} 2\nh_bucket{le=\"Inf\"} 1\nh_bucket{le=\"x\"} 1\n# TYPE s summary\ns{quantile=\"1e0\"} 1\n",
			"h_bucket{le=\"1\"} 2\ns{quantile=\"1\"} 1\n"), om("# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 1\n")...)},
		{name: "changing formats", answers: append(append(append(text("a_total 1\n"), om("# TYPE a counter\na_total 2\n", "# TYPE things counter\nthings_total 1\n")...), protobuf(1)...), text("things_total 5\n", "{\"things_total\"} 7\n")...)},
	}
}

// histogramDifferences are about histograms that are samples.
func histogramDifferences() []difference {
	const h = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"2\"} 3\nh_bucket{le=\"+Inf\"} 4\nh_sum 6\nh_count 4\n"
	nhcb, native := "convert_classic_histograms_to_nhcb: true", "scrape_native_histograms: true"
	odd := text(
		"# TYPE h histogram\nh_bucket{le=\"2\"} 3\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 4\nh_sum 6\nh_count 4\n", "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 6\nh_count 4\n",
		"# TYPE h histogram\nh_bucket{le=\"1\"} 5\nh_bucket{le=\"2\"} 3\nh_bucket{le=\"+Inf\"} 4\nh_sum 6\nh_count 4\n", "# TYPE h histogram\nh_sum 6\nh_count 4\n", "# TYPE h histogram\nh_bucket{le=\"x\"} 1\nh_bucket{le=\"+Inf\"} 4\n",
		"h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 4\nh_sum 6\nh_count 4\n", "# TYPE h histogram\nh_bucket{le=\"1\"} 0.5\nh_bucket{le=\"+Inf\"} 1.5\nh_sum NaN\nh_count 1.5\n", "# TYPE h histogram\nh_bucket{le=\"+Inf\"} NaN\nh_sum 1\nh_count -1\n",
		"# TYPE h histogram\nh_bucket{le=\"1\",x=\"1\"} 1\nh_bucket{le=\"1\",x=\"2\"} 1\nh_bucket{le=\"+Inf\",x=\"1\"} 4\nh_count{x=\"2\"} 4\nh_sum{x=\"1\"} 5\nh 7\nh_other 8\n", h+h, h+"&&\n", strings.ReplaceAll(h, "\nh_count 4", " @-5s@\nh_count 4 @-5s@"),
	)
	return []difference{
		{name: "classic histograms to NHCB", job: nhcb, answers: text(h+"a 1\n", strings.Replace(h, "} 1\n", "} 2\n", 1)+"a 1\n", "a 1\n")},
		{name: "NHCB beside classic", job: nhcb + "\nalways_scrape_classic_histograms: true", answers: text(h+"a 1\n", h, "a 1\n", "")},
		{name: "NHCB beside classic, bucket limit", job: nhcb + "\nalways_scrape_classic_histograms: true\nnative_histogram_bucket_limit: 2", answers: text(
			"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 4\nh_sum 6\nh_count 4\na 1\n", h+"a 1\n", "a 1\n")},
		{name: "NHCB, limits", job: nhcb + "\nsample_limit: 2\nlabel_limit: 3", answers: text(h+"a 1\n", h+"a 1\nb 1\n", strings.ReplaceAll(h, "h_", "g_"), "# TYPE h histogram\nh_bucket{le=\"+Inf\",x=\"1\",y=\"2\"} 4\nh_sum{x=\"1\",y=\"2\"} 6\nh_count{x=\"1\",y=\"2\"} 4\n")},
		{name: "NHCB, bucket limit before the sample limit", job: nhcb + "\nsample_limit: 1\nnative_histogram_bucket_limit: 1", answers: text(h+"a 1\nb 1\n", h+"a 1\n", "a 1\nb 1\n"+h)},
		{name: "NHCB, relabelling", job: nhcb + "\nmetric_relabel_configs: [{regex: x, action: labeldrop}, {source_labels: [__name__], regex: 'g.*', action: drop}]", answers: text(h+strings.ReplaceAll(h, "h", "g")+"g_sum 2\n",
			"# TYPE h histogram\nh_bucket{le=\"+Inf\",x=\"1\"} 4\nh_count{x=\"1\"} 4\nh_bucket{le=\"+Inf\",x=\"2\"} 4\nh_count{x=\"2\"} 4\n", "")},
		{name: "NHCB, odd histograms", job: nhcb, answers: odd},
		{name: "NHCB, odd histograms beside classic", job: nhcb + "\nalways_scrape_classic_histograms: true", answers: odd},
		{name: "NHCB, not honoured timestamps", job: nhcb + "\nhonor_timestamps: false", answers: odd},
		{name: "NHCB with exemplars", job: nhcb, answers: om(
			"# TYPE h histogram\nh_bucket{le=\"1\"} 1 # {t=\"a\"} 0.5 @-5s@\nh_bucket{le=\"2\"} 2 # {t=\"b\"} 1.5\nh_bucket{le=\"+Inf\"} 3 # {t=\"c\"} 2.5 @-9s@\nh_sum 6\nh_count 3\n",
		)},
		{name: "NHCB with start timestamps", job: nhcb, parseST: true, answers: append(om("# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 3\nh_sum 6\nh_count 3\nh_created @-30s@\n"), protobuf(1, 2)...)},
		{name: "NHCB from protobuf", job: nhcb, answers: protobuf(1, 2)},
		{name: "NHCB and native histograms", job: nhcb + "\n" + native, answers: protobuf(1, 2)},
		{name: "NHCB, native and classic histograms", job: nhcb + "\n" + native + "\nalways_scrape_classic_histograms: true", answers: protobuf(1, 2)},
		{name: "settings by label", labels: model.LabelSet{"__convert_classic_histograms_to_nhcb__": "true"}, answers: text(h + "a 1\n")},
		{name: "settings by other labels", labels: model.LabelSet{"__scrape_native_histograms__": "true", "__always_scrape_classic_histograms__": "true"}, answers: protobuf(1, 2)},
		{name: "settings unmade by label", job: nhcb + "\n" + native, labels: model.LabelSet{"__convert_classic_histograms_to_nhcb__": "false", "__scrape_native_histograms__": "false"}, answers: append(protobuf(1), text(h)...)},
		{name: "protobuf, native histograms off", answers: protobuf(1, 2)},
		{name: "protobuf", job: native, answers: protobuf(1, 2, 0, 3)},
		{name: "protobuf, native histograms end", job: native, answers: append(protobuf(1, 2), text("a 1\n", "sizes 1\n", "")...)},
		{name: "protobuf, start timestamps", job: native, parseST: true, answers: protobuf(1, 2)},
		{name: "protobuf, classic too", job: native + "\nalways_scrape_classic_histograms: true", answers: protobuf(1, 2)},
		{name: "protobuf, coarser", job: native + "\nnative_histogram_min_bucket_factor: 1.5", answers: protobuf(1, 2)},
		{name: "protobuf, one step coarser", job: native + "\nnative_histogram_min_bucket_factor: 1.1", answers: protobuf(1, 20)},
		{name: "protobuf, coarser and few buckets", job: native + "\nnative_histogram_min_bucket_factor: 1.2\nnative_histogram_bucket_limit: 4", answers: protobuf(1, 2, 3, 20)},
		{name: "protobuf, few buckets", job: native + "\nnative_histogram_bucket_limit: 3", answers: protobuf(1, 2)},
		{name: "protobuf, one bucket", job: native + "\nnative_histogram_bucket_limit: 1", answers: protobuf(1, 2, 30)},
		{name: "protobuf, sample limit", job: native + "\nsample_limit: 6", answers: protobuf(1, 2)},
		{name: "protobuf, labels clash and are dropped", job: native + "\nmetric_relabel_configs: [{regex: quantile, action: labeldrop}]", labels: model.LabelSet{"le": "x", "quantile": "y"}, answers: protobuf(1, 2)},
		{name: "protobuf, broken", answers: append(protobuf(1), answer{body: "\x05abc", contentType: pbType}, answer{body: "\x02\x0a\x00", contentType: pbType})},
		{name: "protobuf, cut off", job: native, answers: cutOff(protobuf(2)[0])},
	}
}

// cutOff returns a body and its beginnings.
func cutOff(a answer) []answer {
	out := []answer{a}
	for _, tenths := range []int{9, 7, 5, 3, 1} {
		b := a
		b.body = a.body[:len(a.body)*tenths/10]
		out = append(out, b)
	}
	return out
}

// protobuf returns answers of a client_golang program after it did n things.
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

// exporterAnswers are the bodies of real exporters, by file.
func exporterAnswers(t testing.TB) map[string]answer {
	files, err := filepath.Glob("testdata/*.gz")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	out := map[string]answer{}
	for _, file := range files {
		a := answer{body: string(unzipped(t, file)), contentType: textType, gzip: true}
		switch {
		case strings.Contains(file, "openmetrics"):
			a.contentType = omType
		case strings.Contains(file, "protobuf"):
			a.contentType = pbType
		}
		out[filepath.Base(file)] = a
	}
	return out
}

func exporterDifferences(t testing.TB) []difference {
	var out []difference
	for name, a := range exporterAnswers(t) {
		half := a
		half.body = a.body[:len(a.body)/2]
		answers := []answer{a, a, half, a, text("a 1\n")[0], a}
		out = append(out, difference{name: name, answers: answers})
		if len(a.body) > 1<<20 {
			continue // Large ones take their time.
		}
		out = append(out,
			difference{name: name + " NHCB and staleness", job: "convert_classic_histograms_to_nhcb: true\nscrape_native_histograms: true\ntrack_timestamps_staleness: true", answers: answers},
			difference{name: name + " keep few", job: "metric_relabel_configs: [{source_labels: [__name__], regex: '.*_total', action: keep}]", answers: answers})
	}
	return out
}
