package kubelets

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Options are refused for what metrics-server refuses them for.
func TestOptions(t *testing.T) {
	f := func(o Options, want ...string) {
		t.Helper()
		_, err := New(o)
		if len(want) == 0 {
			require.NoError(t, err)
			return
		}
		require.EqualError(t, err, strings.Join(want, "\n"))
	}
	f(Options{})
	f(Options{InsecureSkipVerify: true})
	f(Options{CertificateAuthority: "ca.crt", InsecureSkipVerify: true}, "--kubelet-certificate-authority and --kubelet-insecure-tls exclude each other")
	f(Options{ClientCertificate: "tls.crt"}, "--kubelet-client-certificate and --kubelet-client-key need each other")
	f(Options{ClientCertificate: "tls.crt", ClientKey: "tls.key", TokenFile: "token"})
	f(Options{Port: 70000}, "--kubelet-port: 70000 is not a port")
	f(Options{Interval: 10 * time.Second})
	f(Options{Interval: 9 * time.Second}, "--metric-resolution: 9s is less than 10s")
	f(Options{Timeout: -1}, "--kubelet-request-timeout: -1ns is not positive")
	f(Options{Interval: 20 * time.Second, Timeout: 18 * time.Second})
	f(Options{Interval: 20 * time.Second, Timeout: 19 * time.Second}, "--kubelet-request-timeout: 19s is more than nine tenths of --metric-resolution=20s")
	f(Options{AddressTypes: []corev1.NodeAddressType{"InternalIP", "Pigeon"}, Port: -1},
		"--kubelet-port: -1 is not a port",
		`--kubelet-preferred-address-types: "Pigeon" is none of Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP`)
}

func TestConfig(t *testing.T) {
	f := func(o Options) *config.ScrapeConfig {
		t.Helper()
		j, err := New(o)
		require.NoError(t, err)
		return j.Config
	}
	c := f(Options{})
	require.Equal(t, "kubelets", c.JobName)
	require.Equal(t, "https", c.Scheme)
	require.Equal(t, "/metrics/resource", c.MetricsPath)
	require.Equal(t, model.Duration(15*time.Second), c.ScrapeInterval)
	require.Equal(t, model.Duration(10*time.Second), c.ScrapeTimeout)
	require.True(t, c.HonorTimestamps)
	require.False(t, c.HonorLabels)
	require.False(t, c.HTTPClientConfig.FollowRedirects)
	require.Equal(t, "/var/run/secrets/kubernetes.io/serviceaccount/token", c.HTTPClientConfig.Authorization.CredentialsFile)
	require.Equal(t, "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt", c.HTTPClientConfig.TLSConfig.CAFile)
	require.Empty(t, c.HTTPClientConfig.TLSConfig.ServerName, "the address is verified")
	require.Equal(t, model.Duration(9*time.Second), f(Options{Interval: 10 * time.Second}).ScrapeTimeout)

	c = f(Options{InsecureSkipVerify: true})
	require.True(t, c.HTTPClientConfig.TLSConfig.InsecureSkipVerify)
	require.Empty(t, c.HTTPClientConfig.TLSConfig.CAFile)

	c = f(Options{ClientCertificate: "tls.crt", ClientKey: "tls.key"})
	require.Nil(t, c.HTTPClientConfig.Authorization)
	require.Equal(t, "tls.key", c.HTTPClientConfig.TLSConfig.KeyFile)
	c = f(Options{ClientCertificate: "tls.crt", ClientKey: "tls.key", TokenFile: "token"})
	require.Equal(t, "token", c.HTTPClientConfig.Authorization.CredentialsFile)
}

func node(name string, mutate ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"zone": "a"}},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: "10.0.0.5"}, {Type: corev1.NodeInternalIP, Address: "fd00::5"},
			{Type: corev1.NodeHostName, Address: "host-5"},
		}},
	}
	n.Status.DaemonEndpoints.KubeletEndpoint.Port = 10255
	for _, m := range mutate {
		m(n)
	}
	return n
}

func TestTargets(t *testing.T) {
	f := func(o Options, n *corev1.Node, want string) {
		t.Helper()
		j, err := New(o)
		require.NoError(t, err)
		g, err := j.Group(n)
		switch {
		case err != nil:
			require.Nil(t, g)
			require.EqualError(t, err, want)
		case g == nil:
			require.Empty(t, want)
		default:
			require.Equal(t, "node/"+n.Name, g.Source)
			require.Len(t, g.Targets, 1)
			require.Equal(t, want, g.Targets[0].String())
		}
	}
	const rest = `__meta_kubernetes_node_address_Hostname="host-5", __meta_kubernetes_node_address_InternalIP="10.0.0.5", __meta_kubernetes_node_name="n1", `
	labelled := func(path string) string {
		return `instance="n1", job="kubelets", metrics_path="` + path + `", node="n1"}`
	}
	types := func(all ...corev1.NodeAddressType) Options { return Options{AddressTypes: all} }

	f(Options{}, node("n1"), `{__address__="host-5:10250", `+rest+labelled("/metrics/resource"))
	f(types("InternalIP", "Hostname"), node("n1"), `{__address__="10.0.0.5:10250", `+rest+labelled("/metrics/resource"))
	f(Options{Port: 10300}, node("n1"), `{__address__="host-5:10300", `+rest+labelled("/metrics/resource"))
	f(Options{UseNodeStatusPort: true, Port: 10300}, node("n1"), `{__address__="host-5:10255", `+rest+labelled("/metrics/resource"))
	f(Options{UseNodeStatusPort: true, Port: 10300}, node("n1", func(n *corev1.Node) { n.Status.DaemonEndpoints.KubeletEndpoint.Port = 0 }),
		`{__address__="host-5:10300", `+rest+labelled("/metrics/resource"))
	f(Options{}, node("n1", func(n *corev1.Node) { n.Annotations = map[string]string{PathAnnotation: "resource"} }),
		`{__address__="host-5:10250", `+rest+`__metrics_path__="/resource", `+labelled("/resource"))

	f(types("InternalIP"), node("n1", func(n *corev1.Node) { n.Status.Addresses = n.Status.Addresses[1:2] }),
		`{__address__="[fd00::5]:10250", __meta_kubernetes_node_address_InternalIP="fd00::5", __meta_kubernetes_node_name="n1", `+labelled("/metrics/resource"))
	f(types("ExternalIP", "ExternalDNS"), node("n1"), "it has no address of the types ExternalIP,ExternalDNS: set --kubelet-preferred-address-types")
	f(types("InternalIP"), node("n1", func(n *corev1.Node) { n.Status.Addresses = []corev1.NodeAddress{{Type: "InternalIP"}} }),
		"it has no address of the types InternalIP: set --kubelet-preferred-address-types")

	f(Options{NodeSelector: labels.SelectorFromSet(labels.Set{"zone": "b"})}, node("n1"), "")
	f(Options{NodeSelector: labels.SelectorFromSet(labels.Set{"zone": "a"})}, node("n1"), `{__address__="host-5:10250", `+rest+labelled("/metrics/resource"))
}
