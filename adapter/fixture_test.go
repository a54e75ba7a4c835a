package adapter

import (
	"cmp"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	promvalue "github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
	"github.com/promlet/promlet/tsdb"
)

// The resources that tests ask about.
var (
	podResource           = corev1.Resource("pods")
	serviceResource       = corev1.Resource("services")
	namespaceResource     = corev1.Resource("namespaces")
	deploymentResource    = appsv1.Resource("deployments")
	endpointSliceResource = discoveryv1.Resource("endpointslices")
)

// fixture is a provider over a real TSDB and caches filled by hand.
type fixture struct {
	*Provider
	t       testing.TB
	db      *tsdb.DB    // nil where remote has the series
	remote  *testEngine // nil without one
	objects map[schema.GroupResource]cache.Indexer
	start   time.Time // of what load appends
	now     time.Time
	// targets, if any, are what is scraped.
	targets        []values.Target
	targetsVersion uint64
	sources        map[uint64]tsdb.Source // by hash of the series' labels
}

// step is the time between the samples that load appends.
const step = 15 * time.Second

func newFixture(t testing.TB, custom ...rules.Rule) *fixture {
	t.Helper()
	return newFixtureWith(t, Options{Rules: rules.Set{Custom: custom}})
}

// newFixtureWith sets what a fixture is made of; the other options stay.
func newFixtureWith(t testing.TB, opts Options) *fixture {
	t.Helper()
	db, err := tsdb.Open(tsdb.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	f := newObjects(t)
	f.db = db
	f.provide(opts)
	return f
}

// newObjects returns a fixture without a provider.
func newObjects(t testing.TB) *fixture {
	f := &fixture{t: t, targetsVersion: 1, sources: map[uint64]tsdb.Source{}, objects: map[schema.GroupResource]cache.Indexer{}}
	f.start = time.Now().Truncate(time.Second).Add(-10 * time.Minute)
	f.now = f.start
	for _, gr := range []schema.GroupResource{podResource, serviceResource, namespaceResource, endpointSliceResource, {Resource: "nodes"}} {
		f.objects[gr] = cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	}
	return f
}

// provide makes the provider; what it is made of comes from the fixture.
func (f *fixture) provide(opts Options) {
	f.t.Helper()
	if opts.Objects = f.lister; f.db != nil {
		opts.DB = f.db
	}
	opts.Interval, opts.Targets, opts.Source = step, f.scraped, f.sourceOf
	opts.Now = func() time.Time { return f.now }
	var err error
	f.Provider, err = NewProvider(opts)
	require.NoError(f.t, err)
}

func (f *fixture) scraped(known uint64) ([]values.Target, uint64) {
	if known == f.targetsVersion {
		return nil, known
	}
	return f.targets, f.targetsVersion
}

func (f *fixture) sourceOf(series labels.Labels) (tsdb.Source, bool) {
	source, known := f.sources[series.Hash()]
	return source, known
}

// scrapedSeries notes what scraping would know of a series that has samples from first to
// last: its instance is its URL, and labels that targets have are not the target's own.
func (f *fixture) scrapedSeries(series labels.Labels, first, last time.Time) {
	own := labels.NewBuilder(series).Del("namespace", "pod", "container", "service", "job", "endpoint", "instance", "team", "node")
	target := &tsdb.Target{
		ID:   labels.FromStrings("instance", cmp.Or(series.Get("instance"), series.Get("pod"), series.String())).Hash(),
		Rank: uint64(len(f.sources)), Interval: step, LastScrape: last,
	}
	source := tsdb.Source{Target: target, Exposed: own.Labels().Hash(), First: first, Since: first}
	if known, ok := f.sources[series.Hash()]; ok {
		source.First, source.Since, target.Rank = known.First, known.Since, known.Target.Rank
	}
	for _, t := range f.targets {
		if t.Labels.Get("job") == series.Get("job") && t.Labels.Get("instance") == series.Get("instance") {
			target.Interval = t.Interval
		}
	}
	f.sources[series.Hash()] = source
}

func (f *fixture) lister(gr schema.GroupResource) (cache.GenericLister, bool) {
	indexer, ok := f.objects[gr]
	if !ok {
		return nil, false
	}
	return cache.NewGenericLister(indexer, gr), true
}

// load appends series in promqltest's notation, a sample each step, and moves
// now to the last sample of the longest.
func (f *fixture) load(descriptions ...string) {
	f.t.Helper()
	if f.remote != nil {
		f.send(descriptions...)
		return
	}
	p := parser.NewParser(parser.Options{})
	app := f.db.AppenderV2(f.t.Context())
	for _, description := range descriptions {
		series, values, err := p.ParseSeriesDesc(description)
		require.NoError(f.t, err, description)
		at := f.start
		var first, last time.Time
		for _, v := range values {
			if !v.Omitted {
				if last = at; first.IsZero() {
					first = at
				}
				if promvalue.IsStaleNaN(v.Value) {
					last = time.Time{}
				}
				_, err := app.Append(0, series, 0, at.UnixMilli(), v.Value, nil, nil, storage.AOptions{})
				require.NoError(f.t, err)
			}
			if at.After(f.now) {
				f.now = at
			}
			at = at.Add(step)
		}
		if last.IsZero() {
			delete(f.sources, series.Hash()) // a scrape without it came after
		} else {
			f.scrapedSeries(series, first, last)
		}
	}
	require.NoError(f.t, app.Commit())
}

// append adds one sample of a pod's gauge now, also of a value that load has no
// notation for.
func (f *fixture) append(name, pod string, v float64) {
	f.t.Helper()
	f.appendTo(labels.FromStrings(model.MetricNameLabel, name, "namespace", "default", "pod", pod, "instance", pod), v)
}

// appendTo adds one sample of a series now.
func (f *fixture) appendTo(series labels.Labels, v float64) {
	f.t.Helper()
	app := f.db.AppenderV2(f.t.Context())
	_, err := app.Append(0, series, 0, f.now.UnixMilli(), v, nil, nil, storage.AOptions{})
	require.NoError(f.t, err)
	require.NoError(f.t, app.Commit())
	f.scrapedSeries(series, f.now, f.now)
}

func (f *fixture) add(gr schema.GroupResource, objects ...metav1.Object) {
	f.t.Helper()
	for _, obj := range objects {
		require.NoError(f.t, f.objects[gr].Add(obj))
	}
}

func (f *fixture) namespaces(names ...string) {
	for _, name := range names {
		f.add(namespaceResource, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
}

// service adds a Service and a slice whose endpoints are the pods.
func (f *fixture) service(name string, pods ...string) {
	meta := metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{"app": name}}
	f.add(serviceResource, &corev1.Service{ObjectMeta: meta})
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: name + "-x", Labels: map[string]string{discoveryv1.LabelServiceName: name},
	}}
	for _, pod := range pods {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: pod}})
	}
	f.add(endpointSliceResource, slice)
}

// pod adds a pod of the Deployment app, as its ReplicaSet app-6d4cf56db6 makes it.
func (f *fixture) pod(name, app string) {
	f.add(podResource, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: name,
		Labels:          map[string]string{"app": app, "pod-template-hash": "6d4cf56db6"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: app + "-6d4cf56db6"}},
	}})
}

// aRule takes a series name by a selector and calls the metric m.
func aRule(series string, change ...func(*rules.Rule)) rules.Rule {
	r := rules.Rule{
		SeriesQuery:  series,
		Resources:    rules.Resources{Overrides: map[string]rules.GroupResource{"namespace": {Resource: "namespace"}, "pod": {Resource: "pod"}}},
		Name:         rules.Name{As: "m"},
		MetricsQuery: `sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)`,
	}
	for _, f := range change {
		f(&r)
	}
	return r
}

// defaultOverrides are those of the default rules.
func defaultOverrides() map[string]rules.GroupResource {
	return rules.Defaults(rules.DefaultRateWindow)[0].Resources.Overrides
}

// scenario is the sample application: two pods behind a Service, 10 and 20
// requests a second over four minutes.
func scenario(t testing.TB, rules ...rules.Rule) *fixture {
	f := newFixture(t, rules...)
	f.namespaces("default", "empty")
	f.pod("sample-1", "sample")
	f.pod("sample-2", "sample")
	f.service("sample", "sample-1", "sample-2")
	f.load(
		`http_requests_total{namespace="default",pod="sample-1",service="sample",job="sample",endpoint="web",instance="10.0.0.1:8080",code="200"} 0+150x16`,
		`http_requests_total{namespace="default",pod="sample-2",service="sample",job="sample",endpoint="web",instance="10.0.0.2:8080",code="200"} 0+300x16`,
		`queue_depth{namespace="default",pod="sample-1",service="sample",job="sample",endpoint="web",instance="10.0.0.1:8080"} 3x16`,
		`queue_depth{namespace="default",pod="sample-2",service="sample",job="sample",endpoint="web",instance="10.0.0.2:8080"} 4x16`,
	)
	return f
}
