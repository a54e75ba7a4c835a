package scrape

import (
	"strings"

	"github.com/prometheus/common/model"
)

// optionsOf makes settings of a job of numbers: bit i of flags switches setting i
// on, which of its values is up to pick.
func optionsOf(d *difference, flags uint32, pick uint64) {
	var job []string
	for i, values := range jobSettings() {
		if flags&(1<<i) != 0 {
			job = append(job, values[pick%uint64(len(values))])
			pick = pick/5 + uint64(i)
		}
	}
	d.job = strings.Join(job, "\n")
	flags >>= len(jobSettings())
	d.parseST = flags&1 != 0
	if flags&2 != 0 {
		d.labels = model.LabelSet{"x": "target", "exported_y": "t", "le": "1"}
	}
}

// optionBits is how many flags there are.
func optionBits() int { return len(jobSettings()) + 2 }

// jobSettings are the settings, each with some values.
func jobSettings() [][]string {
	return [][]string{
		{"honor_labels: true"},
		{"honor_timestamps: false"},
		{"track_timestamps_staleness: true"},
		{"extra_scrape_metrics: true"},
		{"convert_classic_histograms_to_nhcb: true"},
		{"scrape_native_histograms: true"},
		{"always_scrape_classic_histograms: true"},
		{"metric_name_validation_scheme: legacy"},
		{"fallback_scrape_protocol: PrometheusText0.0.4", "fallback_scrape_protocol: OpenMetricsText1.0.0", "fallback_scrape_protocol: PrometheusProto"},
		{"sample_limit: 5", "sample_limit: 2", "sample_limit: 20", "sample_limit: 1"},
		{"label_limit: 4", "label_limit: 3", "label_limit: 2"},
		{"label_name_length_limit: 8", "label_name_length_limit: 12"},
		{"label_value_length_limit: 9", "label_value_length_limit: 14"},
		{"body_size_limit: 100B", "body_size_limit: 300B", "body_size_limit: 10B"},
		{"native_histogram_bucket_limit: 2", "native_histogram_bucket_limit: 1", "native_histogram_bucket_limit: 7"},
		{"native_histogram_min_bucket_factor: 1.5", "native_histogram_min_bucket_factor: 1.1", "native_histogram_min_bucket_factor: 300"},
		{
			"metric_relabel_configs: [{source_labels: [x], regex: '1', action: drop}, {regex: y, action: labeldrop}]",
			"metric_relabel_configs: [{source_labels: [__name__], regex: '(.*)_total', target_label: __name__, replacement: '$1'}]",
			"metric_relabel_configs: [{source_labels: [__name__], regex: '[a-c].*', action: keep}]",
			"metric_relabel_configs: [{regex: 'x|le|quantile', action: labeldrop}]",
			"metric_relabel_configs: [{source_labels: [x, y], separator: '', target_label: __name__}, {source_labels: [le], target_label: l_e}]",
		},
	}
}
