package adapter

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/adapter/rules"
)

// exposing makes targets of a fixture expose names, whose series carry the labels of
// a pod.
func exposing(names ...string) func(*Options) {
	return func(o *Options) {
		o.Exposed = func(known uint64) ([]catalog.Exposed, uint64) {
			if known == 1 {
				return nil, 1
			}
			var all []catalog.Exposed
			for _, name := range names {
				all = append(all, catalog.Exposed{Name: name, LabelNames: []string{"endpoint", "instance", "job", "namespace", "pod", "service"}})
			}
			return all, 1
		}
	}
}

// again makes the provider of a fixture anew, with other options.
func (f *fixture) again(mutate ...func(*Options)) {
	f.t.Helper()
	opts := Options{
		DB: f.db, Objects: f.lister, Now: func() time.Time { return f.now }, Interval: step,
		Demand: demand.Options{FirstValue: 5 * time.Second},
	}
	for _, m := range mutate {
		m(&opts)
	}
	var err error
	f.Provider, err = NewProvider(opts)
	require.NoError(f.t, err)
}

// wanted returns which of the names are.
func (f *fixture) wanted(names ...string) (wanted []string) {
	f.t.Helper()
	d, err := f.Demand.Current(context.Background())
	require.NoError(f.t, err)
	for _, name := range names {
		if d.Wanted(name) {
			wanted = append(wanted, name)
		}
	}
	return wanted
}

func (f *fixture) hpa(name string, metrics ...autoscalingv2.MetricSpec) *autoscalingv2.HorizontalPodAutoscaler {
	gr := autoscalingv2.Resource("horizontalpodautoscalers")
	if f.objects[gr] == nil {
		f.objects[gr] = cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	}
	hpa := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	hpa.Spec.Metrics = metrics
	f.add(gr, hpa)
	return hpa
}

func podsMetric(name string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Pods: &autoscalingv2.PodsMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: name}}}
}

func objectMetric(name string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Object: &autoscalingv2.ObjectMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: name}}}
}

func (f *fixture) serviceMetric(metric string) error {
	_, err := f.GetMetricByName(context.Background(), types.NamespacedName{Namespace: "default", Name: "sample"}, provider.CustomMetricInfo{GroupResource: serviceResource, Namespaced: true, Metric: metric}, nil)
	return err
}

// selects notes a selector, and returns the warning about one that finds nothing.
func (f *fixture) selects(text string) error {
	f.t.Helper()
	matchers, err := parser.NewParser(parser.Options{}).ParseMetricSelector(text)
	require.NoError(f.t, err)
	if warning := f.Demand.Selected(matchers); warning != nil {
		return warning(false)
	}
	return nil
}

func TestWhatIsWanted(t *testing.T) {
	names := []string{"http_requests_total", "queue_depth", "go_goroutines", "node_load1", "node_load5"}
	f := scenario(t)
	f.again(exposing(names...), func(o *Options) { o.Rules.Keep = []string{"node_load[0-9]"} })
	require.Equal(t, []string{"node_load1", "node_load5"}, f.wanted(names...))

	// Asked for over the API, for as long as it is.
	require.NoError(t, f.serviceMetric("queue_depth"))
	require.ErrorContains(t, f.serviceMetric("nonsense"), "no series has been collected")
	require.Equal(t, []string{"queue_depth", "node_load1", "node_load5"}, f.wanted(names...))
	f.now = f.now.Add(demand.DefaultTTL - time.Second)
	require.Contains(t, f.wanted(names...), "queue_depth")
	f.now = f.now.Add(2 * time.Second)
	require.NotContains(t, f.wanted(names...), "queue_depth")
	require.Zero(t, f.Demand.Counts()["api"])

	// By an HPA, for as long as it is there; also of names that nobody exposes yet.
	hpa := f.hpa("app", podsMetric("http_requests"), objectMetric("later"), autoscalingv2.MetricSpec{})
	d, err := f.Demand.Current(context.Background())
	require.NoError(t, err)
	for name, scaled := range map[string]bool{"http_requests_total": true, "http_requests": true, "later_seconds_total": true, "later": true, "node_load1": false, "go_goroutines": false} {
		require.Equal(t, scaled, d.Scaled(name), name)
	}
	require.True(t, d.Wanted("http_requests_total"))
	require.NoError(t, f.objects[autoscalingv2.Resource("horizontalpodautoscalers")].Delete(hpa))
	require.Equal(t, []string{"node_load1", "node_load5"}, f.wanted(names...))

	// By selectors; those that choose no names make nothing wanted.
	f.selects(`http_requests_total`)
	f.selects(`{__name__=~"go_.*", job="x"}`)
	f.selects(`{job="x"}`)
	f.selects(`{__name__=~".+"}`)
	f.selects(`{__name__!~"node_.*", job="x"}`)
	require.Equal(t, []string{"http_requests_total", "go_goroutines", "node_load1", "node_load5"}, f.wanted(names...))
	f.now = f.now.Add(demand.DefaultTTL - time.Second)
	f.selects(`http_requests_total`)
	f.now = f.now.Add(2 * time.Second)
	require.Equal(t, []string{"http_requests_total", "node_load1", "node_load5"}, f.wanted(names...))
	f.now = f.now.Add(demand.DefaultTTL + time.Second)
	require.Equal(t, []string{"node_load1", "node_load5"}, f.wanted(names...))
	require.Zero(t, f.Demand.Counts()["query"])
}

// What a rule reads is told by its query, not by its seriesQuery.
func TestRulesSayWhatTheyRead(t *testing.T) {
	rule := rules.Rule{
		SeriesQuery:  `queue_depth`,
		Resources:    rules.Resources{Overrides: defaultOverrides()},
		Name:         rules.Name{As: "fullness"},
		MetricsQuery: `sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>) / sum(queue_capacity{<<.LabelMatchers>>}) by (<<.GroupBy>>) * on() group_left() {__name__=~"<<.Series>>_factor.*"}`,
	}
	names := []string{"queue_depth", "queue_capacity", "queue_depth_factor_a", "queue_length"}
	f := scenario(t)
	f.again(exposing(names...), func(o *Options) { o.Rules.Custom = []rules.Rule{rule} })
	require.Empty(t, f.wanted(names...))
	f.hpa("app", podsMetric("fullness"))
	require.Equal(t, names[:3], f.wanted(names...))
}

// A template may read other series for each kind of object: what is evaluated is
// wanted.
func TestTemplatesThatDecideWhatToRead(t *testing.T) {
	rule := rules.Rule{
		SeriesQuery: `queue_depth`, Resources: rules.Resources{Overrides: defaultOverrides()}, Name: rules.Name{As: "fullness"},
		MetricsQuery: `sum(<<if eq .GroupBy "service">>queue_of_service<<else>><<.Series>><<end>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)`,
	}
	names := []string{"queue_depth", "queue_of_service"}
	f := scenario(t)
	f.again(exposing(names...), func(o *Options) { o.Rules.Custom = []rules.Rule{rule} })
	f.hpa("app", objectMetric("fullness"))
	require.Equal(t, names[:1], f.wanted(names...))
	require.NoError(t, f.serviceMetric("fullness")) // by its pods, for now
	require.Equal(t, names, f.wanted(names...))
}

// The first answer says when there will be another.
func TestCollectionHasStarted(t *testing.T) {
	f := scenario(t)
	f.again(exposing("http_errors_total", "http_requests_total"))
	info := provider.CustomMetricInfo{GroupResource: podResource, Namespaced: true, Metric: "http_errors"}
	everything := apilabels.Everything()
	for after, want := range []string{"collection of http_errors_total has started, first value in about 5s", "first value in about 4s", "first value in about 3s"} {
		require.ErrorContains(t, f.serviceMetric("http_errors"), want, after)
		_, err := f.GetMetricBySelector(context.Background(), "default", everything, info, everything)
		require.ErrorContains(t, err, want)
		f.now = f.now.Add(time.Second)
	}
	f.now = f.now.Add(time.Minute)
	require.ErrorContains(t, f.serviceMetric("http_errors"), "http_errors_total has no series in namespace default")
	list, err := f.GetMetricBySelector(context.Background(), "default", everything, info, everything)
	require.NoError(t, err)
	require.Empty(t, list.Items)

	// What has been collected all along is answered.
	f = scenario(t)
	f.again(exposing("http_errors_total", "http_requests_total"))
	require.NoError(t, f.serviceMetric("http_requests"))

	// A sum waits until all targets have been scraped, for some seconds at most. Pods do not wait for others.
	f = scenario(t)
	collecting := true
	f.again(exposing("http_errors_total", "http_requests_total"), func(o *Options) { o.Collecting = func(string) bool { return collecting } })
	require.ErrorContains(t, f.serviceMetric("http_requests"), "collection of http_requests_total has started")
	info.Metric = "http_requests"
	list, err = f.GetMetricBySelector(context.Background(), "default", everything, info, everything)
	require.NoError(t, err)
	require.NotEmpty(t, list.Items)
	collecting = false
	require.NoError(t, f.serviceMetric("http_requests"))
	collecting = true
	f.now = f.now.Add(11 * time.Second)
	require.NoError(t, f.serviceMetric("http_requests"))

	// Discovery lists what nobody has read yet, by the labels that it carries.
	var listed []string
	for _, info := range f.ListAllMetrics() {
		if info.Metric == "http_errors" {
			listed = append(listed, info.GroupResource.String())
		}
	}
	require.Equal(t, []string{"namespaces", "pods", "services"}, listed)
}

func TestDemandIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "demand.json")
	names := []string{"http_requests_total", "queue_depth", "go_goroutines"}
	kept := func(o *Options) { o.Demand.File = file }
	run := func(f *fixture) (first []string) {
		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, f.Demand.Run(ctx, func(_ context.Context, d *demand.Demand) error {
			for _, name := range names {
				if d.Wanted(name) {
					first = append(first, name)
				}
			}
			cancel()
			return nil
		}))
		return first
	}
	f := scenario(t)
	f.again(exposing(names...), kept)
	require.NoError(t, f.serviceMetric("queue_depth"))
	require.Error(t, f.selects("go_goroutines"))
	f.hpa("app", podsMetric("http_requests"))
	require.Equal(t, names, run(f))

	// After a restart HPAs are not known yet, and nothing is new.
	now := f.now
	f = newFixture(t)
	f.now = now
	f.again(exposing(names...), kept)
	require.Equal(t, names, run(f))
	require.Zero(t, f.Demand.Starting(rules.Metric{API: rules.CustomAPI, Name: "queue_depth"}))
	f.now = f.now.Add(demand.DefaultTTL + time.Second)
	require.Empty(t, run(f))

	// What is broken is as if it were not there.
	require.NoError(t, os.WriteFile(file, []byte(`{"metrics": 3`), 0o600))
	f.again(exposing(names...), kept)
	require.Empty(t, run(f))
	f.again(exposing(names...), func(o *Options) { o.Demand.File = filepath.Join(file, "not", "a", "directory") })
	require.Empty(t, run(f))
	_, err := NewProvider(Options{DB: f.db, Objects: f.lister, Rules: rules.Set{Keep: []string{"a", "("}}})
	require.ErrorContains(t, err, `keep[1]: "(" is no regular expression`)
}

func TestRunDemandAppliesChanges(t *testing.T) {
	f := scenario(t)
	f.again(exposing("http_requests_total", "queue_depth"))
	ctx, cancel := context.WithCancel(t.Context())
	applied := make(chan bool, 10)
	done := make(chan error)
	go func() {
		done <- f.Demand.Run(ctx, func(_ context.Context, d *demand.Demand) error { applied <- d.Wanted("queue_depth"); return nil })
	}()
	require.False(t, <-applied)
	require.NoError(t, f.serviceMetric("queue_depth"))
	require.True(t, <-applied)
	require.NoError(t, f.serviceMetric("queue_depth"))
	cancel()
	require.NoError(t, <-done)
	require.Empty(t, applied)
}

// A rate is computed over what has been collected, if that is all there is.
func TestWindowOfWhatIsCovered(t *testing.T) {
	f := newFixture(t)
	f.namespaces("default")
	f.pod("new", "sample")
	f.service("sample", "new")
	f.load(`http_requests_total{namespace="default",pod="new",service="sample",instance="a"} 0+150x2`) // 30 s of 10 a second
	get := func() (string, int64, time.Duration) {
		v, err := f.GetMetricByName(context.Background(), types.NamespacedName{Namespace: "default", Name: "sample"}, provider.CustomMetricInfo{GroupResource: serviceResource, Namespaced: true, Metric: "http_requests"}, nil)
		require.NoError(t, err)
		return v.Value.String(), *v.WindowSeconds, f.now.Sub(v.Timestamp.Time)
	}
	value, window, age := get()
	require.Equal(t, "10", value)
	require.EqualValues(t, 30, window)
	require.Zero(t, age)
	// Between scrapes too.
	f.now = f.now.Add(10 * time.Second)
	value, window, age = get()
	require.Equal(t, "10", value)
	require.EqualValues(t, 30, window)
	require.Equal(t, 10*time.Second, age)

	// Beside what is older: since the pods are the ones that they are, if enough was counted.
	f = newFixture(t)
	f.namespaces("default")
	f.service("sample", "old", "new")
	f.load(`http_requests_total{namespace="default",pod="old",service="sample",instance="b"} 0+150x20`,
		`http_requests_total{namespace="default",pod="new",service="sample",instance="a"} _x18 0+1500x2`)
	for _, source := range f.sources {
		source.Target.Changes = []time.Time{f.start.Add(18 * step)}
	}
	_, window, _ = get()
	require.EqualValues(t, 30, window)
}

// put adds a sample of a pod's counter.
func (f *fixture) put(pod string, at time.Duration, v float64) {
	f.t.Helper()
	app := f.db.AppenderV2(f.t.Context())
	series := labels.FromStrings(model.MetricNameLabel, "http_requests_total", "namespace", "default", "pod", pod, "instance", pod)
	_, err := app.Append(0, series, 0, f.start.Add(at).UnixMilli(), v, nil, nil, storage.AOptions{})
	require.NoError(f.t, err)
	require.NoError(f.t, app.Commit())
}

// From the first value on a steady rate is steady, until the window is full and
// after; and a pod that is not scraped any more holds up no other's.
func TestRatesWhileTheWindowFills(t *testing.T) {
	f := newFixture(t)
	f.namespaces("default")
	f.pod("good", "app")
	f.pod("failing", "app")
	// Above 0: rate() does not extrapolate a counter to below that.
	const before = 1000.
	for _, at := range []time.Duration{0, 3 * time.Second} {
		f.put("good", at, before+100*at.Seconds())
		f.put("failing", at, 10*at.Seconds())
	}
	everything := apilabels.Everything()
	rate := 100.
	total := before + rate*3
	for at := 15 * time.Second; at <= 4*time.Minute; at += 15 * time.Second {
		step := 15.
		if at == 15*time.Second {
			step = 12
		}
		total += rate * step
		f.put("good", at, total)
		for _, later := range []time.Duration{time.Millisecond, 7 * time.Second, 14 * time.Second} {
			f.now = f.start.Add(at + later)
			list, err := f.GetMetricBySelector(t.Context(), "default", everything, provider.CustomMetricInfo{GroupResource: podResource, Metric: "http_requests", Namespaced: true}, everything)
			require.NoError(t, err)
			for _, item := range list.Items {
				if item.DescribedObject.Name == "good" {
					require.InDelta(t, rate, item.Value.AsApproximateFloat64(), 3, "at %s", at+later)
				}
			}
		}
	}
}

// A pod that joins while nothing is as old as the window takes nothing from the others.
func TestAPodThatJoinsWhileTheWindowFills(t *testing.T) {
	f := newFixture(t)
	f.namespaces("default")
	f.pod("elder", "app")
	f.pod("younger", "app")
	const before = 1000.
	for _, at := range []float64{0, 3, 15, 30} {
		f.put("elder", time.Duration(at)*time.Second, before+10*at)
	}
	for _, at := range []float64{30, 33} {
		f.put("younger", time.Duration(at)*time.Second, before+10*at)
	}
	for _, later := range []time.Duration{34, 40, 44} {
		f.now = f.start.Add(later * time.Second)
		list, err := f.GetMetricBySelector(t.Context(), "default", apilabels.Everything(), provider.CustomMetricInfo{GroupResource: podResource, Metric: "http_requests", Namespaced: true}, apilabels.Everything())
		require.NoError(t, err)
		require.Equal(t, "elder", list.Items[0].DescribedObject.Name)
		require.InDelta(t, 10, list.Items[0].Value.AsApproximateFloat64(), 1, later)
	}
}

// A Service has no value yet while only some of its pods have two samples, rather than
// that of these.
func TestASumWaitsForAll(t *testing.T) {
	f := newFixture(t)
	f.namespaces("default")
	f.pod("one", "app")
	f.pod("two", "app")
	f.service("app", "one", "two")
	f.put("one", 0, 1000)
	f.put("two", 0, 1000)
	f.put("one", 3*time.Second, 1030)
	f.now = f.start.Add(3100 * time.Millisecond)
	require.Contains(t, f.ask("default/services/app/http_requests"), "404: ")
	require.Contains(t, f.ask("default/pods/*/http_requests"), "one=")
	f.put("two", 3*time.Second, 1030)
	require.Contains(t, f.ask("default/services/app/http_requests"), "app=20@")
}
