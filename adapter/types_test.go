package adapter

import (
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/adapter/explain"
)

// typed has a namespace mine with a counter orders and a gauge depth_total, whose jobs may
// write series of the namespace only; and a namespace theirs that exposes each as the other
// type, by jobs that may write series of one namespace, "" for any.
func typed(t *testing.T, theirs string) *fixture {
	f := newFixture(t)
	f.namespaces("mine", "theirs")
	f.add(schema.GroupResource{Resource: "nodes"}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}})
	f.load(`orders{namespace="mine",node="n",instance="a"} 0+150x16`, `orders{namespace="theirs",node="n",instance="b"} 1000x16`,
		`depth_total{namespace="mine",instance="a"} 7x16`, `depth_total{namespace="theirs",instance="b"} 0+300x16`)
	f.again(func(o *Options) {
		o.Source = f.sourceOf
		o.Exposed = func(uint64) ([]catalog.Exposed, uint64) {
			return []catalog.Exposed{
				{Name: "orders", Type: model.MetricTypeCounter, Only: "mine", LabelNames: []string{"namespace", "node"}},
				{Name: "orders", Type: model.MetricTypeGauge, Only: theirs, LabelNames: []string{"namespace", "node"}},
				{Name: "depth_total", Type: model.MetricTypeGauge, Only: "mine", LabelNames: []string{"namespace"}},
				{Name: "depth_total", Type: model.MetricTypeCounter, Only: theirs, LabelNames: []string{"namespace"}},
			}, 1
		}
	})
	return f
}

// Default rules serve a namespace's series by the types of its own jobs.
func TestTypesOfOtherNamespaces(t *testing.T) {
	f := typed(t, "theirs")
	require.Equal(t, "mine=10@120s", f.ask("/namespaces/mine/orders"))
	require.Equal(t, "theirs=1k@instant", f.ask("/namespaces/theirs/orders"))
	require.Equal(t, "mine=10@120s theirs=1k@instant", f.ask("/namespaces/*/orders"))
	require.Equal(t, "mine=7@instant", f.ask("/namespaces/mine/depth_total"))
	require.Equal(t, "theirs=20@120s", f.ask("/namespaces/theirs/depth"))
	require.Equal(t, "mine=7@instant", f.ask("/namespaces/*/depth_total"))
	require.Equal(t, "theirs=20@120s", f.ask("/namespaces/*/depth"))
	require.Contains(t, f.ask("/namespaces/mine/depth"), "404: ")
	require.Contains(t, f.ask("/namespaces/theirs/depth_total"), "404: ")
	require.Contains(t, f.ask("/namespaces/*/depths"), "404: ")

	// So do requests through the namespace.
	require.Equal(t, "mine=10@120s", f.ask("mine/namespaces/mine/orders"))
	require.Equal(t, "n=10@120s", f.ask("mine/nodes/n/orders"))
	require.Equal(t, "n=1k@instant", f.ask("theirs/nodes/n/orders"))
	require.Contains(t, f.ask("/nodes/n/orders"), "@instant", "of all namespaces, it is not known: the name decides")

	require.Empty(t, f.Shadowed(), "they answer in different namespaces")
	now, err := f.Demand.Current(t.Context())
	require.NoError(t, err)
	require.Equal(t, []demand.ServedMetric{{Metric: "depth", Rule: "a default rule"}, {Metric: "depth_total", Rule: "a default rule"}}, now.Served("depth_total"))
	require.True(t, now.Wanted("depth_total"))
	require.Equal(t, []string{"API, 0s ago"}, now.Readers("depth_total"))

	told, err := f.Explainer.Explain(t.Context(), explain.Question{Metric: "orders", Object: namespaceResource, Name: "mine"})
	require.NoError(t, err)
	require.Equal(t, "10", told.Value)
	told, err = f.Explainer.Explain(t.Context(), explain.Question{Metric: "depth", Object: namespaceResource, Name: "mine"})
	require.NoError(t, err)
	require.Empty(t, told.Value)
}

// If a job may write series of any namespace, differing types are unknown in all namespaces.
func TestTypesOfJobsThatWriteAnyNamespace(t *testing.T) {
	f := typed(t, "")
	require.Equal(t, "mine=2400@instant", f.ask("/namespaces/mine/orders"))
	require.Contains(t, f.ask("/namespaces/mine/depth_total"), "404: ")
	f.now = f.now.Add(time.Second)
	require.Equal(t, "mine=0@120s", f.ask("/namespaces/mine/depth"))
}
