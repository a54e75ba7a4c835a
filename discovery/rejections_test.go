package discovery

import (
	"fmt"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
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
	bad := strings.Replace(monitor(`{selector: {}, endpoints: [{interval: x}]}`), "name: m", "name: m, uid: u1", 1)
	o := load(t, web, bad)
	inlined := monitorSpec(t, strings.Replace(bad, "name: m", "name: inline", 1))
	r := &recorder{}
	d := New(o, Options{Events: r, Annotations: true, ServiceMonitors: []*monitoringv1.ServiceMonitor{inlined}})
	resolve(t, d)
	want := []string{`monitoring.coreos.com/v1 ServiceMonitor default/m u1 Warning: InvalidConfiguration: rejected by promlet: spec.endpoints[0].interval: not a valid duration string: "x"`}
	require.Equal(t, want, r.take(), "none on a monitor that is no object")

	addPod(t, o, "web-z", "10.0.0.9")
	resolve(t, d)
	require.Empty(t, r.take(), "the reason is known")
	d.repeatRejections()
	require.Equal(t, want, r.take())

	store(t, o, web, strings.Replace(bad, "u1", "u2", 1))
	resolve(t, d)
	require.Len(t, r.take(), 1, "the monitor was made anew, its events are gone")
	store(t, o, web, strings.Replace(monitor(`{selector: {}, scrapeClass: `+strings.Repeat("c", 2000)+`, endpoints: [{}]}`), "name: m", "name: m, uid: u2", 1))
	resolve(t, d)
	require.Contains(t, r.take()[0], "Warning: NotSupported: rejected by promlet: spec.scrapeClass")
	store(t, o, web, monitor(`{selector: {}, endpoints: [{bearerTokenFile: /`+strings.Repeat("x", 2000)+`, interval: `+strings.Repeat("y", 2000)+`}]}`))
	resolve(t, d)
	event := r.take()[0]
	require.Less(t, len(event), 1024+120, "the API server takes no more")

	store(t, o, web, monitor(`{selector: {}, endpoints: [{}]}`))
	resolve(t, d)
	require.Empty(t, r.take())
	d.repeatRejections()
	require.Empty(t, r.take())

	service := get[corev1.Service](o.services, "default/web").DeepCopy()
	service.Annotations = map[string]string{annotationScrape: "true", annotationPort: "x"}
	require.NoError(t, o.services.Update(service))
	resolve(t, d)
	require.Contains(t, r.take()[0], "v1 Service default/web  Warning: InvalidConfiguration: rejected by promlet: metadata.annotations[prometheus.io/port]")
	addPod(t, o, "web-y", "10.0.0.8")
	resolve(t, d)
	require.Empty(t, r.take())
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
	inlined := monitorSpec(t, strings.Replace(monitor(`{selector: {}, endpoints: [{}]}`), "name: m", "name: inline", 1))
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
		o := load(t, texts...)
		d := New(o, Options{MonitorSelector: tc.monitors, MonitorNamespaceSelector: tc.namespaces})
		configs, _ := resolve(t, d)
		var want []string
		for _, key := range tc.want {
			want = append(want, "podMonitor/"+key+"/0", "serviceMonitor/"+key+"/0")
		}
		require.ElementsMatch(t, want, sortedKeys(configs))
		require.Len(t, d.Monitors(), len(want))
		inline := New(o, Options{MonitorSelector: tc.monitors, MonitorNamespaceSelector: tc.namespaces, ServiceMonitors: []*monitoringv1.ServiceMonitor{inlined}})
		configs, _ = resolve(t, inline)
		require.Len(t, configs, len(want)+1, "what the configuration holds counts")
	}

	// A namespace that gets the label brings its monitors.
	o := load(t, texts...)
	d := New(o, Options{MonitorNamespaceSelector: selector("team=green")})
	configs, _ := resolve(t, d)
	require.Empty(t, configs)
	require.NoError(t, o.namespaces.Update(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "red", Labels: map[string]string{"team": "green"}}}))
	configs, _ = resolve(t, d)
	require.Len(t, configs, 4)
}

func TestDoubleInlineMonitorsAreLoggedOnce(t *testing.T) {
	m := monitorSpec(t, webMonitor)
	var log logBuffer
	o := load(t, web)
	d := New(o, Options{Logger: log.logger(), ServiceMonitors: []*monitoringv1.ServiceMonitor{m, m}})
	for range 3 {
		resolve(t, d)
		withSecret(t, o, nil) // monitors are looked at again
	}
	require.Equal(t, 1, log.count("monitor rejected"))
	require.Zero(t, log.count("no longer rejected"))
}
