package names

import (
	"testing"

	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/config"
)

func TestOutcomeOf(t *testing.T) {
	f := func(rules, name string, want Outcome) {
		t.Helper()
		cfg, err := config.Load("scrape_configs: [{job_name: j, metric_relabel_configs: ["+rules+"]}]", promslog.NewNopLogger())
		require.NoError(t, err)
		require.Equal(t, want, outcomeOf(name, cfg.ScrapeConfigs[0].MetricRelabelConfigs))
	}
	depends := Outcome{Depends: true}
	f("", "a", Outcome{Name: "a"})
	f("{source_labels: [__name__], regex: 'a.*', action: drop}", "ab", Outcome{Dropped: true})
	f("{source_labels: [__name__], regex: 'a.*', action: keep}", "b", Outcome{Dropped: true})
	f("{source_labels: [x, __name__], regex: 'a.*', action: drop}", "a", Outcome{Name: "a"})
	f("{source_labels: [__name__], regex: 'a_(.*)', target_label: __name__}", "a_b", Outcome{Name: "b"})
	f("{source_labels: [__name__], regex: 'a_(.*)', target_label: __name__}, {source_labels: [__name__], regex: b, action: drop}", "a_b", Outcome{Dropped: true})
	f("{source_labels: [__name__], target_label: __name__, action: uppercase}", "a", Outcome{Name: "A"})
	f("{source_labels: [__name__], regex: '(.*)', target_label: other}", "a", Outcome{Name: "a"})
	f("{target_label: __name__, replacement: z}", "a", Outcome{Name: "z"})
	f("{source_labels: [x], target_label: __name__}", "a", depends)
	f("{source_labels: [__name__], regex: '(.*)', target_label: '__${1}__', replacement: z}", "name", depends)
	f("{source_labels: [__name__], regex: '(.*)', target_label: 'x_${1}', replacement: z}", "name", Outcome{Name: "name"})
	f("{source_labels: [__name__], regex: '(.*)', target_label: __name__, replacement: ''}", "a", depends)
	f("{regex: '__.*', action: labeldrop}", "a", depends)
	f("{regex: 'x', action: labeldrop}", "a", Outcome{Name: "a"})
	f("{regex: 'x', action: labelkeep}", "a", depends)
	f("{regex: '(x.*)', action: labelmap}", "a", depends)
	f("{regex: '(x.*)', replacement: 'z_$1', action: labelmap}", "a", Outcome{Name: "a"})
	f("{source_labels: [x], target_label: y, action: keepequal}", "a", Outcome{Name: "a"})
}
