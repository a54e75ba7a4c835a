package embedded

import (
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/scrape"
)

// A job with an enforced namespace is limited to it.
func TestExposedIsBoundToNamespaces(t *testing.T) {
	f := func(enforcement monitors.Enforcement, want ...string) {
		t.Helper()
		var metrics []scrape.Metric
		for _, job := range []string{"serviceMonitor/a/app/0", "serviceMonitor/b/app/0", "serviceMonitor/b/app/0", "podMonitor/monitoring/app/0", "other"} {
			metrics = append(metrics, scrape.Metric{Job: job, Name: "requests", Metadata: metadata.Metadata{Type: model.MetricTypeCounter}})
		}
		p := &Promlet{opts: Options{Discovery: discovery.Options{Enforcement: enforcement}}}
		var only []string
		for _, e := range p.exposedNames(metrics) {
			require.Equal(t, "requests", e.Name)
			require.Equal(t, model.MetricTypeCounter, e.Type)
			only = append(only, e.Only)
		}
		require.Equal(t, want, only)
	}
	f(monitors.Enforcement{}, "", "", "", "", "")
	f(monitors.Enforcement{Enabled: true}, "a", "b", "b", "monitoring", "")
	f(monitors.Enforcement{Enabled: true, Exempt: []string{"monitoring"}}, "a", "b", "b", "", "")
}
