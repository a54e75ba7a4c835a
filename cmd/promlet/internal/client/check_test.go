package client

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	f := func(content string) (string, error) {
		t.Helper()
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return execute(t, "check", path)
	}
	const rule = `{seriesQuery: a, resources: {template: <<.Resource>>}, metricsQuery: "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)"}`
	out, err := f("rules: [" + rule + "]\nexternalRules: [" + rule + "]\nkeep: [x, z]\n")
	require.NoError(t, err)
	require.Equal(t, `rules[0]: a -> a (any that a label <<.Resource>> names), last values
externalRules[0]: a -> a (external), last values
warning: rules[0]: resources.template "<<.Resource>>": the label job, which all series have, means jobs.batch, so all of these metrics are listed for Jobs as well: use overrides in its place, with only the labels you mean
`+path+" is valid: 1 rule, 1 external rule, 0 ServiceMonitors, 0 PodMonitors, 2 keep patterns\n", out)

	out, err = f("keep: [x]\n")
	require.NoError(t, err)
	require.Contains(t, out, "is valid: the default rules, 0 external rules")

	out, err = f("remoteWrite: [{url: 'http://engine/api/v1/push'}]\nexternalLabels: {cluster: a}\n")
	require.NoError(t, err)
	require.Contains(t, out, "0 keep patterns, 1 remote write\n")

	out, err = f(`
kind: ConfigMap
data:
  config.yaml: |
    rules: [` + rule + `, ` + rule + `]
    resourceRules: {cpu: {}}
    serviceMonitors: [{metadata: {name: fast}, spec: {selector: {}, endpoints: [{port: web, interval: 1ms}]}}]
`)
	require.NoError(t, err)
	require.Contains(t, out, "warning: resourceRules have no query, so they have no effect")
	require.Contains(t, out, "warning: rules[0] and rules[1] both serve a as a: the later one, rules[1], answers")
	require.Contains(t, out, "warning: ServiceMonitor default/fast is adjusted: spec.endpoints[0].interval: 1ms is raised to 1s")
	require.Contains(t, out, "is valid: 2 rules, 0 external rules, 1 ServiceMonitor, ")

	chart := filepath.Join("..", "..", "..", "..", "adapter", "testdata", "rules", "chart-custom.yaml")
	out, err = execute(t, "check", chart)
	require.NoError(t, err)
	require.Contains(t, out, "resourceRules.cpu.containerQuery: container_cpu_usage_seconds_total -> cpu (pods), rate over 3m\n")
	require.Contains(t, out, "resourceRules.memory.nodeQuery: node_memory_MemTotal_bytes, node_memory_MemAvailable_bytes -> memory (nodes), avg_over_time over 3m\n")
	require.NotContains(t, out, "warning: resourceRules")
	require.Contains(t, out, "0 keep patterns, resource rules\n")

	g := func(content, want string) {
		t.Helper()
		out, err := f(content)
		require.NotContains(t, out, "is valid")
		require.ErrorContains(t, err, path+": ")
		require.ErrorContains(t, err, want)
	}
	g("rules: [{seriesQuery: 'a{', metricsQuery: x}]", `rules[0]: seriesQuery "a{" is no series selector`)
	g("resourceRules: {cpu: {nodeQuery: 'sum('}}", "resourceRules.cpu.resources: no label is associated with nodes, which nodeQuery needs")
	g("resourceRules: {cpu: {nodeQuery: 'sum(', resources: {template: <<.Resource>>}}}", "resourceRules.cpu.nodeQuery gives no PromQL")
	g("rulez: []", `unknown field "rulez"`)
	g("remoteWrite: [{url: 'http://engine', queue: {}}]", `remoteWrite[0]: field queue not found`)
	g("kind: ConfigMap\ndata: {a: '', b: ''}", "the ConfigMap has 2 keys in data, not one")
	g("kind: ConfigMap\ndata: {a: 'rules: {'}", "data[a] of the ConfigMap: ")
	g("serviceMonitors: [{metadata: {name: m}, spec: {selector: {}, endpoints: [{port: web, interval: soon}]}}]", "ServiceMonitor default/m is rejected: spec.endpoints[0].interval")
	_, err = execute(t, "check", filepath.Join(t.TempDir(), "none"))
	require.ErrorContains(t, err, "no such file")
	_, err = execute(t, "check")
	require.Error(t, err)
}

// check reads each kind of file that may have a configuration.
func TestCheckOfManifests(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	const rule = `{seriesQuery: 'a_total', resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}, metricsQuery: "sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)"}`
	const line = "rules[0]: a_total -> a_total (namespaces, pods), rate over 2m\n"
	values := write("values.yaml", "prometheus: {url: http://prometheus}\nrules:\n  default: false\n  custom: ["+rule+"]\n  external: ["+rule+"]\n")
	out, err := execute(t, "check", "--strict", values)
	require.NoError(t, err)
	require.Equal(t, line+"externalRules[0]: a_total -> a_total (external), rate over 2m\n"+values+" is valid: 1 rule, 1 external rule, 0 ServiceMonitors, 0 PodMonitors, 0 keep patterns\n", out)

	both := write("both.yaml", "rules: {custom: ["+rule+"]}\n")
	out, err = execute(t, "check", both)
	require.NoError(t, err)
	require.Contains(t, out, "default rule 1: ")
	require.Contains(t, out, line)
	require.Contains(t, out, both+" is valid: the default rules and 1 rule, ")
	_, err = execute(t, "check", write("wrong.yaml", "rules: {custom: [{seriesQuerry: x}]}"))
	require.ErrorContains(t, err, `wrong.yaml: unknown field "rules.custom[0].seriesQuerry"`)
	_, err = execute(t, "check", write("existing.yaml", "rules: {existing: mine}"))
	require.ErrorContains(t, err, "rules.existing: the rules are in the ConfigMap mine: use that ConfigMap")

	manifests := `
apiVersion: v1
kind: Service
metadata: {name: adapter}
---
# only a comment
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: other}, data: {a: "b: c", d: "no: [yaml"}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: adapter, namespace: monitoring}, data: {config.yaml: ` + strconv.Quote("rules: ["+rule+"]") + `}}
- {apiVersion: monitoring.coreos.com/v1, kind: ServiceMonitor, metadata: {name: m, namespace: shop}, spec: {selector: {}, endpoints: [{port: web, interval: soon}]}}
`
	path := write("all.yaml", manifests)
	out, err = execute(t, "check", path, values)
	require.ErrorContains(t, err, path+" (monitors): ServiceMonitor shop/m is rejected: spec.endpoints[0].interval")
	require.Contains(t, out, line+path+" (ConfigMap monitoring/adapter, data[config.yaml]) is valid: 1 rule, ")
	require.NotContains(t, out, "(monitors) is valid")
	require.Contains(t, out, values+" is valid: ")
	_, err = execute(t, "check", "--strict", write("odd.yaml", "resourceRules: {cpu: {}}"))
	require.EqualError(t, err, "--strict: 1 warning")

	root := newRoot(Commands()...)
	var printed bytes.Buffer
	root.SetOut(&printed)
	root.SetIn(strings.NewReader("rules: []\n---\nrules: [" + rule + "]\n"))
	root.SetArgs([]string{"check", "-", "-o", "json"})
	require.NoError(t, root.ExecuteContext(t.Context()))
	require.JSONEq(t, `[
		{"file": "-", "rules": [], "warnings": ["rules is empty, so no custom metric is served: leave it out for the default rules"]},
		{"file": "-", "rules": [{"rule": "rules[0]", "series": "a_total", "metric": "a_total", "objects": ["namespaces", "pods"], "value": "rate over 2m"}], "warnings": []}
	]`, printed.String())

	_, err = execute(t, "check", write("service.yaml", "kind: Service\napiVersion: v1\n"))
	require.ErrorContains(t, err, "service.yaml: it has no configuration: give a file for --config, a ConfigMap that holds one, or monitors")
	_, err = execute(t, "check", values, "-o", "xml")
	require.EqualError(t, err, "--output=xml: choose text or json")
}
