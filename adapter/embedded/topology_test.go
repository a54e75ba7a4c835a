package embedded

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/metrics/pkg/apis/custom_metrics"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/tsdb"
)

// In random clusters, what the default rules answer of pods, Services, owners, nodes and
// namespaces is what their containers serve: each URL that is scraped counts once, however
// often and in whatever ways it is.
func TestTopologies(t *testing.T) {
	clusters := 150
	if testing.Short() {
		clusters = 20
	}
	var met metCases
	t.Run("seed", func(t *testing.T) {
		for seed := range clusters {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				checkTopology(t, uint64(seed), &met) //nolint:gosec // Not negative.
			})
		}
	})
	if !testing.Short() {
		met.check(t, clusters)
	}
}

// metCases counts what the clusters had and what was asked, to see that they are diverse.
type metCases struct {
	mu    sync.Mutex
	times map[string]int
}

func (m *metCases) met(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.times == nil {
		m.times = map[string]int{}
	}
	m.times[name]++
}

func (m *metCases) check(t *testing.T, clusters int) {
	t.Log(m.times)
	for _, name := range []string{
		"pods", "pods absent", "services", "services absent", "service by its pods", "nodes", "nodes absent", "namespaces", "namespaces absent",
		"deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps", "jobs.batch", "jobs.batch absent",
		"scraped 1 times", "scraped 2 times", "scraped 3 times",
	} {
		require.GreaterOrEqual(t, m.times[name], clusters/10, "the clusters are diverse: %s", name)
	}
}

// asking is a cluster that has been scraped for a while, and a provider over it.
type asking struct {
	*topology
	*adapter.Provider
	targets []*topologyTarget // as they are now
	now     time.Time
	queries bytes.Buffer
	met     *metCases
}

func checkTopology(t *testing.T, seed uint64, met *metCases) {
	a := &asking{topology: newTopology(t, seed), now: time.Now().Truncate(time.Second), met: met}
	db, err := tsdb.Open(tsdb.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	a.live(db)
	var told []values.Target
	for _, x := range a.targets {
		told = append(told, x.Target)
	}
	a.Provider, err = adapter.NewProvider(adapter.Options{
		DB: db, Objects: a.objects.Lister, Rules: rules.Set{Custom: rules.Defaults(rules.DefaultRateWindow)},
		Targets: func(uint64) ([]values.Target, uint64) { return told, 1 }, Source: a.source, Interval: discovery.DefaultScrapeInterval,
		Logger: slog.New(slog.NewTextHandler(&a.queries, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:    func() time.Time { return a.now },
	})
	require.NoError(t, err)
	for _, q := range []question{{metric: topologyGauge}, {metric: "http_requests"}, {metric: "http_requests", code: "200"}, {metric: topologyAbout}} {
		a.ask(q)
	}
}

// live lets the cluster be scraped for longer than any window, lets pods die and takes a
// monitor away, and scrapes what is left until now.
func (a *asking) live(db *tsdb.DB) {
	d := discovery.New(a.objects, discovery.Options{})
	before := a.resolve(d)
	a.removeDead()
	after := a.resolve(d)
	if a.oneIn(3) {
		after = a.removeMonitor(d, after)
	}
	require.Subset(a.t, sortedKeysOf(before), sortedKeysOf(after), "what goes on has the labels it had")
	deaths := a.now.Add(-time.Duration(20+a.IntN(20)) * time.Second)
	a.scrape(db, a.schedule(before, after, a.now, deaths), a.now.Add(-8*time.Minute), a.now)
	times := map[*registry]int{}
	for _, id := range sortedKeysOf(before) {
		if x, goesOn := after[id]; goesOn {
			a.targets = append(a.targets, x)
			if x.live() {
				times[x.registry]++
			}
		}
	}
	for _, n := range times {
		a.met.met(fmt.Sprint("scraped ", min(n, 3), " times"))
	}
}

// removeDead deletes the pods that die.
func (c *topology) removeDead() {
	for _, p := range c.pods {
		if p.dies {
			require.NoError(c.t, c.indexer(p.Pod).Delete(p.Pod))
		}
	}
	c.pods = slices.DeleteFunc(c.pods, func(p *topologyPod) bool { return p.dies })
	c.settleSlices()
}

// removeMonitor deletes a monitor, unless another writes series of the same labels: its
// stale markers end those until the other's next scrape, as in Prometheus.
func (a *asking) removeMonitor(d *discovery.Discoverer, with map[string]*topologyTarget) map[string]*topologyTarget {
	gone := pick(a.topology, a.monitors...)
	require.NoError(a.t, a.indexer(gone).Delete(gone))
	without := a.resolve(d)
	goOn := map[string]bool{}
	for _, x := range without {
		goOn[x.Labels.String()] = true
	}
	for id, x := range with {
		if without[id] == nil && goOn[x.Labels.String()] {
			a.store(gone)
			return a.resolve(d)
		}
	}
	a.described = append(a.described, "deleted: "+gone.GetNamespace()+"/"+gone.GetName())
	return without
}

// ask asks about everything there is: about pods together, as an autoscaler does, and
// about each object by name.
func (a *asking) ask(q question) {
	truth := a.truth()
	for _, ns := range a.namespaces {
		a.list(q, ns, truth)
	}
	for _, what := range a.all() {
		want, wanted := q.sum(truth[what])
		if what.resource == "services" && !wanted {
			if want, wanted = q.sum(truth[object{endpoints, what.NamespacedName}]); wanted {
				a.met.met("service by its pods")
			}
		}
		a.byName(q, what, want, wanted)
		if !wanted {
			a.met.met(what.resource + " absent")
			continue
		}
		a.met.met(what.resource)
	}
}

// list asks for all pods of a namespace.
func (a *asking) list(q question, ns string, truth map[object]served) {
	a.queries.Reset()
	list, err := a.GetMetricBySelector(a.t.Context(), ns, apilabels.Everything(), q.info("pods"), q.selector())
	if apierrors.IsNotFound(err) {
		list, err = &custom_metrics.MetricValueList{}, nil
	}
	require.NoError(a.t, err)
	got := map[string]float64{}
	for i := range list.Items {
		got[list.Items[i].DescribedObject.Name] = list.Items[i].Value.AsApproximateFloat64()
	}
	for _, p := range a.pods {
		if p.Namespace == ns {
			what := objectOf("pods", ns, p.Name)
			want, wanted := q.sum(truth[what])
			v, ok := got[p.Name]
			a.compare(q, what, v, ok, want, wanted)
			delete(got, p.Name)
		}
	}
	require.Empty(a.t, got, "pods that do not exist")
}

func (a *asking) byName(q question, what object, want float64, wanted bool) {
	a.queries.Reset()
	got, err := a.GetMetricByName(a.t.Context(), what.NamespacedName, q.info(what.resource), q.selector())
	switch {
	case apierrors.IsNotFound(err):
		a.compare(q, what, 0, false, want, wanted)
	case err != nil:
		a.fail(q, what, err, want)
	default:
		a.compare(q, what, got.Value.AsApproximateFloat64(), true, want, wanted)
		require.False(a.t, got.Timestamp.After(a.now))
	}
}

// compare allows for the rounding of a Quantity and of a rate.
func (a *asking) compare(q question, what object, got float64, is bool, want float64, wanted bool) {
	text := func(v float64, ok bool) any {
		if !ok {
			return "no value"
		}
		return v
	}
	if is != wanted || is && math.Abs(got-want) > 0.001 {
		a.fail(q, what, text(got, is), text(want, wanted))
	}
}

func (a *asking) fail(q question, what object, got, want any) {
	a.t.Helper()
	require.Fail(a.t, fmt.Sprintf("%s of %s %s is %v, and should be %v", q, what.resource, what.NamespacedName, got, want), "%s\n%s", a.queries.String(), a)
}

// String describes the cluster.
func (a *asking) String() string {
	var b strings.Builder
	fmt.Fprintln(&b, "now", a.now.Format(time.TimeOnly))
	for _, p := range a.pods {
		fmt.Fprintf(&b, "pod %s/%s %s %s on %s %v silent %v", p.Namespace, p.Name, p.Status.PodIP, p.Status.Phase, p.Spec.NodeName, p.Labels, p.silent)
		for _, owner := range p.OwnerReferences {
			fmt.Fprintf(&b, " of %s %s", owner.Kind, owner.Name)
		}
		for _, container := range slices.Concat(p.Spec.Containers, p.Spec.InitContainers) {
			fmt.Fprintf(&b, " [%s", container.Name)
			for _, port := range container.Ports {
				fmt.Fprintf(&b, " %s:%d", port.Name, port.ContainerPort)
			}
			b.WriteString("]")
		}
		for _, r := range p.registries {
			fmt.Fprintf(&b, "\n  %s listens on %v: %v", r.container, r.listens, r.series)
		}
		b.WriteString("\n")
	}
	for _, s := range a.services {
		fmt.Fprintf(&b, "service %s/%s %v selects %v %v", s.Namespace, s.Name, s.Labels, s.Spec.Selector, a.external[s.Namespace+"/"+s.Name])
		for i := range s.Spec.Ports {
			fmt.Fprintf(&b, " %s->%s", s.Spec.Ports[i].Name, s.Spec.Ports[i].TargetPort.String())
		}
		b.WriteString("\n")
	}
	for _, line := range a.described {
		fmt.Fprintln(&b, line)
	}
	for _, x := range a.targets {
		fmt.Fprintln(&b, x)
	}
	return b.String()
}
