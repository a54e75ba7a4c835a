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
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
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
	podMonitor := podMonitorText(`{selector: {}, podMetricsEndpoints: [{port: metrics, relabelings: [{action: labeldrop, regex: x.+}]}]}`)
	o := load(t, web, apps, anyMonitor, podMonitor)
	d := New(o, Options{Annotations: true})
	configs1, groups1 := resolve(t, d)

	t.Run("nothing changed", func(t *testing.T) {
		configs2, groups2 := resolve(t, d)
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
		configs2, groups2 := resolve(t, d)
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
		require.NoError(t, o.pods.Update(changed))
		_, groups2 := resolve(t, d)
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
		require.NoError(t, o.pods.Update(changed))
		_, groups2 := resolve(t, d)
		const job = "serviceMonitor/default/m/0"
		require.Same(t, groups1[job][0], groups2[job][0])
	})

	t.Run("one endpoint of a monitor changed", func(t *testing.T) {
		m := get[monitoringv1.PodMonitor](o.podMonitors, "default/m").DeepCopy()
		m.Spec.PodMetricsEndpoints = append(m.Spec.PodMetricsEndpoints, monitoringv1.PodMetricsEndpoint{Interval: "7s"})
		require.NoError(t, o.podMonitors.Update(m))
		configs2, groups2 := resolve(t, d)
		const first = "podMonitor/default/m/0"
		require.Contains(t, configs2, "podMonitor/default/m/1")
		require.Same(t, configs1[first], configs2[first])
		require.Same(t, group(t, groups1, first, "pod/default/b"), group(t, groups2, first, "pod/default/b"))
	})

	t.Run("the selection changed and the configuration did not", func(t *testing.T) {
		m := get[monitoringv1.PodMonitor](o.podMonitors, "default/m").DeepCopy()
		m.Spec.Selector.MatchLabels = map[string]string{"app.kubernetes.io/name": "shop"}
		require.NoError(t, o.podMonitors.Update(m))
		configs2, groups2 := resolve(t, d)
		const first = "podMonitor/default/m/0"
		require.Same(t, configs1[first], configs2[first])
		require.Len(t, groups2[first], 1)
		require.Same(t, group(t, groups1, first, "pod/default/a"), groups2[first][0])
	})

	t.Run("the configuration changed", func(t *testing.T) {
		m := get[monitoringv1.PodMonitor](o.podMonitors, "default/m").DeepCopy()
		m.Spec.PodMetricsEndpoints[0].Interval = "9s"
		require.NoError(t, o.podMonitors.Update(m))
		configs2, groups2 := resolve(t, d)
		const first = "podMonitor/default/m/0"
		require.NotSame(t, configs1[first], configs2[first])
		require.Same(t, group(t, groups1, first, "pod/default/a"), groups2[first][0], "the targets did not")
	})

	t.Run("a monitor goes and comes back", func(t *testing.T) {
		m := get[monitoringv1.PodMonitor](o.podMonitors, "default/m")
		require.NoError(t, o.podMonitors.Delete(m))
		configs2, groups2 := resolve(t, d)
		require.NotContains(t, configs2, "podMonitor/default/m/0")
		require.NotContains(t, groups2, "podMonitor/default/m/0")
		require.NoError(t, o.podMonitors.Add(m))
		configs2, groups2 = resolve(t, d)
		require.Contains(t, configs2, "podMonitor/default/m/0")
		require.Len(t, groups2["podMonitor/default/m/0"], 1)
	})
}

// replaceAll puts a copy of every object in its place.
func replaceAll(t *testing.T, o *Objects) {
	t.Helper()
	for _, indexer := range o.byResource {
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
	o := load(t, web, monitor(`{selector: {matchLabels: {app: web}}, targetLabels: [team], attachMetadata: {node: true},
		endpoints: [{port: metrics, relabelings: [{sourceLabels: [__meta_kubernetes_node_label_zone], targetLabel: zone}]}]}`))
	d := New(o, Options{})
	targets := func() []string {
		_, groups := resolve(t, d)
		return format(groups, func(label string) bool {
			return label == "team" || label == "pod" || strings.HasPrefix(label, "__meta_kubernetes_node_l")
		})
	}
	const job = "serviceMonitor/default/m/0 "
	require.Equal(t, []string{job + "10.0.0.1:9090 pod=web-a team=blue", job + "10.0.0.2:9090 pod=web-b team=blue"}, targets())

	require.NoError(t, o.nodes.Add(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"zone": "z"}}}))
	require.Equal(t, []string{
		job + "10.0.0.1:9090 __meta_kubernetes_node_label_zone=z __meta_kubernetes_node_labelpresent_zone=true pod=web-a team=blue",
		job + "10.0.0.2:9090 pod=web-b team=blue",
	}, targets())

	remove[corev1.Node](t, o, "n1")
	remove[corev1.Pod](t, o, "default/web-b")
	require.Equal(t, []string{job + "10.0.0.1:9090 pod=web-a team=blue", job + "10.0.0.2:9090 team=blue"}, targets())

	service := get[corev1.Service](o.services, "default/web").DeepCopy()
	service.Labels["team"] = "red"
	require.NoError(t, o.services.Update(service))
	require.Equal(t, []string{job + "10.0.0.1:9090 pod=web-a team=red", job + "10.0.0.2:9090 team=red"}, targets())

	service = service.DeepCopy()
	service.Labels["app"] = "no"
	require.NoError(t, o.services.Update(service))
	require.Empty(t, targets())
}

func TestInlineMonitors(t *testing.T) {
	inlineMonitor := monitorSpec(t, monitor(`{selector: {}, endpoints: [{port: metrics}]}`))
	inlineMonitor.Namespace = ""
	inlinePods := &monitoringv1.PodMonitor{ObjectMeta: metav1.ObjectMeta{Name: "pods", Namespace: "default"}}
	port := "http"
	inlinePods.Spec.PodMetricsEndpoints = []monitoringv1.PodMetricsEndpoint{{Port: &port}}
	nameless := &monitoringv1.PodMonitor{}
	opts := Options{
		ServiceMonitors: []*monitoringv1.ServiceMonitor{inlineMonitor, nil, inlineMonitor},
		PodMonitors:     []*monitoringv1.PodMonitor{inlinePods, nameless},
	}
	o := load(t, web, apps)
	d := New(o, opts)
	require.Empty(t, inlineMonitor.Namespace, "what was given is not changed")
	inlineMonitor.Spec.Endpoints[0].Port = "changed later"

	_, groups := resolve(t, d)
	require.Equal(t, wantLines(`
		serviceMonitor/default/m/0 10.0.0.1:9090 container=server endpoint=metrics job=web namespace=default pod=web-a service=web
		serviceMonitor/default/m/0 10.0.0.2:9090 container=server endpoint=metrics job=web namespace=default pod=web-b service=web
		podMonitor/default/pods/0 10.0.0.1:8080 container=main endpoint=http job=default/pods namespace=default pod=a`), lines(groups))
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
	store(t, o, web, apps, monitor(`{selector: {}, endpoints: [{port: http}]}`))
	_, groups = resolve(t, d)
	require.Len(t, groups["serviceMonitor/default/m/0"][0].Targets, 2)
	require.Contains(t, lines(groups), "serviceMonitor/default/m/0 10.0.0.1:8080 container=server endpoint=http job=web namespace=default pod=web-a service=web")
	require.Contains(t, rejected(d, "m"), "another ServiceMonitor")
	store(t, o, web, apps)
	_, groups = resolve(t, d)
	require.Contains(t, lines(groups), "serviceMonitor/default/m/0 10.0.0.1:9090 container=server endpoint=metrics job=web namespace=default pod=web-a service=web")
}

func TestRejectionsAreLoggedOnce(t *testing.T) {
	var log logBuffer
	bad := func(interval string) string {
		return monitor(`{selector: {}, endpoints: [{interval: ` + interval + `}]}`)
	}
	o := load(t, bad("one"))
	d := New(o, Options{Logger: log.logger()})
	resolve(t, d)
	resolve(t, d)
	require.Equal(t, 1, log.count("monitor rejected"))
	require.Contains(t, log.String(), `kind=ServiceMonitor namespace=default name=m origin=cluster error="spec.endpoints[0].interval: not a valid duration string: \"one\""`)

	store(t, o, bad("two"))
	resolve(t, d)
	require.Equal(t, 2, log.count("monitor rejected"), "another reason")
	store(t, o, monitor(`{selector: {}, endpoints: [{}]}`))
	resolve(t, d)
	resolve(t, d)
	require.Equal(t, 1, log.count("monitor is no longer rejected"))
	store(t, o, bad("two"))
	resolve(t, d)
	require.Equal(t, 3, log.count("monitor rejected"))
}

func TestUndecodableMonitor(t *testing.T) {
	o := load(t, web, anyMonitor)
	broken := &monitoringv1.PodMonitor{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: "broken", Annotations: map[string]string{undecodable: "decode: no way"},
	}}
	require.NoError(t, o.podMonitors.Add(broken))
	d := New(o, Options{})
	configs, _ := resolve(t, d)
	require.Len(t, configs, 1)
	require.Equal(t, "decode: no way", rejected(d, "broken"))

	mended := broken.DeepCopy()
	mended.Annotations = nil
	require.NoError(t, o.podMonitors.Update(mended))
	resolve(t, d)
	require.Empty(t, rejected(d, "broken"))
}

func TestLister(t *testing.T) {
	o := load(t, rich, anyMonitor, podMonitorText(`{selector: {}, podMetricsEndpoints: []}`), `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: h}
spec: {maxReplicas: 3, scaleTargetRef: {kind: Deployment, name: d}}`)
	for resource, count := range map[string]int{
		"pods": 3, "services": 1, "nodes": 2, "namespaces": 2,
		"endpointslices.discovery.k8s.io": 1, "horizontalpodautoscalers.autoscaling": 1,
		"servicemonitors.monitoring.coreos.com": 1, "podmonitors.monitoring.coreos.com": 1,
	} {
		lister, ok := o.Lister(schema.ParseGroupResource(resource))
		require.True(t, ok, resource)
		objs, err := lister.List(labels.Everything())
		require.NoError(t, err)
		require.Len(t, objs, count, resource)
		_, ok = o.Indexer(schema.ParseGroupResource(resource))
		require.True(t, ok, resource)
	}
	lister, _ := o.Lister(corev1.Resource("pods"))
	objs, err := lister.ByNamespace("shop").List(labels.Everything())
	require.NoError(t, err)
	require.Len(t, objs, 3)
	obj, err := lister.ByNamespace("shop").Get("s-a")
	require.NoError(t, err)
	require.Equal(t, "10.0.0.1", obj.(*corev1.Pod).Status.PodIP)
	_, err = lister.ByNamespace("shop").Get("nope")
	require.Error(t, err)
	nodes, _ := o.Lister(corev1.Resource("nodes"))
	_, err = nodes.Get("n1")
	require.NoError(t, err)

	_, ok := o.Lister(schema.GroupResource{Group: "apps", Resource: "deployments"})
	require.False(t, ok)
}
