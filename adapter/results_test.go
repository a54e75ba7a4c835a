package adapter

import (
	"math"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	promvalue "github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
	"github.com/promlet/promlet/tsdb"
)

// What is answered in each case in which prometheus-adapter says something else, or
// the same with more in the message.
func TestResults(t *testing.T) {
	f := scenario(t)
	ask := func(path, want string) {
		t.Helper()
		require.Contains(t, f.ask(path), want, path)
	}
	// One code for what is not there, each with its reason.
	ask("default/services/sample/nonsense", "404: the server could not find the metric nonsense for services sample: ")
	ask("default/pods/*/queue_depth?app=none", `404: the server could not find the metric queue_depth for pods: the selector "app=none" matches no pods in namespace default`)
	ask("default/pods/*/queue_depth??code<5", `404: the server could not find the metric queue_depth for pods: unsupported operator "lt"`)
	require.Equal(t, "", f.ask("default/pods/*/queue_depth??code=none"), "an empty list")
	ask("default/pods/sample-1/queue_depth??code=none", "404: the server could not find the metric queue_depth for pods sample-1: ")

	g := func(name string, v float64, want string) {
		t.Helper()
		f.now = f.now.Add(time.Second) // names are read that often
		f.append(name, "sample-1", v)
		ask("default/pods/sample-1/"+name, want)
	}
	g("a", 0.0009, "sample-1=1m@instant")
	g("b", 0.0004, "sample-1=400u@instant")
	g("c", 2.9999, "sample-1=3@instant")
	g("d", 0.9999999999999999, "sample-1=1@instant")
	g("e", -1.5, "sample-1=-1500m@instant")
	g("f", 1e18, "sample-1=1E@instant")
	g("g", 1e30, "sample-1=1000000000000000019884624838656@instant")
	g("h", math.NaN(), "404: the server could not find the metric h for pods sample-1: the value is NaN")
	g("i", math.Inf(-1), "404: the server could not find the metric i for pods sample-1: the value is -Inf")
}

func TestFaultsAre500(t *testing.T) {
	f := newFixture(t, rules.Rule{
		SeriesQuery: `queue_depth`, Resources: rules.Resources{Overrides: defaultOverrides()}, Name: rules.Name{As: "several"},
		MetricsQuery: `<<.Series>>{<<.LabelMatchers>>}`,
	}, rules.Rule{
		SeriesQuery: `queue_depth`, Resources: rules.Resources{Overrides: defaultOverrides()}, Name: rules.Name{As: "impossible"},
		MetricsQuery: `<<.Series>>{<<.LabelMatchers>>} * on (namespace) <<.Series>>{<<.LabelMatchers>>}`,
	})
	f.namespaces("default")
	f.pod("sample-1", "sample")
	f.load(`queue_depth{namespace="default",pod="sample-1",code="1"} 1x4`, `queue_depth{namespace="default",pod="sample-1",code="2"} 2x4`)
	require.Contains(t, f.ask("default/pods/*/several"), `queue_depth{namespace="default",pod="sample-1"} gives several samples for pod "sample-1": aggregate by (<<.GroupBy>>)`)
	require.Contains(t, f.ask("default/pods/*/impossible"), `500: Internal error occurred: metric impossible for pods: evaluate queue_depth{namespace="default",pod="sample-1"} * on (namespace)`)
}

// The timestamp is that of the last sample used, the oldest over an object's series;
// the window that of the rate, none for instant values.
func TestTimestampsAndWindows(t *testing.T) {
	f := newFixture(t)
	f.namespaces("default")
	f.pod("sample-1", "sample")
	f.load(
		`http_requests_total{namespace="default",pod="sample-1",container="app",code="200"} 0+15x16`,
		`http_requests_total{namespace="default",pod="sample-1",container="app",code="500"} 0+15x15`,
		`queue_depth{namespace="default",pod="sample-1",container="app"} 1x15`,
	)
	f.now = f.now.Add(7 * time.Second)
	get := func(metric string) (at time.Time, window *int64) {
		t.Helper()
		v, err := f.GetMetricByName(t.Context(), types.NamespacedName{Namespace: "default", Name: "sample-1"},
			provider.CustomMetricInfo{GroupResource: podResource, Metric: metric, Namespaced: true}, apilabels.Everything())
		require.NoError(t, err)
		return v.Timestamp.Time, v.WindowSeconds
	}
	at, window := get("http_requests")
	require.Equal(t, f.start.Add(15*step), at)
	require.EqualValues(t, 120, *window)
	at, window = get("queue_depth")
	require.Equal(t, f.start.Add(15*step), at)
	require.Nil(t, window)
}

// refreshed is a pod, and one that ended as it was last scraped.
func refreshed(t *testing.T) *fixture {
	f := newFixture(t)
	f.namespaces("default")
	f.pod("sample-1", "sample")
	f.service("sample", "sample-1", "sample-2")
	f.load(
		`http_requests_total{namespace="default",pod="sample-1",service="sample",container="app"} 0+150x16`,
		`http_requests_total{namespace="default",pod="sample-2",service="sample",container="app"} 0+300x15`,
	)
	return f
}

// sampled appends a sample to the counter of a refreshed pod.
func (f *fixture) sampled(pod string, at time.Time, v float64) *tsdb.Target {
	f.t.Helper()
	app := f.db.AppenderV2(f.t.Context())
	series := labels.FromStrings(model.MetricNameLabel, "http_requests_total", "namespace", "default", "pod", pod, "service", "sample", "container", "app")
	_, err := app.Append(0, series, 0, at.UnixMilli(), v, nil, nil, storage.AOptions{})
	require.NoError(f.t, err)
	require.NoError(f.t, app.Commit())
	return f.sources[series.Hash()].Target
}

// A pod that does not exist any more counts in no sum once the others have been scraped
// since; one that exists, and could not be scraped once, does.
func TestDeadPodsCountNowhere(t *testing.T) {
	f := refreshed(t)
	f.pod("sample-2", "sample")
	left := f.sampled("sample-2", f.now, math.Float64frombits(promvalue.StaleNaN))
	left.FailingSince = f.now
	require.Equal(t, "sample=30@120s", f.ask("default/services/sample/http_requests"), "a scrape has failed")
	require.NoError(t, f.objects[podResource].Delete(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "sample-2"}}))
	require.Equal(t, "sample=30@120s", f.ask("default/services/sample/http_requests"), "scraping does not know yet")
	require.Equal(t, "sample-1=10@120s", f.ask("default/pods/*/http_requests"))
	left.Ended = f.now
	f.now = f.now.Add(step)
	stays := f.sampled("sample-1", f.now, 150*17)
	stays.LastScrape = f.now
	left.Changes, stays.Changes = []time.Time{left.Ended}, []time.Time{left.Ended}
	require.Equal(t, "sample=10@15s", f.ask("default/services/sample/http_requests"))
	require.Equal(t, "default=10@15s", f.ask("/namespaces/default/http_requests"))
	require.Equal(t, "sample-1=10@15s", f.ask("default/pods/*/http_requests"))
}

// Series that have not been refreshed within two intervals have no value, though the
// window still holds samples of theirs.
func TestSeriesThatAreNotRefreshed(t *testing.T) {
	f := refreshed(t)
	f.pod("sample-2", "sample")
	f.now = f.now.Add(15 * time.Second)
	require.Contains(t, f.ask("default/pods/*/http_requests"), "sample-1=10@120s sample-2=", "two intervals old")
	f.now = f.now.Add(time.Second)
	require.Equal(t, "sample-1=10@120s", f.ask("default/pods/*/http_requests"))
	require.Equal(t, "sample=10@120s", f.ask("default/services/sample/http_requests"))
	f.now = f.now.Add(15 * time.Second)
	require.Empty(t, f.ask("default/pods/*/http_requests"))
	require.Contains(t, f.ask("default/services/sample/http_requests"), "404: ")
}

// A window that holds few samples of a target that is scraped seldom is completed by those
// before it.
func TestWindowsThatHoldFewSamples(t *testing.T) {
	f := newFixture(t)
	f.namespaces("default")
	f.pod("fast", "app")
	f.pod("slow", "app")
	target := func(pod, job string, interval time.Duration) values.Target {
		return values.Target{Labels: labels.FromStrings("namespace", "default", "pod", pod, "job", job), Interval: interval}
	}
	f.targets = []values.Target{target("fast", "fast", step), target("slow", "slow", time.Minute)}
	f.load(
		`http_requests_total{namespace="default",pod="fast",job="fast",container="app"} 0+150x24`,
		`slow_requests_total{namespace="default",pod="slow",job="slow",container="app"} 0 _ _ _ 600 _ _ _ 1200 _ _ _ 1800 _ _ _ 2400 _ _ _ 3000 _ _ _ 3600`,
		`both_requests_total{namespace="default",pod="fast",job="fast",container="app"} 0+150x24`,
		`both_requests_total{namespace="default",pod="slow",job="slow",container="app"} 0 _ _ _ 600 _ _ _ 1200 _ _ _ 1800 _ _ _ 2400 _ _ _ 3000 _ _ _ 3600`,
		`slow_depth{namespace="default",pod="slow",job="slow",container="app"} 1 _ _ _ 1 _ _ _ 1 _ _ _ 1 _ _ _ 1 _ _ _ 1 _ _ _ 7`,
	)
	require.Equal(t, "fast=10@120s", f.ask("default/pods/*/http_requests"))
	require.Equal(t, "slow=10@120s", f.ask("default/pods/*/slow_requests"))
	require.Equal(t, "default=20@120s", f.ask("/namespaces/default/both_requests"))
	f.now = f.now.Add(119 * time.Second)
	require.Equal(t, "slow=10@60s", f.ask("default/pods/*/slow_requests"), "not two of its intervals old; one sample is in the window")
	require.Equal(t, "slow=7@instant", f.ask("default/pods/*/slow_depth"))
	require.Empty(t, f.ask("default/pods/*/http_requests"))
	require.Equal(t, "default=10@60s", f.ask("/namespaces/default/both_requests"))
}

// Whoever may ask in a namespace learns nothing about others.
func TestNamespacesThroughAnother(t *testing.T) {
	f := scenario(t)
	require.Equal(t, "default=30@120s", f.ask("default/namespaces/default/http_requests"))
	require.Contains(t, f.ask("empty/namespaces/default/http_requests"), "404: the server could not find the metric http_requests for namespaces default: a request in namespace empty cannot read metrics of another namespace")
	require.Equal(t, "default=30@120s", f.ask("default/namespaces/*/http_requests"))
	require.Empty(t, f.ask("empty/namespaces/*/http_requests"))
	require.Equal(t, "default=30@120s", f.ask("/namespaces/*/http_requests"))
}

// Samples that a query looks back for are as fresh as it asks for.
func TestQueriesThatLookBack(t *testing.T) {
	query := func(name, text string) rules.Rule {
		return aRule("queue_depth", func(r *rules.Rule) { r.Name.As, r.MetricsQuery = name, text })
	}
	f := newFixture(t,
		query("before", `sum(<<.Series>>{<<.LabelMatchers>>} offset 1m) by (<<.GroupBy>>)`),
		query("change", `sum(<<.Series>>{<<.LabelMatchers>>} - <<.Series>>{<<.LabelMatchers>>} offset 1m) by (<<.GroupBy>>)`),
		query("most", `max_over_time(sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)[2m:1m])`),
	)
	f.namespaces("default")
	f.pod("sample-1", "sample")
	f.load(`queue_depth{namespace="default",pod="sample-1"} 1+1x20`)
	for range 5 {
		f.now = f.now.Add(-7 * time.Second)
		require.Contains(t, f.ask("default/pods/*/before"), "sample-1=")
		require.Contains(t, f.ask("default/pods/*/change"), "sample-1=4")
		require.Contains(t, f.ask("default/pods/*/most"), "sample-1=")
	}
}
