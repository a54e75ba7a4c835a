package configfile

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLoad(t *testing.T) {
	write := func(content string) string {
		path := filepath.Join(t.TempDir(), "promlet.yaml")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	cfg, _, err := Load("")
	require.NoError(t, err)
	require.Empty(t, cfg.Rules)

	cfg, _, err = Load(write(`
rules:
- seriesQuery: '{namespace!=""}'
  resources: {template: <<.Resource>>}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
keep: [node_load.*]
remoteWrite: [{url: "http://engine/api/v1/push", queue_config: {max_shards: 3}}]
externalLabels: {cluster: a}
resourceRules: {cpu: {containerQuery: x}}
externalRules: [{seriesQuery: x, resources: {}, metricsQuery: x}]
serviceMonitors:
- metadata: {name: app, namespace: default}
  spec: {selector: {}, endpoints: [{port: web}]}
`))
	require.NoError(t, err)
	require.Len(t, cfg.Rules, 1)
	require.Equal(t, "x", cfg.ResourceRules.CPU.ContainerQuery)
	require.Len(t, cfg.ExternalRules, 1)
	require.Equal(t, []string{"node_load.*"}, cfg.Keep)
	queues, err := cfg.Queues("")
	require.NoError(t, err)
	require.Equal(t, 1, queues.Len())
	require.Equal(t, "web", cfg.ServiceMonitors[0].Spec.Endpoints[0].Port)

	// The values of prometheus-adapter's chart, and keys of promlet's beside its rules.
	cfg, _, err = Load(write(`
prometheus: {url: http://prometheus, port: 9090}
replicas: 2
rules:
  custom: [{seriesQuery: x, resources: {}, metricsQuery: x}]
  external: [{seriesQuery: z, resources: {}, metricsQuery: z}]
keep: [node_load.*]
resourceRules: {cpu: {containerQuery: x}}
serviceMonitors: [{metadata: {name: app}}]
`))
	require.NoError(t, err)
	require.True(t, cfg.HasDefaults())
	require.Len(t, cfg.Rules, 1)
	require.Len(t, cfg.ExternalRules, 1)
	require.Equal(t, []string{"node_load.*"}, cfg.Keep)
	require.Equal(t, "x", cfg.ResourceRules.CPU.ContainerQuery)
	require.Len(t, cfg.ServiceMonitors, 1)

	f := func(content, want string) {
		t.Helper()
		path := write(content)
		_, _, err := Load(path)
		require.ErrorContains(t, err, want)
	}
	f("rules:\n- seriesQuerry: x\n", `unknown field "rules[0].seriesQuerry"`)
	f("resourceRules: {cpu: {window: 3m}}", `unknown field "resourceRules.cpu.window"`)
	f("rules: {resource: {cpu: {query: x}}}", `unknown field "rules.resource.cpu.query"`)
	f("rules: {default: true}\nkeeps: [x]", `unknown field "keeps"`)
	f("rules: {default: true}\nserviceMonitors: [{}]", "serviceMonitors[0]: give it a metadata.name")
	f("rules: {external: [{}]}\nexternalRules: [{}]", "externalRules: rules.external has external rules too")
	f("rules: {resource: {}}\nresourceRules: {}", "resourceRules: rules.resource is set too")
	f("resourceRules: {window: 180}", "resourceRules.window: number instead of string; write it in quotes")
	f("serviceMonitors:\n- spec: {slector: {}}\n", `unknown field "serviceMonitors[0].spec.slector"`)
	f("serviceMonitors: [{}]", "serviceMonitors[0]: give it a metadata.name")
	f("podMonitors: [{metadata: {name: a}}, null]", "podMonitors[1]: give it a metadata.name")
	f("remoteWrite: [{url: 'http://a'}, {url: 'http://b', urll: x}]", "remoteWrite[1]: field urll not found")
	f("externalLabels: {a: [b]}", "externalLabels")
	f("rules: {", "line 1")
	f("query: {url: 'http://a', basic_auth: {usernme: x}, tls_confg: {}}", `unknown field "query.basic_auth.usernme"`)
	f("query: {url: 'http://a', tls_confg: {}}", `unknown field "query.tls_confg"`)
	f("rules: [{seriesQuery: 5}]", "rules.seriesQuery: number instead of string; write it in quotes")
	f("rules: [{seriesQuery: [a]}]", "rules.seriesQuery: list instead of string")
	f("keep: x", "keep: string instead of list")
	f("query: {}", "query.url: give the engine's URL, such as http://prometheus.monitoring.svc:9090")
	f("query: {url: 'http://a', bearer_token: x, basic_auth: {username: x}}", "query: at most one of basic_auth, oauth2, bearer_token")
	f("query: {url: [a]}", "query: cannot unmarshal")
	_, _, err = Load(filepath.Join(t.TempDir(), "none.yaml"))
	require.ErrorContains(t, err, "none.yaml: no such file or directory")
}
