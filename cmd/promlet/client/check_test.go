package client

import (
	"os"
	"path/filepath"
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
	require.Equal(t, path+" is valid: 1 rule, 1 external rule, 0 ServiceMonitors, 0 PodMonitors, 2 keep patterns\n", out)

	out, err = f("keep: [x]\n")
	require.NoError(t, err)
	require.Contains(t, out, "is valid: the default rules, 0 external rules")

	out, err = f(`
kind: ConfigMap
data:
  config.yaml: |
    rules: [` + rule + `, ` + rule + `]
    resourceRules: {cpu: {}}
    serviceMonitors: [{metadata: {name: m}, spec: {selector: {}, endpoints: [{port: web, interval: soon}]}}, {metadata: {name: fast}, spec: {selector: {}, endpoints: [{port: web, interval: 1ms}]}}]
`)
	require.NoError(t, err)
	require.Contains(t, out, "warning: resourceRules are ignored")
	require.Contains(t, out, "warning: rules[0] and rules[1] both serve a as a: the later one, rules[1], answers")
	require.Contains(t, out, "warning: ServiceMonitor default/m is rejected: spec.endpoints[0].interval")
	require.Contains(t, out, "warning: ServiceMonitor default/fast is adjusted: spec.endpoints[0].interval: 1ms is raised to 1s")
	require.Contains(t, out, "is valid: 2 rules, 0 external rules, 2 ServiceMonitors")

	g := func(content, want string) {
		t.Helper()
		_, err := f(content)
		require.ErrorContains(t, err, path+": ")
		require.ErrorContains(t, err, want)
	}
	g("rules: [{seriesQuery: 'a{', metricsQuery: x}]", `rules[0]: seriesQuery "a{" is no series selector`)
	g("rulez: []", `unknown field "rulez"`)
	g("kind: ConfigMap\ndata: {a: '', b: ''}", "the ConfigMap has 2 keys in data, not one")
	g("kind: ConfigMap\ndata: {a: 'rules: {'}", "data[a] of the ConfigMap: ")
	_, err = execute(t, "check", filepath.Join(t.TempDir(), "none"))
	require.ErrorContains(t, err, "no such file")
	_, err = execute(t, "check")
	require.Error(t, err)
}
