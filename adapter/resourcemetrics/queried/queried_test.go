package queried_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/promql"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/metrics/pkg/apis/metrics"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/adapter/engine"
	"github.com/promlet/promlet/adapter/resourcemetrics"
	"github.com/promlet/promlet/adapter/rules"
)

const (
	ofChart  = "chart-custom.yaml"
	ofDeploy = "deploy-resource-rules.yaml"
)

func with(set rules.Set) func(*adapter.Options) { return func(o *adapter.Options) { o.Rules = set } }

// cadvisor has two pods of two namespaces with two and one containers, as cAdvisor exposes them, and node exporters of two
// nodes. The last sample of memory of mine/a's c2 is a step older than the others.
func cadvisor() []string {
	return []string{
		`container_cpu_usage_seconds_total{namespace="mine",pod="a",container="c1",id="/1",image="i"} 0+1.5x16`,
		`container_cpu_usage_seconds_total{namespace="mine",pod="a",container="c2",id="/2",image="i"} 0+3x16`,
		`container_cpu_usage_seconds_total{namespace="mine",pod="a",container="",id="/12"} 0+4.5x16`,
		`container_cpu_usage_seconds_total{namespace="other",pod="a",container="c1",id="/3",image="i"} 0+150x16`,
		`container_memory_working_set_bytes{namespace="mine",pod="a",container="c1",id="/1",image="i"} 1048576x16`,
		`container_memory_working_set_bytes{namespace="mine",pod="a",container="c2",id="/2",image="i"} 2097152x15`,
		`container_memory_working_set_bytes{namespace="mine",pod="a",container="",id="/12"} 3145728x16`,
		`container_memory_working_set_bytes{namespace="other",pod="a",container="c1",id="/3",image="i"} 4194304x16`,
		`node_cpu_seconds_total{node="n1",cpu="0",mode="user"} 0+7.5x16`,
		`node_cpu_seconds_total{node="n1",cpu="1",mode="user"} 0+3x16`,
		`node_cpu_seconds_total{node="n1",cpu="0",mode="idle"} 0+7.5x16`,
		`node_cpu_seconds_total{node="n2",cpu="0",mode="user"} 0+15x16`,
		`node_memory_MemTotal_bytes{node="n1"} 1073741824x16`,
		`node_memory_MemAvailable_bytes{node="n1"} 536870912x16`,
		`node_memory_MemTotal_bytes{node="n2"} 1073741824x16`,
		`node_memory_MemAvailable_bytes{node="n2"} 268435456x15`,
	}
}

// The rules of upstream's chart answer, from the embedded samples: by namespace, at the time of the oldest sample used.
func TestChart(t *testing.T) {
	f := newFixture(t, with(rulesOf(t, ofChart)), "mine/a", "other/a", "mine/new", "n1", "n2")
	f.load(cadvisor()...)
	const a, other = "mine/a c1=100m/1Mi c2=200m/2Mi, 15s ago over 3m0s", "other/a c1=10/4Mi, 0s ago over 3m0s"
	require.Equal(t, a, f.pods("mine/a"))
	require.Equal(t, a, f.pods("mine/a", "mine/new", "mine/a.c"))
	require.Equal(t, other+"; "+a, f.pods("other/a", "mine/a", "third/a"), "in the order of the question")
	require.Empty(t, f.pods())
	require.Equal(t, "n1=700m/512Mi, 0s ago over 3m0s; n2=1/768Mi, 15s ago over 3m0s", f.nodes("n1", "n2", "n3"))
	require.Equal(t, "n2=1/768Mi, 15s ago over 3m0s", f.nodes("n2"))
	require.Empty(t, f.nodes())

	require.Equal(t, "resourceRules.cpu.containerQuery and resourceRules.memory.containerQuery have no result for the pod", f.why("mine", "new"))
	require.Equal(t, "resourceRules.cpu.nodeQuery and resourceRules.memory.nodeQuery have no result for the node", f.Usage.Node(t.Context(), "n3").String())
	report := f.Usage.Pod(t.Context(), pod("mine", "a"))
	require.Equal(t, "resourceRules.cpu.containerQuery", report.Queries[0].Rule)
	require.Contains(t, report.Queries[1].Expr, `container_memory_working_set_bytes{container!="",namespace="mine",pod="a"}`)
	require.InDelta(t, 0.1, report.Usages[0].Cores, 1e-9)
	require.Equal(t, int64(2<<20), report.Usages[1].Memory)
}

// An engine behind a URL gives the same values. It does not say how old the samples are.
func TestChartByURL(t *testing.T) {
	db := openDB(t)
	e := engineOf(t, db)
	f := newFixture(t, func(o *adapter.Options) { o.Rules, o.DB, o.Engine = rulesOf(t, ofChart), nil, e }, "mine/a", "other/a", "n1", "n2")
	require.Contains(t, f.why("mine", "a"), "no value yet: the series of http://127.0.0.1")
	require.Empty(t, f.pods("mine/a"))
	f.loadInto(db, cadvisor()...)
	require.NoError(t, e.Relist(t.Context()))
	require.Equal(t, "mine/a c1=100m/1Mi c2=200m/2Mi, 0s ago over 3m0s; other/a c1=10/4Mi, 0s ago over 3m0s", f.pods("mine/a", "other/a", "mine/new"))
	require.Equal(t, "n1=700m/512Mi, 0s ago over 3m0s; n2=1/768Mi, 0s ago over 3m0s", f.nodes("n1", "n2", "n3"))
}

// Pods that have no embedded samples are asked for by URL.
func TestBoth(t *testing.T) {
	db := openDB(t)
	e := engineOf(t, db)
	f := newFixture(t, func(o *adapter.Options) { o.Rules, o.Engine = rulesOf(t, ofChart), e }, "mine/a", "other/a", "mine/half")
	all := cadvisor()
	f.load(all[:3]...)
	f.load(all[4:7]...)
	f.load(`container_memory_working_set_bytes{namespace="mine",pod="half",container="c1"} 1x16`)
	f.loadInto(db, append(all, `container_cpu_usage_seconds_total{namespace="mine",pod="half",container="c1"} 0+1x16`)...)
	require.NoError(t, e.Relist(t.Context()))
	require.Equal(t, "mine/a c1=100m/1Mi c2=200m/2Mi, 15s ago over 3m0s; other/a c1=10/4Mi, 0s ago over 3m0s", f.pods("mine/a", "other/a", "mine/half"))
	require.Equal(t, "n1=700m/512Mi, 0s ago over 3m0s", f.nodes("n1"))
	require.Equal(t, `resourceRules.cpu.containerQuery has no result for container "c1"`, f.why("mine", "half"), "its samples are here")
}

// The facts of upstream's pkg/resourceprovider tests, and where promlet answers otherwise.
func TestResourceProvider(t *testing.T) {
	f := newFixture(t, with(rulesOf(t, ofDeploy, func(r *rules.ResourceRules) {
		r.CPU.ContainerQuery, r.CPU.NodeQuery = "sum by (<<.GroupBy>>) (cpu{<<.LabelMatchers>>})", "sum by (<<.GroupBy>>) (node_cpu{<<.LabelMatchers>>})"
		r.Window = "1m"
	})))
	load := func(of string, cpu, memory string) {
		f.load("cpu{namespace=\"ns\","+of+"} "+cpu, "container_memory_working_set_bytes{namespace=\"ns\","+of+"} "+memory)
	}
	load(`pod="pod1",container="cont1"`, "1100", "3100")
	load(`pod="pod1",container="cont2"`, "1110", "3110")
	load(`pod="negative",container="cont1"`, "-1100", "-3110")
	load(`pod="negative",container="cont2"`, "1310", "3100")
	load(`pod="nan",container="cont1"`, "1", "NaN")
	load(`pod="inf",container="cont1"`, "Inf", "1")
	load(`pod="large",container="cont1"`, "1e10", "1")
	load(`pod="fraction",container="cont1"`, "0.0000012346", "10.6")
	f.load(`cpu{namespace="ns",pod="cpuonly",container="cont1"} 1`, `container_memory_working_set_bytes{namespace="ns",pod="memoryonly",container="cont1"} 1`)
	load(`pod="half",container="cont1"`, "1", "1")
	f.load(`container_memory_working_set_bytes{namespace="ns",pod="half",container="cont2"} 1`)
	f.load(`node_cpu{node="node1"} 1100`, `node_memory_working_set_bytes{node="node1"} 2100`, `node_cpu{node="node2"} -1`, `node_memory_working_set_bytes{node="node2"} 2200`,
		`node_cpu{node="nan"} NaN`, `node_memory_working_set_bytes{node="nan"} 2200`)

	const rest = ", 0s ago over 1m0s"
	require.Equal(t, "ns/pod1 cont1=1100/3100 cont2=1110/3110"+rest, f.pods("ns/pod1", "ns/pod-nonexistant"), "missing pods are left out")
	require.Equal(t, "ns/negative cont1=0/0 cont2=1310/3100"+rest, f.pods("ns/negative"))
	require.Equal(t, "ns/fraction cont1=1235n/11"+rest, f.pods("ns/fraction"), "rounded, not cut")
	require.Equal(t, "node1=1100/2100"+rest+"; node2=0/2200"+rest, f.nodes("node1", "node2", "node3", "nan"))
	for name, why := range map[string]string{
		"nan":        `resourceRules.memory.containerQuery gives NaN for container "cont1"`,
		"inf":        `resourceRules.cpu.containerQuery gives +Inf for container "cont1"`,
		"large":      `resourceRules.cpu.containerQuery gives 1e+10 for container "cont1"`,
		"cpuonly":    `resourceRules.memory.containerQuery has no result for container "cont1"`,
		"memoryonly": `resourceRules.cpu.containerQuery has no result for container "cont1"`,
		"half":       `resourceRules.cpu.containerQuery has no result for container "cont2"`,
	} {
		require.Empty(t, f.pods("ns/"+name), name)
		require.Equal(t, why, f.why("ns", name))
	}
	require.Equal(t, "resourceRules.cpu.nodeQuery gives NaN for the node", f.Usage.Node(t.Context(), "nan").String())
}

// A namespace never sees pods of another one, whatever a query gives and whatever pods are called.
func TestIsolation(t *testing.T) {
	f := newFixture(t, with(rulesOf(t, ofDeploy, func(r *rules.ResourceRules) {
		r.CPU.ContainerQuery = `cpu{<<.LabelMatchers>>} or cpu`
		r.Memory.ContainerQuery = "container_memory_working_set_bytes{<<.LabelMatchers>>}"
	})))
	for _, namespace := range []string{"mine", "other"} {
		f.load(`cpu{namespace="`+namespace+`",pod="`+namespace+`",container="c"} 1`, `container_memory_working_set_bytes{namespace="`+namespace+`",pod="`+namespace+`",container="c"} 1`)
	}
	f.load(`cpu{namespace="other",pod="a",container="c"} 1`, `container_memory_working_set_bytes{namespace="other",pod="a",container="c"} 1`)
	require.Equal(t, "mine/mine c=1/1, 0s ago over 5m0s", f.pods("mine/mine", "mine/other", "mine/a", "mine/.*", `mine/"} or cpu{`))
	require.Equal(t, "other/a c=1/1, 0s ago over 5m0s", f.pods("other/a", "mine/a"))
}

// Results about a whole pod count where there are none of its containers; several for one are refused.
func TestResultsWithoutContainer(t *testing.T) {
	f := newFixture(t, with(rulesOf(t, ofDeploy, func(r *rules.ResourceRules) {
		r.CPU.ContainerQuery, r.Memory.ContainerQuery = "cpu{<<.LabelMatchers>>}", "memory{<<.LabelMatchers>>}"
	})))
	for _, of := range []string{`pod="whole"`, `pod="both"`, `pod="both",container="c"`, `pod="twice",container="c",id="1"`, `pod="twice",container="c",id="2"`} {
		f.load(`cpu{namespace="n",`+of+`} 1`, `memory{namespace="n",`+of+`} 1`)
	}
	require.Equal(t, "n/whole -=1/1, 0s ago over 5m0s; n/both c=1/1, 0s ago over 5m0s", f.pods("n/whole", "n/both", "n/twice"))
	require.Equal(t, `resourceRules.cpu.containerQuery has several results, so aggregate by (<<.GroupBy>>), for container "c"`, f.why("n", "twice"))
}

// A container that has just been seen for the second time has no rate yet that is right.
func TestYoung(t *testing.T) {
	f := newFixture(t, with(rulesOf(t, ofChart)), "mine/a")
	for range 2 {
		f.start = f.start.Add(3 * time.Second)
		f.load(`container_memory_working_set_bytes{namespace="mine",pod="a",container="c1"} 1`)
	}
	require.Equal(t, `resourceRules.cpu.containerQuery has no result for container "c1"`, f.why("mine", "a"))
	begin := f.start.Add(-3 * time.Second)
	for i := range 2 {
		f.start = begin.Add(time.Duration(i) * 3 * time.Second)
		f.load(fmt.Sprintf(`container_cpu_usage_seconds_total{namespace="mine",pod="a",container="c1"} %d`, i))
	}
	for hash, source := range f.sources {
		source.First, source.Since = begin, begin
		f.sources[hash] = source
	}
	require.Empty(t, f.pods("mine/a"))
	require.Equal(t, `resourceRules.cpu.containerQuery needs more than the 3s observed so far for container "c1"`, f.why("mine", "a"))
}

// A namespace with more pods than one query names is answered by several.
func TestManyPods(t *testing.T) {
	f := newFixture(t, with(rulesOf(t, ofDeploy, func(r *rules.ResourceRules) {
		r.CPU.ContainerQuery, r.Memory.ContainerQuery = "cpu{<<.LabelMatchers>>}", "memory{<<.LabelMatchers>>}"
	})))
	const many = 2100
	var series []string
	var asked []*corev1.Pod
	for i := range many {
		name := fmt.Sprintf("%s-%d", strings.Repeat("x", 60), i)
		series = append(series, `cpu{namespace="n",pod="`+name+`",container="c"} 1`, `memory{namespace="n",pod="`+name+`",container="c"} 1`)
		asked = append(asked, pod("n", name))
	}
	f.load(series...)
	values, err := f.Usage.PodMetrics(t.Context(), asked)
	require.NoError(t, err)
	require.Len(t, values, many)
	require.Equal(t, asked[many-1].Name, values[many-1].Name)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = f.Usage.PodMetrics(ended, asked)
	_, canceled := errors.AsType[promql.ErrQueryCanceled](err)
	require.True(t, canceled)
}

// The first request starts the collection and says so; before the first scrapes nothing has a value.
func TestCollection(t *testing.T) {
	ready := errors.New("targets have not been scraped yet")
	f := newFixture(t, func(o *adapter.Options) {
		o.Rules, o.Demand = rulesOf(t, ofDeploy), demand.Options{FirstValue: 5 * time.Second}
		o.Ready = func() error { return ready }
		o.Exposed = func(uint64) ([]catalog.Exposed, uint64) { return nil, 1 }
	}, "mine/a")
	require.Equal(t, "no value yet: targets have not been scraped yet", f.why("mine", "a"))
	ready = nil
	f.now = f.now.Add(time.Hour)
	d, err := f.Demand.Current(t.Context())
	require.NoError(t, err)
	require.True(t, d.Wanted("container_memory_working_set_bytes"))
	require.False(t, d.Wanted("node_memory_working_set_bytes"))
	require.True(t, d.OfKubelets("node_memory_working_set_bytes"))

	require.Empty(t, f.nodes("n1"))
	require.Equal(t, "collection of node_cpu_usage_seconds_total has started, first value in about 5s", f.Usage.Node(t.Context(), "n1").String())
	d, err = f.Demand.Current(t.Context())
	require.NoError(t, err)
	require.True(t, d.Wanted("node_memory_working_set_bytes"))
	f.now = f.now.Add(11 * time.Second)
	require.Contains(t, f.Usage.Node(t.Context(), "n1").String(), "have no result for the node")
}

// kubelets answer with a report that says so.
type kubelets struct{ resourcemetrics.Source }

func (kubelets) PodMetrics(context.Context, []*corev1.Pod) ([]metrics.PodMetrics, error) {
	return nil, errors.New("kubelets")
}

func (kubelets) Node(context.Context, string) resourcemetrics.Report {
	return resourcemetrics.Report{Reason: resourcemetrics.NoResult, Detail: "kubelets"}
}

// Rules that come and go with the configuration decide who answers.
func TestOr(t *testing.T) {
	f := newFixture(t, with(rules.Set{}), "mine/a")
	source := f.Usage.Or(kubelets{})
	asked := []*corev1.Pod{pod("mine", "a")}
	_, err := source.PodMetrics(t.Context(), asked)
	require.EqualError(t, err, "kubelets")
	require.Equal(t, "kubelets", source.Node(t.Context(), "n1").String())
	require.False(t, f.Usage.HasQueries())
	require.Equal(t, "the configuration has no resourceRules", f.why("mine", "a"))
	require.Empty(t, f.pods("mine/a"))
	require.Empty(t, f.nodes("n1"))

	f.load(cadvisor()...)
	require.NoError(t, f.SetRules(rulesOf(t, ofChart)))
	values, err := source.PodMetrics(t.Context(), asked)
	require.NoError(t, err)
	require.Equal(t, "mine/a c1=100m/1Mi c2=200m/2Mi, 15s ago over 3m0s", f.usage(values))
	require.Empty(t, source.Pod(t.Context(), asked[0]).String())
	nodes, err := source.NodeMetrics(t.Context(), []*corev1.Node{node("n1")})
	require.NoError(t, err)
	require.Len(t, nodes, 1)

	err = f.SetRules(rulesOf(t, ofChart, func(r *rules.ResourceRules) { r.CPU.NodeQuery = "(" }))
	require.ErrorContains(t, err, "resourceRules.cpu.nodeQuery gives no PromQL")
	require.True(t, f.Usage.HasQueries(), "those in force stay")
	require.NoError(t, f.SetRules(rulesOf(t, ofChart, func(r *rules.ResourceRules) { r.Memory.ContainerQuery, r.Memory.NodeQuery = "", "" })))
	require.Equal(t, "resourceRules.memory.containerQuery is empty", f.why("mine", "a"))
	require.Equal(t, "resourceRules.memory.nodeQuery is empty", f.Usage.Node(t.Context(), "n1").String())
	require.Equal(t, []string{"resourceRules.memory.containerQuery is empty, so no pod has a value", "resourceRules.memory.nodeQuery is empty, so no node has a value"}, f.Oddities())
	require.NoError(t, f.SetRules(rules.Set{}))
	require.Equal(t, "kubelets", source.Node(t.Context(), "n1").String())
}

// Whoever does not serve metrics.k8s.io wants nothing for resourceRules.
func TestNotServed(t *testing.T) {
	f := newFixture(t, func(o *adapter.Options) { o.Rules, o.ResourceMetrics = rulesOf(t, ofDeploy), false })
	require.False(t, f.Usage.HasQueries())
	require.Equal(t, []string{"resourceRules have no effect: metrics.k8s.io is not served"}, f.Oddities())
	d, err := f.Demand.Current(t.Context())
	require.NoError(t, err)
	require.False(t, d.OfKubelets("node_memory_working_set_bytes"))
}

// An engine that does not answer is an error that clients may try again, and the reason.
func TestEngineFails(t *testing.T) {
	broken := false
	db := openDB(t)
	behind := engineOf(t, db)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken && r.URL.Path == "/api/v1/query" {
			http.Error(w, "overloaded", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, behind.Name()+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	e, err := engine.New(engine.Options{Connection: engine.Connection{URL: server.URL, HTTP: config.DefaultHTTPClientConfig}})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	f := newFixture(t, func(o *adapter.Options) { o.Rules, o.DB, o.Engine = rulesOf(t, ofChart), nil, e }, "mine/a")
	f.loadInto(db, cadvisor()...)
	require.NoError(t, e.Relist(t.Context()))
	require.Equal(t, "mine/a c1=100m/1Mi c2=200m/2Mi, 0s ago over 3m0s", f.pods("mine/a"))
	broken = true
	f.now = f.now.Add(time.Second)
	_, err = f.Usage.PodMetrics(t.Context(), []*corev1.Pod{pod("mine", "a")})
	require.True(t, apierrors.IsServiceUnavailable(err), err)
	require.ErrorContains(t, err, "metrics of pods: resourceRules.cpu.containerQuery: evaluate ")
	_, err = f.Usage.NodeMetrics(t.Context(), []*corev1.Node{node("n1")})
	require.True(t, apierrors.IsServiceUnavailable(err), err)
	require.Contains(t, f.why("mine", "a"), "resourceRules.cpu.containerQuery: evaluate ")
}
