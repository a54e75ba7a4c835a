package discovery

import (
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
	"github.com/promlet/promlet/discovery/monitors"
)

// forging is the spec of a monitor that moves its series to namespace victim, by both
// kinds of relabelings.
const forging = `{selector: {matchLabels: {app: web}}, endpoints: [{port: metrics, honorLabels: true,
	relabelings: [{targetLabel: namespace, replacement: victim}], metricRelabelings: [{action: labeldrop, regex: namespace}]}]}`

func TestEnforcement(t *testing.T) {
	relabelled := func(rules []*relabel.Config, before labels.Labels) string {
		b := labels.NewBuilder(before)
		require.True(t, relabel.ProcessBuilder(b, rules...))
		return b.Get("namespace")
	}
	for name, tc := range map[string]struct {
		of             monitors.Enforcement
		target, series string
	}{
		"off":      {target: "victim", series: ""},
		"enforced": {of: monitors.Enforcement{Enabled: true}, target: "default", series: "default"},
		"exempt":   {of: monitors.Enforcement{Enabled: true, Exempt: []string{"kube-system", "default"}}, target: "victim", series: ""},
		"another":  {of: monitors.Enforcement{Enabled: true, Exempt: []string{"kube-system"}}, target: "default", series: "default"},
	} {
		t.Run(name, func(t *testing.T) {
			d := New(storetest.Load(t, samples.Web, samples.ServiceMonitor(forging)), Options{Enforcement: tc.of})
			configs, _ := runtest.Resolve(t, d)
			cfg := configs["serviceMonitor/default/m/0"]
			require.Equal(t, tc.target, relabelled(cfg.RelabelConfigs, labels.FromStrings("namespace", "default")))
			require.Equal(t, tc.series, relabelled(cfg.MetricRelabelConfigs, labels.FromStrings("__name__", "x", "namespace", "exposed")))
		})
	}
}

// A monitor of another namespace that selects web by every kind of namespaceSelector.
func TestIgnoreNamespaceSelectors(t *testing.T) {
	for _, selector := range []string{"any: true", "matchNames: [default]", "matchNames: [default, elsewhere]"} {
		monitor := `
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: m, namespace: elsewhere}
spec: {namespaceSelector: {` + selector + `}, selector: {matchLabels: {app: web}}, endpoints: [{port: metrics}]}`
		store := storetest.Load(t, samples.Web, monitor)
		_, groups := runtest.Resolve(t, New(store, Options{}))
		require.Len(t, runtest.Lines(groups), 2, selector)
		d := New(storetest.Load(t, samples.Web, monitor), Options{IgnoreNamespaceSelectors: true})
		_, groups = runtest.Resolve(t, d)
		require.Empty(t, runtest.Lines(groups), selector)
		require.Empty(t, d.ReachService("default", "web").Monitors, selector)
	}
}

func TestNamespaceOfJobs(t *testing.T) {
	for job, want := range map[string]string{
		"serviceMonitor/a/m/0": "a", "podMonitor/b/serviceMonitor/1": "b", "annotations/pods": "", "annotations/services": "", "": "",
	} {
		require.Equal(t, want, monitors.NamespaceOf(job), job)
	}
}
