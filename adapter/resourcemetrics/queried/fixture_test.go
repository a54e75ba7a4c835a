package queried_test

import (
	"cmp"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
	"k8s.io/metrics/pkg/apis/metrics"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/adapter/engine"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/tsdb"
	"github.com/promlet/promlet/tsdb/httpapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// step is the time between the samples that load appends.
const step = 15 * time.Second

// fixture is a Provider over a database, over an engine that has it, or over both with a database each.
type fixture struct {
	*adapter.Provider
	t       *testing.T
	db      *tsdb.DB
	objects map[schema.GroupResource]cache.Indexer
	start   time.Time
	now     time.Time
	sources map[uint64]tsdb.Source // by hash of the series' labels
}

// newFixture returns a fixture with pods ("namespace/name") and nodes ("name").
func newFixture(t *testing.T, change func(*adapter.Options), objects ...string) *fixture {
	t.Helper()
	f := &fixture{t: t, start: time.Now().Truncate(time.Second).Add(-10 * time.Minute), db: openDB(t), objects: map[schema.GroupResource]cache.Indexer{}, sources: map[uint64]tsdb.Source{}}
	f.now = f.start
	for _, resource := range []string{"pods", "nodes"} {
		f.objects[corev1.Resource(resource)] = cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	}
	for _, object := range objects {
		if namespace, name, ok := strings.Cut(object, "/"); ok {
			require.NoError(t, f.objects[corev1.Resource("pods")].Add(pod(namespace, name)))
		} else {
			require.NoError(t, f.objects[corev1.Resource("nodes")].Add(node(object)))
		}
	}
	opts := adapter.Options{
		DB: f.db, ResourceMetrics: true, Interval: step,
		Objects: func(gr schema.GroupResource) (cache.GenericLister, bool) {
			indexer, ok := f.objects[gr]
			if !ok {
				return nil, false
			}
			return cache.NewGenericLister(indexer, gr), true
		},
		Source: func(series labels.Labels) (tsdb.Source, bool) { s, ok := f.sources[series.Hash()]; return s, ok },
		Now:    func() time.Time { return f.now },
	}
	change(&opts)
	var err error
	f.Provider, err = adapter.NewProvider(opts)
	require.NoError(t, err)
	t.Cleanup(f.Close)
	return f
}

func openDB(t *testing.T) *tsdb.DB {
	db, err := tsdb.Open(tsdb.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// engineOf returns an engine behind a URL that has a database.
func engineOf(t *testing.T, db *tsdb.DB) *engine.Engine {
	api, err := httpapi.New(httpapi.Options{DB: db})
	require.NoError(t, err)
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	e, err := engine.New(engine.Options{Connection: engine.Connection{URL: server.URL, HTTP: config.DefaultHTTPClientConfig}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

// rulesOf returns resourceRules of upstream's, changed.
func rulesOf(t *testing.T, file string, change ...func(*rules.ResourceRules)) rules.Set {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "rules", file))
	require.NoError(t, err)
	var cfg rules.Config
	require.NoError(t, yaml.UnmarshalStrict(data, &cfg))
	for _, f := range change {
		f(cfg.ResourceRules)
	}
	return rules.Set{Custom: []rules.Rule{}, Resource: cfg.ResourceRules}
}

func pod(namespace, name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}}}
}

func node(name string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"zone": name}}}
}

// load appends series in promqltest's notation, a sample each step, and moves now to the last sample of the longest.
func (f *fixture) load(descriptions ...string) { f.loadInto(f.db, descriptions...) }

func (f *fixture) loadInto(db *tsdb.DB, descriptions ...string) {
	f.t.Helper()
	app := db.AppenderV2(f.t.Context())
	for i, description := range descriptions {
		series, values, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(description)
		require.NoError(f.t, err, description)
		at, first, last := f.start, time.Time{}, time.Time{}
		for _, v := range values {
			if !v.Omitted {
				if last = at; first.IsZero() {
					first = at
				}
				_, err := app.Append(0, series, 0, at.UnixMilli(), v.Value, nil, nil, storage.AOptions{})
				require.NoError(f.t, err)
			}
			if at.After(f.now) {
				f.now = at
			}
			at = at.Add(step)
		}
		if db == f.db {
			target := &tsdb.Target{ID: uint64(i), Rank: uint64(i), Interval: step, LastScrape: last}
			f.sources[series.Hash()] = tsdb.Source{Target: target, Exposed: series.Hash(), First: first, Since: first}
		}
	}
	require.NoError(f.t, app.Commit())
}

// ago is how long before now a timestamp is.
func (f *fixture) ago(at metav1.Time) time.Duration { return f.now.Sub(at.Time).Round(time.Second) }

// usage is one line for values: each container's CPU/memory, and how old they are and over what window.
func (f *fixture) usage(values []metrics.PodMetrics) string {
	var lines []string
	for _, v := range values {
		line := v.Namespace + "/" + v.Name
		for _, c := range v.Containers {
			line += fmt.Sprintf(" %s=%s/%s", cmp.Or(c.Name, "-"), c.Usage.Cpu(), c.Usage.Memory())
		}
		require.Equal(f.t, map[string]string{"app": v.Name}, v.Labels)
		require.Equal(f.t, v.Timestamp, v.CreationTimestamp)
		lines = append(lines, fmt.Sprintf("%s, %s ago over %s", line, f.ago(v.Timestamp), v.Window.Duration))
	}
	return strings.Join(lines, "; ")
}

// pods asks for the pods "namespace/name" and returns their usage, or the error.
func (f *fixture) pods(names ...string) string {
	f.t.Helper()
	var asked []*corev1.Pod
	for _, name := range names {
		namespace, name, _ := strings.Cut(name, "/")
		asked = append(asked, pod(namespace, name))
	}
	values, err := f.Usage.PodMetrics(f.t.Context(), asked)
	if err != nil {
		return err.Error()
	}
	require.NotNil(f.t, values)
	for _, p := range asked {
		has := slices.ContainsFunc(values, func(v metrics.PodMetrics) bool { return v.Namespace == p.Namespace && v.Name == p.Name })
		require.Equal(f.t, has, f.Usage.Pod(f.t.Context(), p).String() == "", "a reason, or a value")
	}
	return f.usage(values)
}

// nodes asks for nodes and returns their usage, or the error.
func (f *fixture) nodes(names ...string) string {
	f.t.Helper()
	var asked []*corev1.Node
	for _, name := range names {
		asked = append(asked, node(name))
	}
	values, err := f.Usage.NodeMetrics(f.t.Context(), asked)
	if err != nil {
		return err.Error()
	}
	var lines []string
	for _, v := range values {
		require.Equal(f.t, map[string]string{"zone": v.Name}, v.Labels)
		lines = append(lines, fmt.Sprintf("%s=%s/%s, %s ago over %s", v.Name, v.Usage.Cpu(), v.Usage.Memory(), f.ago(v.Timestamp), v.Window.Duration))
	}
	return strings.Join(lines, "; ")
}

// why returns why a pod has no value.
func (f *fixture) why(namespace, name string) string {
	return f.Usage.Pod(f.t.Context(), pod(namespace, name)).String()
}
