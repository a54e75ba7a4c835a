package discovery

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
)

// named is a monitor with another name.
func named(monitor, name string) string {
	return strings.Replace(monitor, "name: m,", "name: "+name+", uid: u-"+name+",", 1)
}

// scraped are the names of the jobs that are scraped, with their numbers of targets.
func scraped(t *testing.T, d *Discoverer) (jobs []string) {
	configs, groups, err := d.Resolve()
	require.NoError(t, err)
	for _, c := range configs {
		n := 0
		for _, g := range groups[c.JobName] {
			n += len(g.Targets)
		}
		jobs = append(jobs, fmt.Sprint(c.JobName, " ", n))
	}
	return jobs
}

// A monitor with too many targets is rejected whole, with an Event, until it has fewer.
func TestMonitorTargetLimit(t *testing.T) {
	one := samples.ServiceMonitor(`{selector: {matchLabels: {app: web}}, endpoints: [{port: http}]}`)
	three := samples.ServiceMonitor(`{selector: {matchLabels: {app: web}}, endpoints: [{port: http}, {port: metrics}, {port: nothing}]}`)
	o := storetest.Load(t, samples.Web, named(one, "one"), named(three, "three"))
	inline := storetest.Monitor(t, named(three, "inline"))
	r := &recorder{}
	d := New(o, Options{Events: r, MonitorTargetLimit: 3, ServiceMonitors: []*monitoringv1.ServiceMonitor{inline}})
	want := []string{
		"serviceMonitor/default/inline/0 2", "serviceMonitor/default/inline/1 2", "serviceMonitor/default/inline/2 0",
		"serviceMonitor/default/one/0 2",
	}
	require.Equal(t, want, scraped(t, d))
	rejected := `monitoring.coreos.com/v1 ServiceMonitor default/three u-three Warning: InvalidConfiguration: rejected by promlet: not scraped: it has more than 3 targets, the limit for a monitor`
	require.Equal(t, []string{rejected}, r.take())
	for _, m := range d.Monitors() {
		require.Equal(t, m.Name == "three", m.Err != nil, m.Name)
	}
	for _, m := range d.ReachService("default", "web").Monitors {
		require.Equal(t, m.Name == "three", m.Err != nil, m.Name)
	}

	// One more pod changes nothing in that.
	addPod(t, o, "web-z", "10.0.0.9")
	require.Equal(t, want, scraped(t, d))
	require.Empty(t, r.take())
	d.repeatRejections()
	require.Equal(t, []string{rejected}, r.take())

	storetest.Fill(t, o, samples.Web, named(one, "one"), named(strings.Replace(three, ", {port: nothing}", "", 1), "three"))
	d.options.MonitorTargetLimit = 4
	require.Contains(t, scraped(t, d), "serviceMonitor/default/three/1 2")
	require.Empty(t, r.take())
}

// Where those of a namespace are too many together, the largest are rejected.
func TestNamespaceTargetLimit(t *testing.T) {
	small := samples.ServiceMonitor(`{selector: {matchLabels: {app: web}}, endpoints: [{port: http}]}`)
	large := samples.ServiceMonitor(`{selector: {matchLabels: {app: web}}, endpoints: [{port: http}, {port: metrics}]}`)
	elsewhere := strings.Replace(samples.ServiceMonitor(`{namespaceSelector: {any: true}, selector: {matchLabels: {app: web}}, endpoints: [{port: http}, {port: metrics}]}`), "namespace: default", "namespace: other", 1)
	o := storetest.Load(t, samples.Web, named(large, "a"), named(small, "b"), named(small, "c"), named(elsewhere, "e"))
	r := &recorder{}
	d := New(o, Options{Events: r, NamespaceTargetLimit: 5})
	require.Equal(t, []string{
		"serviceMonitor/default/b/0 2", "serviceMonitor/default/c/0 2",
		"serviceMonitor/other/e/0 2", "serviceMonitor/other/e/1 2",
	}, scraped(t, d))
	events := r.take()
	require.Len(t, events, 1)
	require.Contains(t, events[0], "default/a u-a Warning: InvalidConfiguration: rejected by promlet: not scraped: with it the namespace has more than 5 targets, the limit for a namespace")
}

// What is annotated in a namespace counts as one.
func TestAnnotatedTargetLimit(t *testing.T) {
	const yes = `prometheus.io/scrape: "true"`
	o := storetest.Load(t, samples.AnnotatedPod("p", yes, ""), strings.Replace(samples.AnnotatedPod("q", yes, ""), "metadata: {", "metadata: {namespace: other, ", 1))
	r := &recorder{}
	d := New(o, Options{Events: r, Annotations: true, NamespaceTargetLimit: 3})
	require.Equal(t, []string{"annotations/pods 6", "annotations/services 0"}, scraped(t, d))
	d = New(o, Options{Events: r, Annotations: true, NamespaceTargetLimit: 2})
	require.Equal(t, []string{"annotations/pods 0", "annotations/services 0"}, scraped(t, d))
	require.True(t, slices.ContainsFunc(r.take(), func(event string) bool { return strings.Contains(event, "Pod default/p") }))
}
