package monitors

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// guarded is a cluster of one monitor that uses what Prometheus would not print.
const guarded = `
apiVersion: v1
kind: Secret
metadata: {name: creds}
stringData: {user: alice, password: secret, ca: "@ca", cert: "@cert", key: "@key", token: t}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: web}
spec:
  selector: {}
  endpoints:
    - basicAuth: {username: {name: creds, key: user}, password: {name: creds, key: password}}
      tlsConfig: {ca: {secret: {name: creds, key: ca}}, cert: {secret: {name: creds, key: cert}}, keySecret: {name: creds, key: key}}
      proxyUrl: http://proxy
      proxyConnectHeader: {X-A: [{name: creds, key: token}]}
    - oauth2:
        clientId: {secret: {name: creds, key: user}}
        clientSecret: {name: creds, key: password}
        tokenUrl: http://idp
        tlsConfig: {ca: {secret: {name: creds, key: ca}}}
    - authorization: {credentials: {name: creds, key: token}}
---
apiVersion: v1
kind: Service
metadata: {name: s, labels: {app: s}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s-1, labels: {app: s, kubernetes.io/service-name: s}}
addressType: IPv4
ports: [{port: 80}]
endpoints: [{addresses: [10.0.0.1]}]
`

func guardedCluster(t *testing.T) *Cluster {
	c, err := ReadCluster(strings.NewReader(guarded))
	require.NoError(t, err)
	require.NoError(t, c.fillPEMs())
	return c
}

// TestDifferencesShow changes one thing at a time on one side.
func TestDifferencesShow(t *testing.T) {
	theirs, err := Theirs(t.Context(), guardedCluster(t))
	require.NoError(t, err)
	require.Empty(t, theirs.Rejected)
	require.Len(t, theirs.Jobs, 3)
	require.Equal(t, 3, theirs.Targets())
	set := func(values map[string]string) func(*Cluster) {
		return func(c *Cluster) {
			for key, value := range values {
				c.Secrets[0].Data[key] = []byte(value)
			}
		}
	}
	for name, tc := range map[string]struct {
		change func(*Cluster)
		want   []string // each part of one line
	}{
		"nothing":  {func(*Cluster) {}, nil},
		"user":     {set(map[string]string{"user": "bob"}), []string{"web/0: HTTPClientConfig.BasicAuth.Username", "web/1: HTTPClientConfig.OAuth2.ClientID"}},
		"password": {set(map[string]string{"password": "x"}), []string{"web/0: HTTPClientConfig.BasicAuth.Password", "web/1: HTTPClientConfig.OAuth2.ClientSecret"}},
		"token": {set(map[string]string{"token": "x"}), []string{
			"web/0: HTTPClientConfig.ProxyConfig.ProxyConnectHeader[X-A][0]", "web/2: HTTPClientConfig.Authorization.Credentials"}},
		"CA":   {set(map[string]string{"ca": "@cert"}), []string{"web/0: HTTPClientConfig.TLSConfig.CA", "web/1: HTTPClientConfig.OAuth2.TLSConfig.CA"}},
		"pair": {set(map[string]string{"cert": "@ca", "key": "@other-key"}), []string{"web/0: HTTPClientConfig.TLSConfig.Cert", "web/0: HTTPClientConfig.TLSConfig.Key"}},
		"no key": {func(c *Cluster) { delete(c.Secrets[0].Data, "user") }, []string{
			"ServiceMonitor default/web: only promlet", "web/0: only upstream has it", "web/1: only upstream has it", "web/2: only upstream has it"}},
		"address": {func(c *Cluster) { c.EndpointSlices[0].Endpoints[0].Addresses = []string{"10.0.0.2"} }, []string{
			"web/0: only promlet: http://10.0.0.2:80", "web/0: only upstream: http://10.0.0.1:80",
			"web/1: only promlet: http://10.0.0.2:80", "web/1: only upstream: http://10.0.0.1:80",
			"web/2: only promlet: http://10.0.0.2:80", "web/2: only upstream: http://10.0.0.1:80"}},
		"interval": {func(c *Cluster) { c.ServiceMonitors[0].Spec.Endpoints[2].Interval = "31s" }, []string{
			"web/2: ScrapeInterval", `web/2: only promlet: http://10.0.0.1:80`, `web/2: only upstream: http://10.0.0.1:80`}},
		"limit": {func(c *Cluster) { c.ServiceMonitors[0].Spec.SampleLimit = new(int64(5)) }, []string{
			"web/0: SampleLimit", "web/1: SampleLimit", "web/2: SampleLimit"}},
		"monitor": {func(c *Cluster) { c.ServiceMonitors = nil }, []string{
			"web/0: only upstream has it", "web/1: only upstream has it", "web/2: only upstream has it"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := guardedCluster(t)
			tc.change(c)
			require.NoError(t, c.fillPEMs())
			ours, err := Ours(c)
			require.NoError(t, err)
			diff := Diff(ours, theirs)
			require.Len(t, diff, len(tc.want), diff)
			for i, part := range tc.want {
				require.Contains(t, diff[i], part)
			}
		})
	}
	require.Equal(t, []string{"ServiceMonitor x/y: promlet rejects it without a reason"}, Diff(
		&Result{Rejected: map[string]string{"ServiceMonitor x/y": ""}}, &Result{Rejected: map[string]string{"ServiceMonitor x/y": "bad"}}))
	require.Equal(t, []string{"PodMonitor x/y: only upstream rejects it: bad"}, Diff(
		&Result{}, &Result{Rejected: map[string]string{"PodMonitor x/y": "bad"}}))
}

// TestRejected rejects each monitor alone, for the reasons of each of the three.
func TestRejected(t *testing.T) {
	c, err := ReadCluster(strings.NewReader(`
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: good}
spec: {selector: {}, endpoints: [{}]}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: operator}
spec: {selector: {}, endpoints: [{interval: 1s, scrapeTimeout: 2s}]}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: prometheus}
spec: {selector: {}, endpoints: [{interval: soon}]}
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: api-server}
spec: {selector: {}, selectorMechanism: Magic, podMetricsEndpoints: [{}]}
`))
	require.NoError(t, err)
	r, err := Theirs(t.Context(), c)
	require.NoError(t, err)
	require.Len(t, r.Jobs, 1)
	require.Contains(t, r.Jobs, "serviceMonitor/default/good/0")
	require.Len(t, r.Rejected, 3)
	require.Contains(t, r.Rejected["ServiceMonitor default/operator"], "operator: ")
	require.Contains(t, r.Rejected["ServiceMonitor default/prometheus"], "Prometheus: ")
	require.Contains(t, r.Rejected["PodMonitor default/api-server"], "API server: ")
}

func TestShrink(t *testing.T) {
	g, err := NewGenerator()
	require.NoError(t, err)
	c, err := g.Generate(1)
	require.NoError(t, err)
	c.Pods[1].Labels["needle"] = "here"
	found := func(c *Cluster) bool {
		return slices.ContainsFunc(c.Pods, func(p *corev1.Pod) bool { return p.Labels["needle"] == "here" })
	}
	smallest, err := Shrink(c, found)
	require.NoError(t, err)
	text, err := smallest.YAML()
	require.NoError(t, err)
	require.Equal(t, "---\napiVersion: v1\nkind: Pod\nmetadata:\n  labels:\n    needle: here\n  name: "+
		c.Pods[1].Name+"\n  namespace: "+c.Pods[1].Namespace+"\n", text)
}

// TestYAML reads what was printed.
func TestYAML(t *testing.T) {
	g, err := NewGenerator()
	require.NoError(t, err)
	for seed := range uint64(20) {
		c, err := g.Generate(seed)
		require.NoError(t, err)
		text, err := c.YAML()
		require.NoError(t, err)
		again, err := ReadCluster(strings.NewReader(text))
		require.NoError(t, err)
		twice, err := again.YAML()
		require.NoError(t, err)
		require.Equal(t, text, twice)
		same, err := g.Generate(seed)
		require.NoError(t, err)
		require.Equal(t, c, same, "the same seed gives the same cluster")
	}
	_, err = ReadCluster(strings.NewReader("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {nope: 1}"))
	require.ErrorContains(t, err, "nope")
	_, err = ReadCluster(strings.NewReader("apiVersion: v1\nkind: Nope"))
	require.ErrorContains(t, err, "Nope")
}
