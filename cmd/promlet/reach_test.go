package main

import (
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/scrape"
)

// A job with an enforced namespace is limited to it.
func TestExposedIsBoundToNamespaces(t *testing.T) {
	f := func(opts options, want ...string) {
		t.Helper()
		var metrics []scrape.Metric
		for _, job := range []string{"serviceMonitor/a/app/0", "serviceMonitor/b/app/0", "serviceMonitor/b/app/0", "podMonitor/monitoring/app/0", "other"} {
			metrics = append(metrics, scrape.Metric{Job: job, Name: "requests", Metadata: metadata.Metadata{Type: model.MetricTypeCounter}})
		}
		var only []string
		for _, e := range (&app{opts: &opts}).adapterExposed(metrics) {
			require.Equal(t, "requests", e.Name)
			require.Equal(t, model.MetricTypeCounter, e.Type)
			only = append(only, e.Only)
		}
		require.Equal(t, want, only)
	}
	f(options{}, "", "", "", "", "")
	f(options{enforceNamespaceLabel: true}, "a", "b", "b", "monitoring", "")
	f(options{enforceNamespaceLabel: true, exemptNamespaces: []string{"monitoring"}}, "a", "b", "b", "", "")
}
