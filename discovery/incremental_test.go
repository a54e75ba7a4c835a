package discovery

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/stretchr/testify/require"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/discovery/targets"
)

// TestChangesComeToTheSame makes random changes to random clusters: what follows
// them one by one comes to what is computed from scratch.
func TestChangesComeToTheSame(t *testing.T) {
	clusters := 40
	if testing.Short() {
		clusters = 8
	}
	changed := 0
	for seed := range clusters {
		r := random{rand.New(rand.NewPCG(uint64(seed), 1))}
		o, other := randomCluster(t, r.Rand), randomCluster(t, r.Rand)
		d := New(o, Options{Annotations: true})
		before := resolved(t, d)
		for step := range 60 {
			var done []string
			for range r.IntN(4) {
				done = append(done, r.change(o, other))
			}
			got := resolved(t, d)
			require.Equal(t, resolved(t, New(o, Options{Annotations: true})), got, "seed %d, step %d: %s", seed, step, strings.Join(done, ", "))
			if !slices.Equal(before, got) {
				changed++
			}
			before = got
		}
	}
	require.Greater(t, changed, clusters, "the changes change something")
}

// resolved writes all that a Discoverer comes to.
func resolved(t *testing.T, d *Discoverer) []string {
	t.Helper()
	configs, groups, err := d.Resolve()
	require.NoError(t, err)
	require.True(t, slices.IsSortedFunc(configs, func(a, b *config.ScrapeConfig) int { return strings.Compare(a.JobName, b.JobName) }))
	var out []string
	for _, c := range configs {
		out = append(out, "job "+c.JobName)
		targets := 0
		for _, g := range groups[c.JobName] {
			targets += len(g.Targets)
		}
		out = append(out, fmt.Sprint("groups ", len(groups[c.JobName]), " targets ", targets))
	}
	out = append(out, runtest.Format(groups, func(string) bool { return true })...)
	for _, m := range d.Monitors() {
		out = append(out, fmt.Sprintf("%s: %v %d %v", m.Key(), m.Jobs, m.Targets, m.Err))
	}
	return out
}

// change adds an object of another cluster, removes one, or gives one the labels of
// another.
func (r random) change(o, other *objects.Store) string {
	of := func(o *objects.Store) []cache.Indexer {
		return []cache.Indexer{storetest.Pods(o), storetest.Services(o), storetest.Slices(o), storetest.Nodes(o), storetest.ServiceMonitors(o), storetest.PodMonitors(o)}
	}
	which := r.IntN(len(of(o)))
	into, from := of(o)[which], of(other)[which]
	choose := func(from cache.Indexer) runtime.Object {
		keys := from.ListKeys()
		if len(keys) == 0 {
			return nil
		}
		slices.Sort(keys)
		obj, _, _ := from.GetByKey(keys[r.IntN(len(keys))])
		return obj.(runtime.Object)
	}
	if obj := choose(into); obj != nil && r.IntN(3) == 0 {
		_ = into.Delete(obj)
		return fmt.Sprintf("deleted %T %s", obj, nameOf(obj))
	}
	obj := choose(from)
	if same := choose(into); same != nil && r.IntN(2) == 0 {
		obj = same
	}
	if obj == nil {
		return "nothing"
	}
	obj = obj.DeepCopyObject()
	if m, err := meta.Accessor(obj); err == nil && r.IntN(2) == 0 {
		labels := r.labels(r.labelNames()...)
		if name, ok := m.GetLabels()["kubernetes.io/service-name"]; ok {
			labels["kubernetes.io/service-name"] = pick(r, name, "s0", "s1")
		}
		m.SetLabels(labels)
		m.SetAnnotations(map[string]string{"prometheus.io/scrape": pick(r, "true", "true", "false"), targets.AnnotationPort: pick(r, "", "80", "x")})
	}
	_ = into.Update(obj)
	return fmt.Sprintf("wrote %T %s", obj, nameOf(obj))
}

func nameOf(obj runtime.Object) string {
	m, err := meta.Accessor(obj)
	if err != nil {
		return ""
	}
	return m.GetNamespace() + "/" + m.GetName()
}

func TestReplaceIsNoticed(t *testing.T) {
	o := storetest.Load(t, samples.Web, samples.WebMonitor())
	d := New(o, Options{})
	_, groups := runtest.Resolve(t, d)
	require.Equal(t, runtest.WantLines(samples.WebTargets), runtest.Lines(groups))
	kept := storetest.Pods(o).List()[:1]
	require.NoError(t, storetest.Pods(o).Replace(kept, ""))
	_, groups = runtest.Resolve(t, d)
	require.Equal(t, resolved(t, New(o, Options{})), resolved(t, d))
	require.NotEqual(t, runtest.WantLines(samples.WebTargets), runtest.Lines(groups))
	require.NoError(t, storetest.Slices(o).Replace(nil, ""))
	_, groups = runtest.Resolve(t, d)
	require.Empty(t, groups)
}

func TestNodeHeartbeatsAreNoChange(t *testing.T) {
	monitor := `{apiVersion: monitoring.coreos.com/v1, kind: PodMonitor, metadata: {name: m, namespace: shop}, spec: {selector: {}, attachMetadata: {node: true},
		podMetricsEndpoints: [{relabelings: [{sourceLabels: [__meta_kubernetes_node_label_zone], targetLabel: zone}]}]}}`
	o := storetest.Load(t, samples.Rich, monitor)
	d := New(o, Options{})
	runtest.Resolve(t, d)
	node, _, err := storetest.Nodes(o).GetByKey("n1")
	require.NoError(t, err)
	again := node.(runtime.Object).DeepCopyObject()
	m, err := meta.Accessor(again)
	require.NoError(t, err)
	m.SetResourceVersion("2")
	require.NoError(t, storetest.Nodes(o).Update(again))
	require.False(t, d.changes.Take().Nodes)
	again = again.DeepCopyObject()
	m, err = meta.Accessor(again)
	require.NoError(t, err)
	m.SetLabels(map[string]string{"zone": "b"})
	require.NoError(t, storetest.Nodes(o).Update(again))
	_, groups := runtest.Resolve(t, d)
	require.Equal(t, resolved(t, New(o, Options{})), resolved(t, d))
	require.Contains(t, strings.Join(runtest.Format(groups, func(l string) bool { return strings.Contains(l, "node_label_zone") }), "\n"), "b")
}

// TestUnchangedTargetsKeepTheirLabels is what lets a scraper leave them alone.
func TestUnchangedTargetsKeepTheirLabels(t *testing.T) {
	o := storetest.Load(t, samples.Web, samples.ServiceMonitor(`{selector: {matchLabels: {app: web}}, endpoints: [{port: metrics, relabelings: [{action: labelmap, regex: __meta_kubernetes_pod_label_(.+)}]}]}`))
	d := New(o, Options{})
	_, groups := runtest.Resolve(t, d)
	before := group(t, groups, "serviceMonitor/default/m/0", "endpointslice/default/web-1")
	changed := pod(t, o, "default/web-a").DeepCopy()
	changed.Labels["new"] = "label"
	require.NoError(t, storetest.Pods(o).Update(changed))
	_, groups = runtest.Resolve(t, d)
	after := group(t, groups, "serviceMonitor/default/m/0", "endpointslice/default/web-1")
	require.NotSame(t, before, after)
	identity := func(ls model.LabelSet) uintptr { return reflect.ValueOf(ls).Pointer() }
	require.Equal(t, identity(before.Labels), identity(after.Labels))
	require.Len(t, after.Targets, len(before.Targets))
	kept := 0
	for i, target := range after.Targets {
		if target["pod"] == "web-a" {
			require.EqualValues(t, "label", target["__meta_kubernetes_pod_label_new"])
			continue
		}
		require.Equal(t, identity(before.Targets[i]), identity(target))
		kept++
	}
	require.Positive(t, kept)

	// Also of those that have moved in the list.
	slice := objects.Get[discoveryv1.EndpointSlice](o, "default/web-1").DeepCopy()
	slice.Endpoints = slice.Endpoints[1:]
	require.NoError(t, storetest.Slices(o).Update(slice))
	_, groups = runtest.Resolve(t, d)
	moved := group(t, groups, "serviceMonitor/default/m/0", "endpointslice/default/web-1")
	require.Len(t, moved.Targets, len(after.Targets)-1)
	require.Equal(t, identity(after.Targets[1]), identity(moved.Targets[0]))
}
