package adapter

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
)

// One rule that asks for all namespaces does not open the others.
func TestOneExternalRuleIsNotNamespaced(t *testing.T) {
	no := false
	named := func(series string, namespaced *bool) rules.Rule {
		return aRule(series, func(r *rules.Rule) { r.Name.As, r.Resources.Namespaced = "q", namespaced })
	}
	f := newFixtureWith(t, Options{Rules: rules.Set{External: []rules.Rule{named("queue_a", nil), named("queue_b", &no)}}})
	f.load(`queue_b{namespace="other"} 5`, `queue_a{namespace="mine"} 1x8`, `queue_a{namespace="other"} 100x8`)
	require.Equal(t, "{}=1@instant", f.askExternal("mine/q"))
	require.Contains(t, f.askExternal("nobody/q"), "404: ")
}

// A pod chooses what its series are called; a name that PromQL would read as more than a
// name is only a name, and served with underscores.
func TestSeriesNamesThatAreQueries(t *testing.T) {
	const name = `label_replace(sum(secret{namespace="other"}),"pod","spy","","") or x`
	f := newFixture(t)
	f.namespaces("mine")
	f.add(podResource, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "mine", Name: "spy"}})
	f.load(`secret{namespace="other"} 77x4`, `{"http.server.requests",namespace="mine",pod="spy"} 1x4`)
	f.now = f.now.Add(time.Second)
	f.append(name, "spy", 1)
	require.Contains(t, f.ask("mine/pods/spy/"+name), "404: ")
	require.Contains(t, f.ask("mine/pods/spy/http.server.requests"), "404: ")
	require.Equal(t, "spy=1@instant", f.ask("mine/pods/spy/http_server_requests"))
	escaped := model.EscapeName(name, model.UnderscoreEscaping)
	require.Contains(t, f.ask("mine/pods/spy/"+escaped), "404: ", "its series is of another namespace")
}

// A question in a namespace is answered about that one, also for namespaces and nodes.
func TestExplanationsThroughANamespace(t *testing.T) {
	th := newMonitored(t)
	of := labels.FromStrings("namespace", "other", "pod", "treasure-1", "job", "treasure", "node", "node-1")
	th.targets = append(th.targets, values.Target{Job: "treasure", Address: "10.9.9.9:80/treasure", Labels: of, Discovered: of, LastScrape: th.now, Err: errors.New("treasure")})
	th.exposed["treasure"] = []catalog.Exposed{{Name: "treasure_total", LabelNames: []string{"namespace", "node"}}}
	th.add(schema.GroupResource{Resource: "nodes"}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}})
	th.load(`treasure_total{namespace="other",pod="treasure-1",job="treasure"} 0+15x16`, `gold{namespace="other"} 77x16`,
		`load{namespace="default",node="node-1"} 1x16`, `load{namespace="other",node="node-1"} 76x16`)
	nodes := schema.GroupResource{Resource: "nodes"}
	for _, q := range []explain.Question{
		{Metric: "gold", Object: namespaceResource, Namespace: "default", Name: "other"},
		{Metric: "gold", Object: namespaceResource, Namespace: "default"},
		{Metric: "treasur", Object: nodes, Namespace: "default", Name: "node-1"},
		{Metric: "gold", Object: nodes, Namespace: "default", Name: "node-1"},
		{Metric: "load", Object: nodes, Namespace: "default", Name: "node-1"},
		{Metric: "load", Object: nodes, Namespace: "default"},
		{Metric: "treasur", Object: namespaceResource, Namespace: "default", Name: "default"},
		{Metric: "treasur", Object: namespaceResource, Name: "default"},
	} {
		told, err := th.Explainer.Explain(t.Context(), q)
		require.NoError(t, err)
		require.NotEqual(t, "77", told.Value, q)
		for _, s := range told.Steps {
			text := strings.NewReplacer(q.Metric, "").Replace(s.Text)
			for _, secret := range []string{"treasure", "10.9.9.9", "77"} {
				require.NotContains(t, text, secret, q)
			}
		}
	}
	told, err := th.Explainer.Explain(t.Context(), explain.Question{Metric: "gold", Object: nodes, Namespace: "default", Name: "node-1"})
	require.NoError(t, err)
	require.Equal(t, "no series of the metric in namespace default names node node-1", told.Reason)
	told, err = th.Explainer.Explain(t.Context(), explain.Question{Metric: "load", Object: nodes, Namespace: "default", Name: "node-1"})
	require.NoError(t, err)
	require.Equal(t, "1", told.Value)
	told, err = th.Explainer.Explain(t.Context(), explain.Question{Metric: "gold", Object: namespaceResource, Name: "other"})
	require.NoError(t, err)
	require.Equal(t, "77", told.Value)
}

// A value that a monitor of another namespace has written says so: by object, by namespace
// and of an external metric, and not where the query is meant to read all namespaces.
func TestExplanationsNameJobsOfOtherNamespaces(t *testing.T) {
	no := false
	everywhere := aRule("queue_all", func(r *rules.Rule) { r.Name.As, r.Resources.Namespaced = "everywhere", &no })
	named := aRule("queue", func(r *rules.Rule) { r.Name.As = "queue" })
	f := newFixtureWith(t, Options{Rules: rules.Set{Custom: rules.Defaults(rules.DefaultRateWindow), External: []rules.Rule{named, everywhere}}})
	f.namespaces("default")
	f.pod("a", "app")
	f.load(`queue{namespace="default",pod="a"} 3x8`, `queue_all{namespace="default",pod="a"} 3x8`)
	written := func(namespace string, q explain.Question) (note string) {
		for _, source := range f.sources {
			source.Target.Job, source.Target.Namespace = "serviceMonitor/"+namespace+"/m/0", namespace
		}
		q.Namespace = "default"
		told, err := f.Explainer.Explain(t.Context(), q)
		require.NoError(t, err)
		require.Equal(t, "3", told.Value)
		for _, s := range told.Steps {
			if s.Link == explain.LinkSeries {
				note += s.Text
			}
		}
		return note
	}
	const elsewhere = "series of it are written by serviceMonitor/monitoring/m/0, of a monitor in another namespace"
	for _, q := range []explain.Question{
		{Metric: "queue", Object: podResource, Name: "a"},
		{Metric: "queue", Object: namespaceResource, Name: "default"},
		{Metric: "queue", External: true},
	} {
		require.Equal(t, elsewhere, written("monitoring", q), q)
		require.Empty(t, written("default", q), q)
	}
	require.Empty(t, written("monitoring", explain.Question{Metric: "everywhere", External: true}))
}
