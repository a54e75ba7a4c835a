package discovery

import (
	"fmt"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
	"github.com/promlet/promlet/discovery/objects"
)

// group finds a group by its source.
func group(t *testing.T, groups map[string][]*targetgroup.Group, job, source string) *targetgroup.Group {
	t.Helper()
	for _, g := range groups[job] {
		if g.Source == source {
			return g
		}
	}
	require.Fail(t, "no group "+source, job)
	return nil
}

func TestPointersOfTheUnchanged(t *testing.T) {
	podMonitor := samples.PodMonitor(`{selector: {}, podMetricsEndpoints: [{port: metrics, relabelings: [{action: labeldrop, regex: x.+}]}]}`)
	o := storetest.Load(t, samples.Web, samples.Apps, samples.AnyMonitor(), podMonitor)
	d := New(o, Options{Annotations: true})
	configs1, groups1 := runtest.Resolve(t, d)

	t.Run("nothing changed", func(t *testing.T) {
		configs2, groups2 := runtest.Resolve(t, d)
		require.Len(t, configs2, 4)
		for name := range configs1 {
			require.Same(t, configs1[name], configs2[name])
		}
		for job := range groups1 {
			require.Len(t, groups2[job], len(groups1[job]))
			for i := range groups1[job] {
				require.Same(t, groups1[job][i], groups2[job][i])
			}
		}
	})

	t.Run("objects replaced by equal ones", func(t *testing.T) {
		replaceAll(t, o)
		configs2, groups2 := runtest.Resolve(t, d)
		for name := range configs1 {
			require.Same(t, configs1[name], configs2[name])
		}
		for job := range groups1 {
			for i := range groups1[job] {
				require.Same(t, groups1[job][i], groups2[job][i])
			}
		}
	})

	t.Run("one pod changed", func(t *testing.T) {
		changed := pod(t, o, "default/a").DeepCopy()
		changed.Status.PodIP = "10.9.9.9"
		require.NoError(t, storetest.Pods(o).Update(changed))
		_, groups2 := runtest.Resolve(t, d)
		const job = "podMonitor/default/m/0"
		require.NotSame(t, group(t, groups1, job, "pod/default/a"), group(t, groups2, job, "pod/default/a"))
		require.Same(t, group(t, groups1, job, "pod/default/b"), group(t, groups2, job, "pod/default/b"))
		const other = "serviceMonitor/default/m/0"
		require.Same(t, groups1[other][0], groups2[other][0])
		groups1 = groups2
	})

	t.Run("what changed of the pod is not used", func(t *testing.T) {
		changed := pod(t, o, "default/web-a").DeepCopy()
		changed.ResourceVersion = "77"
		changed.CreationTimestamp = metav1.Now()
		require.NoError(t, storetest.Pods(o).Update(changed))
		_, groups2 := runtest.Resolve(t, d)
		const job = "serviceMonitor/default/m/0"
		require.Same(t, groups1[job][0], groups2[job][0])
	})

	t.Run("one endpoint of a monitor changed", func(t *testing.T) {
		m := objects.Get[monitoringv1.PodMonitor](o, "default/m").DeepCopy()
		m.Spec.PodMetricsEndpoints = append(m.Spec.PodMetricsEndpoints, monitoringv1.PodMetricsEndpoint{Interval: "7s"})
		require.NoError(t, storetest.PodMonitors(o).Update(m))
		configs2, groups2 := runtest.Resolve(t, d)
		const first = "podMonitor/default/m/0"
		require.Contains(t, configs2, "podMonitor/default/m/1")
		require.Same(t, configs1[first], configs2[first])
		require.Same(t, group(t, groups1, first, "pod/default/b"), group(t, groups2, first, "pod/default/b"))
	})

	t.Run("the selection changed and the configuration did not", func(t *testing.T) {
		m := objects.Get[monitoringv1.PodMonitor](o, "default/m").DeepCopy()
		m.Spec.Selector.MatchLabels = map[string]string{"app.kubernetes.io/name": "shop"}
		require.NoError(t, storetest.PodMonitors(o).Update(m))
		configs2, groups2 := runtest.Resolve(t, d)
		const first = "podMonitor/default/m/0"
		require.Same(t, configs1[first], configs2[first])
		require.Len(t, groups2[first], 1)
		require.Same(t, group(t, groups1, first, "pod/default/a"), groups2[first][0])
	})

	t.Run("the configuration changed", func(t *testing.T) {
		m := objects.Get[monitoringv1.PodMonitor](o, "default/m").DeepCopy()
		m.Spec.PodMetricsEndpoints[0].Interval = "9s"
		require.NoError(t, storetest.PodMonitors(o).Update(m))
		configs2, groups2 := runtest.Resolve(t, d)
		const first = "podMonitor/default/m/0"
		require.NotSame(t, configs1[first], configs2[first])
		require.Same(t, group(t, groups1, first, "pod/default/a"), groups2[first][0], "the targets did not")
	})

	t.Run("a monitor goes and comes back", func(t *testing.T) {
		m := objects.Get[monitoringv1.PodMonitor](o, "default/m")
		require.NoError(t, storetest.PodMonitors(o).Delete(m))
		configs2, groups2 := runtest.Resolve(t, d)
		require.NotContains(t, configs2, "podMonitor/default/m/0")
		require.NotContains(t, groups2, "podMonitor/default/m/0")
		require.NoError(t, storetest.PodMonitors(o).Add(m))
		configs2, groups2 = runtest.Resolve(t, d)
		require.Contains(t, configs2, "podMonitor/default/m/0")
		require.Len(t, groups2["podMonitor/default/m/0"], 1)
	})
}

// replaceAll puts a copy of every object in its place.
func replaceAll(t *testing.T, o *objects.Store) {
	t.Helper()
	for _, indexer := range storetest.All(o) {
		for _, obj := range indexer.List() {
			switch x := obj.(type) {
			case *corev1.Pod:
				require.NoError(t, indexer.Update(x.DeepCopy()))
			case *corev1.Service:
				require.NoError(t, indexer.Update(x.DeepCopy()))
			case *monitoringv1.ServiceMonitor:
				require.NoError(t, indexer.Update(x.DeepCopy()))
			case *monitoringv1.PodMonitor:
				require.NoError(t, indexer.Update(x.DeepCopy()))
			}
		}
	}
}

func TestTargetsFollowObjects(t *testing.T) {
	o := storetest.Load(t, samples.Web, samples.ServiceMonitor(`{selector: {matchLabels: {app: web}}, targetLabels: [team], attachMetadata: {node: true},
		endpoints: [{port: metrics, relabelings: [{sourceLabels: [__meta_kubernetes_node_label_zone], targetLabel: zone}]}]}`))
	d := New(o, Options{})
	targets := func() []string {
		_, groups := runtest.Resolve(t, d)
		return runtest.Format(groups, func(label string) bool {
			return label == "team" || label == "pod" || strings.HasPrefix(label, "__meta_kubernetes_node_l")
		})
	}
	const job = "serviceMonitor/default/m/0 "
	require.Equal(t, []string{job + "10.0.0.1:9090 pod=web-a team=blue", job + "10.0.0.2:9090 pod=web-b team=blue"}, targets())

	require.NoError(t, storetest.Nodes(o).Add(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"zone": "z"}}}))
	require.Equal(t, []string{
		job + "10.0.0.1:9090 __meta_kubernetes_node_label_zone=z __meta_kubernetes_node_labelpresent_zone=true pod=web-a team=blue",
		job + "10.0.0.2:9090 pod=web-b team=blue",
	}, targets())

	storetest.Remove(t, storetest.Nodes(o), "n1")
	storetest.Remove(t, storetest.Pods(o), "default/web-b")
	require.Equal(t, []string{job + "10.0.0.1:9090 pod=web-a team=blue", job + "10.0.0.2:9090 team=blue"}, targets())

	service := objects.Get[corev1.Service](o, "default/web").DeepCopy()
	service.Labels["team"] = "red"
	require.NoError(t, storetest.Services(o).Update(service))
	require.Equal(t, []string{job + "10.0.0.1:9090 pod=web-a team=red", job + "10.0.0.2:9090 team=red"}, targets())

	service = service.DeepCopy()
	service.Labels["app"] = "no"
	require.NoError(t, storetest.Services(o).Update(service))
	require.Empty(t, targets())
}

func TestInlineMonitors(t *testing.T) {
	inlineMonitor := storetest.Monitor(t, samples.ServiceMonitor(`{selector: {}, endpoints: [{port: metrics}]}`))
	inlineMonitor.Namespace = ""
	inlinePods := &monitoringv1.PodMonitor{ObjectMeta: metav1.ObjectMeta{Name: "pods", Namespace: "default"}}
	port := "http"
	inlinePods.Spec.PodMetricsEndpoints = []monitoringv1.PodMetricsEndpoint{{Port: &port}}
	nameless := &monitoringv1.PodMonitor{}
	opts := Options{
		ServiceMonitors: []*monitoringv1.ServiceMonitor{inlineMonitor, nil, inlineMonitor},
		PodMonitors:     []*monitoringv1.PodMonitor{inlinePods, nameless},
	}
	o := storetest.Load(t, samples.Web, samples.Apps)
	d := New(o, opts)
	require.Empty(t, inlineMonitor.Namespace, "what was given is not changed")
	inlineMonitor.Spec.Endpoints[0].Port = "changed later"

	_, groups := runtest.Resolve(t, d)
	require.Equal(t, runtest.WantLines(`
		serviceMonitor/default/m/0 10.0.0.1:9090 container=server endpoint=metrics job=web namespace=default pod=web-a service=web
		serviceMonitor/default/m/0 10.0.0.2:9090 container=server endpoint=metrics job=web namespace=default pod=web-b service=web
		podMonitor/default/pods/0 10.0.0.1:8080 container=main endpoint=http job=default/pods namespace=default pod=a`), runtest.Lines(groups))
	var got []string
	for _, m := range d.Monitors() {
		got = append(got, fmt.Sprintf("%s %s %s/%s %d %v", m.Origin, m.Kind, m.Namespace, m.Name, m.Targets, m.Err))
	}
	require.Equal(t, []string{
		"inline PodMonitor default/ 0 metadata.name: empty",
		"inline PodMonitor default/pods 1 <nil>",
		"inline ServiceMonitor default/m 2 <nil>",
		"inline ServiceMonitor default/m 0 metadata.name: another ServiceMonitor has this namespace and name",
	}, got)

	// The cluster's own monitor of the name wins, and the inline one is back when
	// it goes.
	storetest.Fill(t, o, samples.Web, samples.Apps, samples.ServiceMonitor(`{selector: {}, endpoints: [{port: http}]}`))
	_, groups = runtest.Resolve(t, d)
	require.Len(t, groups["serviceMonitor/default/m/0"][0].Targets, 2)
	require.Contains(t, runtest.Lines(groups), "serviceMonitor/default/m/0 10.0.0.1:8080 container=server endpoint=http job=web namespace=default pod=web-a service=web")
	require.Contains(t, runtest.Rejected(d.Monitors(), "m"), "another ServiceMonitor")
	storetest.Fill(t, o, samples.Web, samples.Apps)
	_, groups = runtest.Resolve(t, d)
	require.Contains(t, runtest.Lines(groups), "serviceMonitor/default/m/0 10.0.0.1:9090 container=server endpoint=metrics job=web namespace=default pod=web-a service=web")
}

func TestRejectionsAreLoggedOnce(t *testing.T) {
	var log runtest.LogBuffer
	bad := func(interval string) string {
		return samples.ServiceMonitor(`{selector: {}, endpoints: [{interval: ` + interval + `}]}`)
	}
	o := storetest.Load(t, bad("one"))
	d := New(o, Options{Logger: log.Logger()})
	runtest.Resolve(t, d)
	runtest.Resolve(t, d)
	require.Equal(t, 1, log.Count("monitor rejected"))
	require.Contains(t, log.String(), `kind=ServiceMonitor namespace=default name=m origin=cluster error="spec.endpoints[0].interval: not a valid duration string: \"one\""`)

	storetest.Fill(t, o, bad("two"))
	runtest.Resolve(t, d)
	require.Equal(t, 2, log.Count("monitor rejected"), "another reason")
	storetest.Fill(t, o, samples.ServiceMonitor(`{selector: {}, endpoints: [{}]}`))
	runtest.Resolve(t, d)
	runtest.Resolve(t, d)
	require.Equal(t, 1, log.Count("monitor is no longer rejected"))
	storetest.Fill(t, o, bad("two"))
	runtest.Resolve(t, d)
	require.Equal(t, 3, log.Count("monitor rejected"))
}

func TestUndecodableMonitor(t *testing.T) {
	o := storetest.Load(t, samples.Web, samples.AnyMonitor())
	broken := &monitoringv1.PodMonitor{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: "broken", Annotations: map[string]string{objects.UndecodableAnnotation: "decode: no way"},
	}}
	require.NoError(t, storetest.PodMonitors(o).Add(broken))
	d := New(o, Options{})
	configs, _ := runtest.Resolve(t, d)
	require.Len(t, configs, 1)
	require.Equal(t, "decode: no way", runtest.Rejected(d.Monitors(), "broken"))

	mended := broken.DeepCopy()
	mended.Annotations = nil
	require.NoError(t, storetest.PodMonitors(o).Update(mended))
	runtest.Resolve(t, d)
	require.Empty(t, runtest.Rejected(d.Monitors(), "broken"))
}

func TestRunWithoutSource(t *testing.T) {
	require.EqualError(t, New(objects.NewStore(), Options{}).Run(t.Context(), nil, nil), "run discovery: a source and apply are required")
}
