package discovery

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"

	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/discovery/targets"
)

// recorder keeps the Events it is given, one line each.
type recorder struct {
	record.EventRecorder
	events []string
}

func (r *recorder) Event(object runtime.Object, eventType, reason, message string) {
	ref, ok := object.(*corev1.ObjectReference)
	if !ok {
		panic("an event on something else")
	}
	r.events = append(r.events, fmt.Sprintf("%s %s/%s %s %s: %s: %s", ref.APIVersion+" "+ref.Kind, ref.Namespace, ref.Name, ref.UID, eventType, reason, message))
}

func (r *recorder) take() []string {
	out := r.events
	r.events = nil
	return out
}

func TestRejectionsAreEvents(t *testing.T) {
	bad := strings.Replace(samples.ServiceMonitor(`{selector: {}, endpoints: [{interval: x}]}`), "name: m", "name: m, uid: u1", 1)
	o := storetest.Load(t, samples.Web, bad)
	inlined := storetest.Monitor(t, strings.Replace(bad, "name: m", "name: inline", 1))
	r := &recorder{}
	d := New(o, Options{Events: r, Annotations: true, ServiceMonitors: []*monitoringv1.ServiceMonitor{inlined}})
	runtest.Resolve(t, d)
	want := []string{`monitoring.coreos.com/v1 ServiceMonitor default/m u1 Warning: InvalidConfiguration: rejected by promlet: spec.endpoints[0].interval: not a valid duration string: "x"`}
	require.Equal(t, want, r.take(), "none on a monitor that is no object")

	addPod(t, o, "web-z", "10.0.0.9")
	runtest.Resolve(t, d)
	require.Empty(t, r.take(), "the reason is known")
	d.repeatRejections()
	require.Equal(t, want, r.take())

	storetest.Fill(t, o, samples.Web, strings.Replace(bad, "u1", "u2", 1))
	runtest.Resolve(t, d)
	require.Len(t, r.take(), 1, "the monitor was made anew, its events are gone")
	storetest.Fill(t, o, samples.Web, strings.Replace(samples.ServiceMonitor(`{selector: {}, scrapeClass: `+strings.Repeat("c", 2000)+`, endpoints: [{}]}`), "name: m", "name: m, uid: u2", 1))
	runtest.Resolve(t, d)
	require.Contains(t, r.take()[0], "Warning: NotSupported: rejected by promlet: spec.scrapeClass")
	storetest.Fill(t, o, samples.Web, samples.ServiceMonitor(`{selector: {}, endpoints: [{bearerTokenFile: /`+strings.Repeat("x", 2000)+`, interval: `+strings.Repeat("y", 2000)+`}]}`))
	runtest.Resolve(t, d)
	event := r.take()[0]
	require.Less(t, len(event), 1024+120, "the API server takes no more")

	storetest.Fill(t, o, samples.Web, samples.ServiceMonitor(`{selector: {}, endpoints: [{}]}`))
	runtest.Resolve(t, d)
	require.Empty(t, r.take())
	d.repeatRejections()
	require.Empty(t, r.take())

	service := objects.Get[corev1.Service](o, "default/web").DeepCopy()
	service.Annotations = map[string]string{"prometheus.io/scrape": "true", targets.AnnotationPort: "x"}
	require.NoError(t, storetest.Services(o).Update(service))
	runtest.Resolve(t, d)
	require.Contains(t, r.take()[0], "v1 Service default/web  Warning: InvalidConfiguration: rejected by promlet: metadata.annotations[prometheus.io/port]")
	addPod(t, o, "web-y", "10.0.0.8")
	runtest.Resolve(t, d)
	require.Empty(t, r.take())
}

func TestAdjustmentsAreEvents(t *testing.T) {
	named := func(spec string) string {
		return strings.Replace(samples.ServiceMonitor(spec), "name: m", "name: m, uid: u1", 1)
	}
	var log runtest.LogBuffer
	r := &recorder{}
	o := storetest.Load(t, samples.Web, named(`{selector: {}, endpoints: [{interval: x}]}`))
	d := New(o, Options{Logger: log.Logger(), Events: r})
	runtest.Resolve(t, d)
	require.Contains(t, r.take()[0], "rejected by promlet")

	storetest.Fill(t, o, samples.Web, named(`{selector: {}, endpoints: [{interval: 5ms}]}`))
	runtest.Resolve(t, d)
	want := []string{`monitoring.coreos.com/v1 ServiceMonitor default/m u1 Warning: Adjusted: adjusted by promlet: spec.endpoints[0].interval: 5ms is raised to 1s`}
	require.Equal(t, want, r.take())
	require.Equal(t, 1, log.Count("no longer rejected"))
	require.Equal(t, 1, log.Count("monitor adjusted"))

	addPod(t, o, "web-z", "10.0.0.9")
	runtest.Resolve(t, d)
	require.Empty(t, r.take())
	d.repeatRejections()
	require.Equal(t, want, r.take())
	storetest.Fill(t, o, samples.Web, named(`{selector: {}, endpoints: [{interval: 5s}]}`))
	runtest.Resolve(t, d)
	d.repeatRejections()
	require.Empty(t, r.take())
	require.Equal(t, 1, log.Count("no longer rejected"))
}

func TestMonitorSelectors(t *testing.T) {
	selector := func(s string) labels.Selector {
		parsed, err := labels.Parse(s)
		require.NoError(t, err)
		return parsed
	}
	texts := []string{
		`{apiVersion: v1, kind: Namespace, metadata: {name: blue, labels: {team: blue}}}`,
		`{apiVersion: v1, kind: Namespace, metadata: {name: red, labels: {team: red}}}`,
	}
	for _, ns := range []string{"blue", "red"} {
		for _, release := range []string{"a", "b"} {
			meta := fmt.Sprintf("metadata: {name: %s, namespace: %s, labels: {release: %s}}", release, ns, release)
			texts = append(texts,
				"{apiVersion: monitoring.coreos.com/v1, kind: ServiceMonitor, "+meta+", spec: {selector: {}, endpoints: [{}]}}",
				"{apiVersion: monitoring.coreos.com/v1, kind: PodMonitor, "+meta+", spec: {selector: {}, podMetricsEndpoints: [{}]}}")
		}
	}
	inlined := storetest.Monitor(t, strings.Replace(samples.ServiceMonitor(`{selector: {}, endpoints: [{}]}`), "name: m", "name: inline", 1))
	for _, tc := range []struct {
		monitors, namespaces labels.Selector
		want                 []string
	}{
		{nil, nil, []string{"blue/a", "blue/b", "red/a", "red/b"}},
		{selector("release=a"), nil, []string{"blue/a", "red/a"}},
		{nil, selector("team=blue"), []string{"blue/a", "blue/b"}},
		{selector("release!=a"), selector("team in (red)"), []string{"red/b"}},
		{nil, selector("!team"), nil},
	} {
		o := storetest.Load(t, texts...)
		d := New(o, Options{MonitorSelector: tc.monitors, MonitorNamespaceSelector: tc.namespaces})
		configs, _ := runtest.Resolve(t, d)
		var want []string
		for _, key := range tc.want {
			want = append(want, "podMonitor/"+key+"/0", "serviceMonitor/"+key+"/0")
		}
		require.ElementsMatch(t, want, slices.Sorted(maps.Keys(configs)))
		require.Len(t, d.Monitors(), len(want))
		inline := New(o, Options{MonitorSelector: tc.monitors, MonitorNamespaceSelector: tc.namespaces, ServiceMonitors: []*monitoringv1.ServiceMonitor{inlined}})
		configs, _ = runtest.Resolve(t, inline)
		require.Len(t, configs, len(want)+1, "what the configuration holds counts")
	}

	// A namespace that gets the label brings its monitors.
	o := storetest.Load(t, texts...)
	d := New(o, Options{MonitorNamespaceSelector: selector("team=green")})
	configs, _ := runtest.Resolve(t, d)
	require.Empty(t, configs)
	require.NoError(t, storetest.Namespaces(o).Update(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "red", Labels: map[string]string{"team": "green"}}}))
	configs, _ = runtest.Resolve(t, d)
	require.Len(t, configs, 4)
}

func TestDoubleInlineMonitorsAreLoggedOnce(t *testing.T) {
	m := storetest.Monitor(t, samples.WebMonitor())
	var log runtest.LogBuffer
	o := storetest.Load(t, samples.Web)
	d := New(o, Options{Logger: log.Logger(), ServiceMonitors: []*monitoringv1.ServiceMonitor{m, m}})
	for range 3 {
		runtest.Resolve(t, d)
		require.NoError(t, storetest.Secrets(o).Update(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}})) // monitors are looked at again
	}
	require.Equal(t, 1, log.Count("monitor rejected"))
	require.Zero(t, log.Count("no longer rejected"))
}
