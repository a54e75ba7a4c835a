package embedded_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/promlet/promlet/adapter/embedded"
	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/discovery/kubelets"
	"github.com/promlet/promlet/discovery/manifests"
)

// Kubelets that cannot be scraped are one problem, and the reason why a node has no value.
func TestKubeletProblems(t *testing.T) {
	kubelet := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/forbidden") {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(kubelet.Close)
	const node = `
apiVersion: v1
kind: Node
metadata: {name: NAME, annotations: {metrics.k8s.io/resource-metrics-path: PATH}}
status: {addresses: [{type: TYPE, address: 127.0.0.1}]}
---
`
	text := ""
	for _, of := range [][]string{{"a", "/forbidden", "InternalIP"}, {"b", "/forbidden", "InternalIP"}, {"c", "/ok", "InternalIP"}, {"d", "/ok", "Odd"}} {
		text += strings.NewReplacer("NAME", of[0], "PATH", of[1], "TYPE", of[2]).Replace(node)
	}
	source, err := manifests.FromText([]byte(text))
	require.NoError(t, err)
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("t"), 0o600))
	port := kubelet.Listener.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort().Port()
	p, err := embedded.New(embedded.Options{Source: source, Dir: t.TempDir(), ResourceMetrics: true, Kubelets: &kubelets.Options{
		Port: int(port), InsecureSkipVerify: true, TokenFile: token, Interval: kubelets.MinInterval,
	}})
	require.NoError(t, err)
	stop := run(t, p)
	const forbidden = "server returned HTTP status 403 Forbidden: the ClusterRole of promlet's ServiceAccount needs the verb get on nodes/metrics"
	require.Eventually(t, func() bool {
		all := p.Problems()
		return len(all) == 1 && all[0].Kubelets && all[0].Text == "3 of 4 kubelets cannot be scraped (of nodes a, b, d): node a: "+forbidden
	}, patience, 50*time.Millisecond, "%v", p.Problems())
	why := func(name string) string {
		e, err := p.Provider.Explainer.Explain(t.Context(), explain.Question{Metric: "cpu", Object: schema.GroupResource{Resource: "nodes"}, Name: name})
		require.NoError(t, err)
		return e.Reason
	}
	require.Equal(t, `scraping the kubelet of node "a" failed: `+forbidden, why("a"))
	require.Equal(t, `the kubelet of node "d" is not scraped: it has no address of the types Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP: set --kubelet-preferred-address-types`, why("d"))
	require.NoError(t, stop())
	require.NoError(t, p.Close())
}

// oneNode returns the objects of a cluster with one node, on loopback.
func oneNode(t *testing.T) *manifests.Text {
	source, err := manifests.FromText([]byte(`
apiVersion: v1
kind: Node
metadata: {name: a}
status: {addresses: [{type: InternalIP, address: 127.0.0.1}]}
`))
	require.NoError(t, err)
	return source
}

// A CA file that cannot be read is the problem of all kubelets, not that they have not been scraped yet.
func TestKubeletsWithoutTheFileOfTheCA(t *testing.T) {
	source := oneNode(t)
	p, err := embedded.New(embedded.Options{Source: source, Dir: t.TempDir(), ResourceMetrics: true, Kubelets: &kubelets.Options{
		CertificateAuthority: filepath.Join(t.TempDir(), "ca.crt"),
	}})
	require.NoError(t, err)
	stop := run(t, p)
	require.Eventually(t, func() bool { return len(p.Problems()) == 1 }, patience, 50*time.Millisecond)
	require.Regexp(t, "^1 of 1 kubelets cannot be scraped: node a: open /.*/ca.crt: no such file or directory: check the file, or name another one with --kubelet-certificate-authority", p.Problems()[0].Text)
	require.NoError(t, p.Ready(), "metrics of applications do not depend on it")
	require.NoError(t, stop())
	require.NoError(t, p.Close())
}

// What a kubelet reports is not stored, so a small SeriesLimit is none of the containers of a node.
func TestKubeletsWithASmallSeriesLimit(t *testing.T) {
	var body strings.Builder
	for i := range 30 {
		fmt.Fprintf(&body, "container_cpu_usage_seconds_total{container=\"c\",namespace=\"default\",pod=\"p%d\"} 1\n", i)
		fmt.Fprintf(&body, "container_memory_working_set_bytes{container=\"c\",namespace=\"default\",pod=\"p%d\"} 1\n", i)
	}
	kubelet := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body.String()) }))
	t.Cleanup(kubelet.Close)
	source := oneNode(t)
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("t"), 0o600))
	port := kubelet.Listener.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort().Port()
	p, err := embedded.New(embedded.Options{Source: source, Dir: t.TempDir(), ResourceMetrics: true, SeriesLimit: 100, Kubelets: &kubelets.Options{
		Port: int(port), InsecureSkipVerify: true, TokenFile: token,
	}})
	require.NoError(t, err)
	stop := run(t, p)
	require.Eventually(t, func() bool {
		k := p.Resources.Node(t.Context(), "a").Kubelet
		return !k.Scraped.IsZero() || k.Err != nil
	}, patience, 50*time.Millisecond)
	require.Empty(t, p.Problems())
	require.Equal(t, 30, p.Resources.Node(t.Context(), "a").Kubelet.Containers)
	require.NoError(t, stop())
	require.NoError(t, p.Close())
}
