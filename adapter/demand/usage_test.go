package demand

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
)

func usageQueries(t *testing.T) *rules.ResourceQueries {
	query := func(series string) string { return "sum(" + series + "{<<.LabelMatchers>>}) by (<<.GroupBy>>)" }
	rule := func(containers, nodes string) rules.ResourceRule {
		return rules.ResourceRule{ContainerQuery: query(containers), NodeQuery: query(nodes), Resources: rules.Resources{Template: "<<.Resource>>"}, ContainerLabel: "container"}
	}
	queries, err := (&rules.ResourceRules{CPU: rule("cpu", "node_cpu"), Memory: rule("memory", "node_memory")}).Compile(objects.NewKinds(nil, time.Now))
	require.NoError(t, err)
	return queries
}

// What resourceRules read is wanted while somebody asks for it, and while HPAs scale on it.
func TestUsage(t *testing.T) {
	opts := inDemand
	opts.File = filepath.Join(t.TempDir(), "demand.json")
	f := newFixture(t, opts)
	all := []string{"cpu", "memory", "node_cpu", "node_memory"}
	pods, nodes := rules.Usage(objects.Pod()), rules.Usage(objects.Node())
	require.Empty(t, f.wanted(all...))
	f.SetUsage(usageQueries(t))
	require.Empty(t, f.wanted(all...), "nobody reads it")
	f.Read(nodes)
	require.Equal(t, all[2:], f.wanted(all...))
	require.Equal(t, 5*time.Second, f.Starting(nodes))
	f.now = f.now.Add(11 * time.Second)
	require.Zero(t, f.Starting(nodes))
	d, err := f.Current(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"API, 11s ago"}, d.Readers("node_memory"))
	f.save(d, true)

	again := newFixture(t, opts)
	again.SetUsage(usageQueries(t))
	require.Equal(t, all[2:], again.wanted(all...), "also after a restart")
	require.Zero(t, again.Starting(nodes))

	f.now = f.now.Add(DefaultTTL)
	require.Empty(t, f.wanted(all...))
	scaling := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
	f.objects = objects.Reader{Lister: func(gr schema.GroupResource) (cache.GenericLister, bool) {
		return cache.NewGenericLister(scaling, gr), gr.Resource == "horizontalpodautoscalers"
	}}
	require.NoError(t, scaling.Add(&autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{Metrics: []autoscalingv2.MetricSpec{
			{Type: autoscalingv2.ContainerResourceMetricSourceType, ContainerResource: &autoscalingv2.ContainerResourceMetricSource{Name: corev1.ResourceCPU}},
		}},
	}))
	require.Equal(t, all[:2], f.wanted(all...), "both: a pod has a value if both have")
	d, err = f.Current(t.Context())
	require.NoError(t, err)
	require.True(t, d.Scaled("memory"))
	require.Equal(t, []string{"HPA a/b"}, d.Readers("cpu"))
	require.Equal(t, 1, f.Counts()["hpa"])
	require.Equal(t, 5*time.Second, f.Starting(pods))

	f.SetUsage(nil)
	require.Empty(t, f.wanted(all...), "others serve it")
	require.Zero(t, f.Counts()["hpa"])
}

// Kubelets' series are stored if resourceRules read them and nobody else exposes them.
func TestOfKubelets(t *testing.T) {
	f := newFixture(t, inDemand, "other")
	of := func(names ...string) (stored []string, key string) {
		d, err := f.Current(t.Context())
		require.NoError(t, err)
		for _, name := range names {
			if d.OfKubelets(name) {
				stored = append(stored, name)
			}
		}
		return stored, d.key()
	}
	all := []string{"cpu", "memory", "node_cpu", "other"}
	stored, without := of(all...)
	require.Empty(t, stored)
	f.SetUsage(usageQueries(t))
	stored, with := of(all...)
	require.Equal(t, all[:3], stored)
	require.NotEqual(t, without, with, "the scraper is told")

	f.now = f.now.Add(time.Minute)
	f.exposed = append(f.exposed, catalog.Exposed{Name: "cpu", Only: "tenant"}, catalog.Exposed{Name: "memory", Only: "tenant"})
	stored, _ = of(all...)
	require.Equal(t, all[:3], stored, "a tenant does not decide for others")

	f.now = f.now.Add(time.Minute)
	f.expose("cpu")
	stored, ceded := of(all...)
	require.Equal(t, []string{"memory", "node_cpu"}, stored)
	require.NotEqual(t, with, ceded)
}
