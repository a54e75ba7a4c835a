package rules

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/adapter/objects"
)

// resourceRules returns the rules of a file, changed.
func resourceRules(t *testing.T, file string, change ...func(*ResourceRules)) *ResourceRules {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "testdata", "rules", file))
	require.NoError(t, err)
	var cfg Config
	require.NoError(t, yaml.UnmarshalStrict(data, &cfg))
	for _, f := range change {
		f(cfg.ResourceRules)
	}
	return cfg.ResourceRules
}

const (
	ofChart   = "chart-custom.yaml"
	ofDeploy  = "deploy-resource-rules.yaml"
	ofIssue   = "kube-prometheus-1551.yaml"
	cpuOfPods = "resourceRules.cpu.containerQuery"
)

// What upstream's chart, manifests and users configure compiles, without warnings about what they mean.
func TestResourceRulesOfPrometheusAdapter(t *testing.T) {
	f := func(file string, window time.Duration, odd []string, want ...string) {
		t.Helper()
		r := resourceRules(t, file)
		compiled, err := r.Compile(testKinds())
		require.NoError(t, err)
		require.Equal(t, window, compiled.Window)
		require.Equal(t, odd, r.Oddities(compiled))
		require.Empty(t, compiled.OddWindows(15*time.Second, time.Hour))
		var lines []string
		for _, s := range compiled.Summaries() {
			lines = append(lines, s.String())
		}
		require.Equal(t, want, lines)
	}
	f(ofChart, 3*time.Minute, nil,
		"resourceRules.cpu.containerQuery: container_cpu_usage_seconds_total -> cpu (pods), rate over 3m",
		"resourceRules.memory.containerQuery: container_memory_working_set_bytes -> memory (pods), avg_over_time over 3m",
		"resourceRules.cpu.nodeQuery: node_cpu_seconds_total -> cpu (nodes), rate over 3m",
		"resourceRules.memory.nodeQuery: node_memory_MemTotal_bytes, node_memory_MemAvailable_bytes -> memory (nodes), avg_over_time over 3m")
	f(ofDeploy, 5*time.Minute, nil,
		"resourceRules.cpu.containerQuery: container_cpu_usage_seconds_total -> cpu (pods), irate over 4m",
		"resourceRules.memory.containerQuery: container_memory_working_set_bytes -> memory (pods), last values",
		"resourceRules.cpu.nodeQuery: node_cpu_usage_seconds_total -> cpu (nodes), irate over 4m",
		"resourceRules.memory.nodeQuery: node_memory_working_set_bytes -> memory (nodes), last values")
	f(ofIssue, time.Minute, []string{
		"resourceRules.memory.containerQuery is empty, so no pod has a value",
		"resourceRules.memory.nodeQuery is empty, so no node has a value",
	},
		"resourceRules.cpu.containerQuery: container_cpu_usage_seconds_total -> cpu (pods), rate over 1m",
		"resourceRules.cpu.nodeQuery: container_cpu_usage_seconds_total -> cpu (nodes), rate over 1m")
}

func TestExpandResourceQuery(t *testing.T) {
	compiled, err := resourceRules(t, ofDeploy, func(r *ResourceRules) {
		r.Memory.ContainerQuery = `max by (<<range .GroupBySlice>><<.>>,<<end>>) (m<<.Series>>{pod=~"<<.LabelValuesByName.pod>>",<<.LabelMatchers>>})`
	}).Compile(testKinds())
	require.NoError(t, err)
	f := func(q *ResourceQuery, want string, names ...string) {
		t.Helper()
		expr, err := q.Expand(`n"s`, names)
		require.NoError(t, err)
		require.Equal(t, want, expr)
	}
	f(compiled.Pods.CPU, "sum by (pod,container) (\n  irate (\n      container_cpu_usage_seconds_total{namespace=\"n\\\"s\",pod=\"a\",container!=\"\",pod!=\"\"}[4m]\n  )\n)\n", "a")
	f(compiled.Pods.Memory, `max by (pod,container,) (m{pod=~"a.b|c",namespace="n\"s",pod=~"a\\.b|c"})`, "a.b", "c")
	f(compiled.Nodes.Memory, "sum by (node) (\n  node_memory_working_set_bytes{node=~\"a|b\"}\n)\n", "a", "b")
}

func TestBrokenResourceRules(t *testing.T) {
	f := func(change func(*ResourceRules), want string) {
		t.Helper()
		_, err := resourceRules(t, ofDeploy, change).Compile(testKinds())
		require.ErrorContains(t, err, want)
	}
	containers := func(query string) func(*ResourceRules) {
		return func(r *ResourceRules) { r.CPU.ContainerQuery = query }
	}
	f(func(r *ResourceRules) { r.Window = "soon" }, `resourceRules.window: not a valid duration string: "soon"`)
	f(containers("<<"), cpuOfPods+": template: containerQuery:1")
	f(containers("sum(a{<<.Labels>>})"), cpuOfPods+": there is no field <<.Labels>>: choose Series, LabelMatchers")
	f(containers("<<if false>>x<<end>>"), cpuOfPods+" gives an empty query")
	f(containers("sum(a{"), cpuOfPods+" gives no PromQL: 1:7: parse error")
	f(containers("a{<<.LabelMatchers>>}[3m]"), cpuOfPods+" gives a matrix, not an instant vector")
	f(containers("scalar(a{<<.LabelMatchers>>})"), cpuOfPods+" gives a scalar, not an instant vector")
	f(containers("sum(a) by (<<.GroupBy>>)"), cpuOfPods+" is the same for all namespaces, so pods would have the values of others: add <<.LabelMatchers>>")
	f(containers("sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)"), cpuOfPods+" selects series without a name: <<.Series>> is empty here")
	f(containers("vector(1)"), cpuOfPods+" selects series without a name")
	f(containers("max_over_time(a{<<.LabelMatchers>>}[10y:1s])"), cpuOfPods+": ")
	f(func(r *ResourceRules) { r.Memory.NodeQuery = "(" }, "resourceRules.memory.nodeQuery gives no PromQL")
	f(func(r *ResourceRules) { r.Memory.ContainerLabel = "" }, "resourceRules.memory.containerLabel is empty: give the label with the container's name, such as container")
	f(func(r *ResourceRules) { r.CPU.Resources = Resources{Template: "<<"} }, "resourceRules.cpu.resources.template: ")
	f(func(r *ResourceRules) { r.CPU.Resources.Overrides["x"] = GroupResource{Resource: "widget"} }, "resourceRules.cpu.resources.overrides[x]: ")
	for _, label := range []string{"namespace", "pod"} {
		f(func(r *ResourceRules) { delete(r.CPU.Resources.Overrides, label) },
			"resourceRules.cpu.resources: no label is associated with "+label+"s, which containerQuery needs: add "+label+": {resource: "+label+"} to overrides")
	}
	f(func(r *ResourceRules) { delete(r.CPU.Resources.Overrides, "node") }, "resourceRules.cpu.resources: no label is associated with nodes, which nodeQuery needs")

	_, err := resourceRules(t, ofDeploy, func(r *ResourceRules) { r.Window, r.CPU.NodeQuery, r.Memory.NodeQuery = "x", "(", ")" }).Compile(testKinds())
	for _, part := range []string{"resourceRules.window: ", "resourceRules.cpu.nodeQuery ", "resourceRules.memory.nodeQuery "} {
		require.ErrorContains(t, err, part, "all are reported at once")
	}
}

func TestOddResourceRules(t *testing.T) {
	f := func(change func(*ResourceRules), want ...string) {
		t.Helper()
		r := resourceRules(t, ofDeploy, change)
		compiled, err := r.Compile(testKinds())
		require.NoError(t, err)
		require.Equal(t, want, append(r.Oddities(compiled), compiled.OddWindows(30*time.Second, time.Hour)...))
	}
	f(func(*ResourceRules) {})
	f(func(r *ResourceRules) { *r = ResourceRules{Window: "5m"} }, "resourceRules have no query, so they have no effect")
	f(func(r *ResourceRules) { r.CPU.ContainerQuery = "sum(a{<<.LabelMatchers>>})" }, cpuOfPods+" keeps no label pod, so no pod has a value: aggregate by (<<.GroupBy>>)")
	f(func(r *ResourceRules) { r.CPU.ContainerQuery = "sum(a{<<.LabelMatchers>>}) by (pod)" },
		cpuOfPods+" keeps no label container, so no container has a value of its own: aggregate by (<<.GroupBy>>)")
	f(func(r *ResourceRules) { r.CPU.NodeQuery = "sum(rate(a{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)" },
		"resourceRules.cpu.nodeQuery: [1m] is shorter than 4 scrape intervals of 30s: with fewer than two samples in it, a rate also uses those before it")
	f(func(r *ResourceRules) { r.CPU.NodeQuery = "sum(rate(a{<<.LabelMatchers>>}[2h])) by (<<.GroupBy>>)" },
		"resourceRules.cpu.nodeQuery reads samples of the last 2h, but they are kept for 1h: raise --retention")
}

// The template for labels is prometheus-adapter's.
func TestResourceRulesByTemplate(t *testing.T) {
	compiled, err := (&ResourceRules{CPU: ResourceRule{
		ContainerQuery: "sum(a{<<.LabelMatchers>>}) by (<<.GroupBy>>)", NodeQuery: "a{<<.LabelMatchers>>}",
		Resources: Resources{Template: "kube_<<.Resource>>", Overrides: map[string]GroupResource{"instance": {Resource: "nodes"}}}, ContainerLabel: "name",
	}}).Compile(testKinds())
	require.NoError(t, err)
	require.Equal(t, time.Minute, compiled.Window, "without a range in a query")
	expr, err := compiled.Pods.CPU.Expand("ns", []string{"p"})
	require.NoError(t, err)
	require.Equal(t, `sum(a{kube_namespace="ns",kube_pod="p"}) by (kube_pod,name)`, expr)
	expr, err = compiled.Nodes.CPU.Expand("", []string{"n"})
	require.NoError(t, err)
	require.Equal(t, `a{instance="n"}`, expr)
	require.Equal(t, "instance", compiled.Nodes.CPU.Label(objects.Node()))

	none, err := (*ResourceRules)(nil).Compile(testKinds())
	require.NoError(t, err)
	require.Nil(t, none)
	require.Empty(t, (*ResourceRules)(nil).Oddities(none))
	require.Empty(t, none.Summaries())
}
