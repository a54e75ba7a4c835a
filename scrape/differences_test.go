package scrape

import (
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// seriesDifferences are about series and their labels, times and ends.
func seriesDifferences() []difference {
	return []difference{
		{name: "values change", answers: text("# TYPE a counter\na 1\nb{x=\"y\"} 2\n", "# TYPE a counter\na 2\nb{x=\"y\"} 3\n")},
		{name: "odd values", answers: text("a NaN\nb +Inf\nc -Inf\nd 1e308\ne 0x1p-2\nf -0\ng 1_0\n", "a NaN\nb +Inf\nc -Inf\nd 1e309\n", "a nan\nb Inf\nc 5e-324\nf 0\n")},
		{name: "series come and go", answers: text("a 1\nb 1\n", "a 2\n", "a 3\nc 1\n", "", "a 4\nb 2\n")},
		{name: "everything goes, line by line", answers: text("a 1\nb 1\nc 1\n", "a 1\nb 1\n", "a 1\n", "\n", "# x\n", "a 1\n")},
		{name: "blanks and comments", answers: text("\n\n# x\n  a 1\n\t b{ x = \"1\" , } 2  \n#\n# HELP\n", "a 1")},
		{name: "failures in between", answers: append(append(text("a 1\nb 1\n"), answer{status: 500}), text("a 2\n", "a 3\nb{ 1\n", "a 4\nb 5\n")...)},
		{name: "failure before the first series", answers: text("a 1\nb 1\n", "&&&\n", "a 1\n")},
		{name: "failure after all series, twice", answers: text("a 1\nb 1\n", "a 2\nb 2\n&&&\n", "a 3\n&&&\n", "&&&\n", "a 1\n")},
		{name: "failure half-way, then back", answers: text("a 1\nb 1\nc 1\n", "a 2\n&&&\nb 2\nc 2\n", "a 3\nb 3\nc 3\n", "c 4\n&&&\n", "")},
		{name: "failures first", answers: append([]answer{{status: 503}, {body: "a 1\n&&&\n"}, {body: "a 1\n&&&\n"}}, text("a 1\n", "b 1\n")...)},
		{name: "new series in a failed scrape", answers: text("a 1\n", "a 2\nb 1\n&&&\n", "a 3\n")},
		{name: "duplicates", answers: text("a 1\na 2\na 1\nb{x=\"1\",y=\"2\"} 1\nb{y=\"2\",x=\"1\"} 2\n", "a 1\nb{y=\"2\",x=\"1\"} 2\n", "b{x=\"1\",y=\"2\"} 1\n", "c 1\n")},
		{name: "the same series under many texts", answers: text("a{x=\"1\",y=\"2\"} 1\n", "a{y=\"2\",x=\"1\"} 2\n", "a{ x=\"1\", y=\"2\" } 3\n", "{\"a\",x=\"1\",y=\"2\"} 4\n", "a{x=\"1\",y=\"2\",z=\"\"} 5\n", "b 1\n")},
		{name: "explicit timestamps", answers: text("a 1 @-30s@\nb 1\n", "a 2 @-20s@\nb 1\n", "a 3 @-20s@\n", "a 2 @-40s@\n", "b 1\n")},
		{name: "explicit timestamps that come and go", answers: text("a 1\n", "a 2 @+9s@\n", "a 3\n", "a 4 @+9s@\n", "b 1\n", "a 5 @+1m@\n", "a 6\n")},
		{name: "explicit timestamps, failing", answers: text("a 1 @-30s@\nb 1\n", "&&\n", "a 2 @-20s@\nb 1\n&&\n", "")},
		{name: "explicit timestamps, not honoured", job: "honor_timestamps: false", answers: text("a 1 @-30s@\nb 1\n", "a 2 @-20s@\n", "a 1 @+1h@\n", "b 1\n")},
		{name: "explicit timestamps, staleness tracked", job: "track_timestamps_staleness: true", answers: text("a 1 @-30s@\nb 1\n", "b 1\n", "a 1 @-10s@\n", "b 2\n")},
		{name: "staleness tracked, ahead and out of order", job: "track_timestamps_staleness: true", answers: text("a 1 @+5m@\nb 1\n", "b 1\n", "a 1 @-5m@\nb 1 @-5m@\n", "c 1\n", "a 1 @+6m@\n", "")},
		{name: "staleness tracked, not honoured", job: "track_timestamps_staleness: true\nhonor_timestamps: false", answers: text("a 1 @+5m@\nb 1\n", "b 1 @-5m@\n", "")},
		{name: "too far ahead and too old", answers: text("a 1 @+11m@\nb 1 @+9m@\nc 1 @-13h@\nd 1\n", "a 1\nb 1\nc 1\nd 1\n", "a 1 @+10m1s@\nd 1 @+9m59s@\n", "")},
		{name: "odd timestamps", answers: text("a 1 0\n", "a 1 -1\nb 1\n", "a 1 9223372036854775807\n", "a 1 -9223372036854775808\n", "a 1 9223372036854775808\n", "a 1 1.5\n")},
		{name: "out of order allowed", ooo: time.Hour, answers: text("a 1 @-30s@\n", "a 2 @-60s@\n", "a 3 @-90s@\na 4 @-90s@\n", "b 1\n")},
		{name: "out of order, too old", ooo: time.Minute, answers: text("a 1 @+30s@\nb 1\n", "b 2\na 2 @-2m@\nc 1\n", "b 3\n")},
		{name: "same timestamp twice in a body", answers: text("a 1 @-30s@\na 2 @-20s@\na 3 @-20s@\na 1 @-30s@\n", "a 9\n")},
		{name: "with and without timestamp in a body", answers: text("a 1\na 2 @-20s@\n", "a 2 @-5s@\na 1\n", "a 2 @-3s@\n", "")},
		{name: "out of order after being in order", answers: text("a 1\nb 1\n", "a 1 @+8m@\nb 1 @+8m@\n", "a 2\nb 2\n", "b 3\n", "a 1 @+8m@\n")},
		{
			name: "clashes", labels: model.LabelSet{"x": "target", "exported_y": "target", "y": "target"},
			answers: text("a{x=\"body\",exported_x=\"body2\"} 1\na{y=\"b\",exported_y=\"c\",exported_exported_y=\"d\"} 1\na{job=\"j\",instance=\"i\"} 1\na{x=\"\"} 3\n"),
		},
		{
			name: "clashes, honoured", job: "honor_labels: true", labels: model.LabelSet{"x": "target", "y": "target"},
			answers: text("a{x=\"body\",exported_x=\"body2\"} 1\na{job=\"j\",instance=\"i\"} 1\na{y=\"\"} 3\nup 7\nscrape_samples_scraped 9\n", "a{job=\"\",instance=\"\"} 2\nup{instance=\"other\"} 1\n"),
		},
		{
			name: "clashes of prefixed names", labels: model.LabelSet{"foo": "t1", "exported_foo": "t2", "exported_exported_foo": "t3"},
			answers: text("a{foo=\"1\"} 1\na{exported_foo=\"2\"} 1\na{foo=\"1\",exported_foo=\"2\",exported_exported_foo=\"3\"} 1\na{foo=\"\",exported_foo=\"\"} 1\n"),
		},
		{name: "clashes that make one series of two", labels: model.LabelSet{"x": "t"}, answers: text("a{x=\"1\"} 1\na{exported_x=\"1\"} 2\n", "a{exported_x=\"1\"} 3\n", "")},
		{name: "target label without value", labels: model.LabelSet{"x": "", "y": " "}, answers: text("a{x=\"1\",y=\"\"} 1\n")},
		{name: "synthetic names in the body", answers: text("up 7\nscrape_duration_seconds 8\n", "a 1\n")},
		{name: "synthetic series in the body", job: "honor_labels: true", answers: text("# TYPE up gauge\nup 0 @+5m@\nscrape_samples_scraped{job=\"j\"} 9\n", "a 1\n", "up 7\n")},
		{
			name: "metric relabelling", job: `metric_relabel_configs:
  - {source_labels: [__name__], regex: "drop.*", action: drop}
  - {source_labels: [__name__], regex: "old_(.*)", target_label: __name__, replacement: "new_$1"}
  - {regex: "secret", action: labeldrop}
  - {source_labels: [x], target_label: y, replacement: "<$1>"}`,
			answers: text("drop_a 1\nold_b{x=\"1\"} 2\nc{secret=\"s\"} 3\n", "drop_a 2\nold_b{x=\"1\"} 3\nc{secret=\"t\"} 3\n", "drop_a 2\nold_b{x=\"2\"} 3\nnew_b{x=\"2\"} 4\n", "drop_a 1\n", ""),
		},
		{
			name: "relabelling makes one series of many", job: "metric_relabel_configs: [{regex: x, action: labeldrop}]",
			answers: text("a{x=\"1\"} 1\na{x=\"2\"} 2\na{x=\"1\"} 3\n", "a{x=\"2\"} 2\na{x=\"3\"} 1\n", "a{x=\"4\"} 2 @-5s@\na{x=\"3\"} 1\n", ""),
		},
		{
			name: "relabelling on the target's labels", job: `metric_relabel_configs:
  - {source_labels: [job, instance], target_label: instance, replacement: "x"}
  - {regex: exported_.*, action: labeldrop}
  - {source_labels: [x], action: hashmod, modulus: 7, target_label: shard}
  - {source_labels: [x], regex: "", action: drop}
  - {action: labelmap, regex: "meta_(.*)"}
  - {source_labels: [x], action: uppercase, target_label: X}`,
			answers: text("a{x=\"v\",job=\"k\",meta_a=\"1\",meta_x=\"2\"} 1\na 2\n", "a{x=\"w\"} 1\n"),
		},
		{name: "relabelling drops all", job: "metric_relabel_configs: [{source_labels: [__name__], regex: '.*', action: drop}]", answers: text("a 1\nup 1\n", "a 1\nb 1\na 1\n", "&\n")},
		{name: "name relabelled away", job: "metric_relabel_configs: [{regex: __name__, action: labeldrop}]", answers: text("a 1\n", "b 1\n")},
		{name: "name relabelled away later", job: "metric_relabel_configs: [{source_labels: [x], regex: '1', target_label: __name__, replacement: ''}]", answers: text("a 1\n", "a 1\nb{x=\"1\"} 1\nc 1\n", "a 1\n")},
		{name: "name relabelled to nonsense", job: "metric_name_validation_scheme: legacy\nmetric_relabel_configs: [{target_label: __name__, replacement: 'a.b'}]", answers: text("a 1\n")},
		{name: "name relabelled to sense", job: "metric_name_validation_scheme: legacy\nmetric_relabel_configs: [{target_label: __name__, replacement: 'a_b'}, {regex: 'c.*', action: labeldrop}]", answers: text("{\"a.b\",\"c d\"=\"e\"} 1\n", "{\"a.c\"} 1\n")},
		{name: "label relabelled to nonsense", job: "metric_relabel_configs: [{action: labelmap, regex: 'x(.+)', replacement: \"$1\"}]", answers: text("a{x1=\"2\"} 1\n", "a{\"x\\xff\"=\"2\"} 1\n", "a{x=\"\xff\"} 1\n")},
		{name: "utf-8 names", answers: text("{\"a.b\",\"c d\"=\"e\"} 1\n# TYPE \"a.c\" counter\n{\"a.c\"} 2\n{\"ü\",\"日\"=\"本\\n\\\\\\\"\"} 3\n", "{\"c d\"=\"e\",\"a.b\"} 1\n{\"a.c\",} 2\n", "{\"a.b\"}\n")},
		{name: "utf-8 names refused", job: "metric_name_validation_scheme: legacy", answers: text("a 1\n{\"a.b\",\"c d\"=\"e\"} 1\n", "a 1\n", "a 1\nb{\"c.d\"=\"e\"} 2\n")},
		{name: "quoted names", answers: text("{\"a\"} 1\na 1\n{\"a\",x=\"1\"} 2\n{x=\"1\",\"a\"} 3\n", "{\"a\",\"b\"} 1\n", "{x=\"1\"} 1\n", "a{\"__name__\"=\"b\"} 1\n", "{\"\"} 1\n")},
		{name: "escapes", answers: text("a{x=\"\\n\\\\\\\"\"} 1\na{x=\"\n\"} 2\n", "a{x=\"\\n\\\\\\\"\"} 1\na{x=\"\\q\"} 2\n", "a{x=\"ü\"} 1\n", "a{x=\"\xff\"} 1\n", "a\xff 1\n", "a{x=\"1} 2\n")},
		{name: "duplicate label names", answers: text("a 1\nb{x=\"1\",x=\"2\"} 1\n", "a 1\n", "a 1\nb{x=\"1\",x=\"1\"} 1\n", "b{exported_job=\"1\",job=\"2\"} 1\n")},
		{name: "reserved label names", answers: text("a{__name__=\"b\"} 1\n", "a{__x=\"1\",__address__=\"2\"} 1\n", "a{x=\"1\",__tmp=\"2\"} 1\n")},
		{name: "broken lines", answers: text("a\n", "a 1 2 3\n", "a{} 1\n", "a{,} 1\n", "a{x} 1\n", "a{x=1} 1\n", "1a 1\n", "a 1\r\nb 2\r\n", "a{x=\"1\"}1\n", "a 1 # b\n", "a\x00 1\n", "a 0x\n", "# TYPE a b c\na 1\n")},
		{name: "nonsense metadata", answers: text("# TYPE a foo\na 1\n", "# TYPE a\na 1\n", "# HELP a \xff\na 1\n", "# TYPE \"a 1\n", "# HELP a\n# HELP a x\n# TYPE a counter\n# TYPE a gauge\na 1\n", "# UNIT a b\na 1\n")},
	}
}

// limitDifferences are about limits, at their bounds and above.
func limitDifferences() []difference {
	const twoLabels = "relabel_configs: [{target_label: instance, replacement: i}]\n" // job and instance, of known lengths
	long := strings.Repeat("x", 20)
	return []difference{
		{name: "sample limit", job: "sample_limit: 2", answers: text("a 1\nb 1\n", "a 2\nb 2\nc 2\n", "a 3\nb 3\n", "c 1\nd 1\n", "a 1\na 1\na 1\n")},
		{name: "sample limit from the first scrape on", job: "sample_limit: 2", answers: text("a 1\nb 1\nc 1\nd 1\n", "a 1\nb 1\n", "c 1\n", "")},
		{name: "sample limit, other series each time", job: "sample_limit: 3", answers: text("a 1\nb 1\nc 1\n", "d 1\ne 1\nf 1\n", "a 1\nb 1\nc 1\nd 1\n", "g 1\nh 1\ni 1\n", "")},
		{name: "sample limit, series disappear", job: "sample_limit: 4", answers: text("a 1\nb 1\nc 1\nd 1\n", "a 1\nb 1\nc 1\nd 1\ne 1\nf 1\n", "c 1\nd 1\ne 1\n", "e 1\n")},
		{name: "sample limit and relabelling", job: "sample_limit: 1\nmetric_relabel_configs: [{source_labels: [__name__], regex: b, action: drop}]", answers: text("a 1\nb 1\n", "a 2\nb 2\nc 2\nb 3\n")},
		{name: "sample limit and a parse error", job: "sample_limit: 1", answers: text("a 1\n", "a 1\nb 1\n&&\n", "a 1\n&&\n", "b 1\n")},
		{name: "sample limit and a label limit", job: "sample_limit: 1\nlabel_limit: 3", answers: text("a 1\n", "a 1\nb 1\nc{x=\"1\",y=\"2\"} 1\n", "a 1\n")},
		{name: "sample limit and timestamps", job: "sample_limit: 2", answers: text("a 1 @+11m@\nb 1 @-13h@\nc 1\n", "a 1 @-1s@\nb 1 @-2s@\n", "a 1 @-5s@\nb 1 @-5s@\nc 1\n")},
		{name: "sample limit and NaN", job: "sample_limit: 2", answers: text("a NaN\nb NaN\nc NaN\n", "a NaN\nb NaN\n", "b NaN\n", "c NaN\na 1\n")},
		{name: "label limit", job: "label_limit: 3", answers: text("a 1\n", "a{x=\"1\"} 1\n", "a 2\nb{x=\"1\",y=\"2\"} 1\n", "a 1\n")},
		{name: "label limit, empty labels", job: "label_limit: 3", answers: text("a{x=\"\",y=\"\",z=\"\"} 1\n", "a{x=\"1\",y=\"\"} 1\n")},
		{name: "label limit and relabelling", job: "label_limit: 3\nmetric_relabel_configs: [{regex: 'x.*', action: labeldrop}, {source_labels: [y], regex: 'drop', action: drop}]", answers: text(
			"a{x1=\"1\",x2=\"1\",x3=\"3\"} 1\n", "a{y=\"1\",x1=\"1\",x2=\"1\"} 1\n", "a{y=\"drop\",z1=\"1\",z2=\"1\"} 1\n", "a{y=\"1\",z=\"1\"} 1\n")},
		{name: "label name length", job: "label_name_length_limit: 8", answers: text("a{abcdefgh=\"1\"} 1\n", "a 1\nb{abcdefghi=\"1\"} 1\n", "a{abcdefgh=\"2\"} 1\n", "a{ööö=\"1\"} 1\n", "a{\"öööö\"=\"1\"} 1\n", "a{\"ööööö\"=\"1\"} 1\n")},
		{name: "label value length", job: twoLabels + "label_value_length_limit: 20", answers: text("a{x=\""+long+"\"} 1\n", "a 1\nb{x=\""+long+"1\"} 1\n", long+" 1\n", long+"x 1\n", "a{x=\""+long[:18]+"ü\"} 1\n", "a{x=\""+long[:19]+"ü\"} 1\n")},
		{name: "label value length, with the target's address", job: "label_value_length_limit: 8", answers: text("a 1\n", "a 1\n")},
		{name: "label limits of cached series", job: "label_limit: 3\nlabel_value_length_limit: 40", answers: text("a{x=\"1\"} 1\n", "a{x=\"1\"} 1\na{x=\"2\"} 1\na{x=\"2\",y=\"1\"} 1\na{x=\"3\"} 1\n", "a{x=\"3\"} 1\n")},
		{name: "body limit", job: "body_size_limit: 16B\nextra_scrape_metrics: true", answers: text("a 1\nb 1\n", "a 1\nb 1\nccc 123\n", "a 1\nb 1\nccc 1\n", "a 1\nb 1\nccc 12\n", "a 1\n")},
		{name: "body limit, compressed", job: "body_size_limit: 100B\nextra_scrape_metrics: true", answers: []answer{
			{body: "a 1\n" + strings.Repeat("\n", 95), gzip: true}, {body: "a 1\n" + strings.Repeat("\n", 96), gzip: true}, {body: "a 1\n" + strings.Repeat("\n", 1e6), gzip: true}, {body: "a 2\n"},
		}},
		{name: "body limit and failures", job: "body_size_limit: 16B\nextra_scrape_metrics: true", answers: []answer{{body: "a 1\n"}, {status: 500, body: "a 1\na 1\na 1\na 1\na 1\n"}, {body: "a 1\na 1\na 1\na 1\na 1\n"}, {body: "&&&\n"}, {}}},
		{name: "extra metrics", job: "extra_scrape_metrics: true\nsample_limit: 7", answers: append(text("a 1\n"), answer{status: 503})},
		{name: "extra metrics without limits", job: "extra_scrape_metrics: true", answers: append(text("a 1\n", "", "&\n"), answer{body: "a 1\n", gzip: true})},
		{name: "synthetic series above the limits", job: "sample_limit: 1\nlabel_limit: 1\nlabel_name_length_limit: 2\nlabel_value_length_limit: 2", answers: text("a 1\n", "")},
		{name: "bucket limit of classic histograms", job: "native_histogram_bucket_limit: 1", answers: text("# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"2\"} 2\nh_bucket{le=\"+Inf\"} 2\nh_sum 1\nh_count 2\n")},
		{name: "target limit", job: "target_limit: 1", answers: text("a 1\n", "a 2\n")},
	}
}
