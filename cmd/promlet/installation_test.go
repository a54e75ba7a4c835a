package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	certutil "k8s.io/client-go/util/cert"
)

// writePair writes a certificate for a name, and its key, beside and renames them.
func writePair(t *testing.T, dir, host string) {
	t.Helper()
	cert, key, err := certutil.GenerateSelfSignedCertKey(host, nil, nil)
	require.NoError(t, err)
	for name, content := range map[string][]byte{"tls.crt": cert, "tls.key": key} {
		temporary := filepath.Join(dir, "."+name)
		require.NoError(t, os.WriteFile(temporary, content, 0o600))
		require.NoError(t, os.Rename(temporary, filepath.Join(dir, name)))
	}
}

// A certificate of somebody else's is used, and followed when it is renewed.
func TestServeWithACertificateFromFiles(t *testing.T) {
	manifests, certs := t.TempDir(), t.TempDir()
	writeManifests(t, manifests, nil)
	writePair(t, certs, "first.promlet.svc")
	p := startProcess(t, manifests, t.TempDir(), "--tls-cert-file", filepath.Join(certs, "tls.crt"), "--tls-private-key-file", filepath.Join(certs, "tls.key"))
	served := func() []string {
		conn, err := tls.Dial("tcp", p.api[len("https://"):], &tls.Config{InsecureSkipVerify: true})
		require.NoError(t, err)
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].DNSNames
	}
	require.Contains(t, served(), "first.promlet.svc")
	writePair(t, certs, "second.promlet.svc")
	require.Eventually(t, func() bool { return served()[0] == "second.promlet.svc" }, 2*patience, 200*time.Millisecond)
	require.NoError(t, p.terminate())
}

func TestKeeperIsForACertificateOfItsOwn(t *testing.T) {
	c := &cluster{config: &rest.Config{Host: "https://127.0.0.1:1"}, namespace: "promlet"}
	f := func(c *cluster, secret, file string, want bool) {
		t.Helper()
		opts := newOptions()
		opts.servingCertSecret, opts.serving.ServerCert.CertKey.CertFile = secret, file
		keeper, err := opts.keeper(c, nil, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		require.Equal(t, want, keeper != nil)
	}
	f(c, "promlet-serving-cert", "", true)
	f(c, "promlet-serving-cert", "/tls/tls.crt", false)
	f(c, "", "", false)
	f(nil, "promlet-serving-cert", "", false)
}

func TestNamespaceIsTheKubeconfigs(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(kubeconfig, []byte(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c, namespace: monitoring}}]
current-context: c
`), 0o600))
	opts := newOptions()
	opts.kubeconfig = kubeconfig
	c, err := opts.cluster()
	require.NoError(t, err)
	require.Equal(t, "monitoring", c.namespace)
	require.Equal(t, "https://127.0.0.1:1", c.config.Host)
	opts.namespace = "elsewhere"
	c, err = opts.cluster()
	require.NoError(t, err)
	require.Equal(t, "elsewhere", c.namespace)
	opts.kubeconfig = kubeconfig + ".missing"
	_, err = opts.cluster()
	require.ErrorContains(t, err, "--kubeconfig="+opts.kubeconfig)
}

// An API server that comes up later is waited for; one that refuses is there.
func TestClusterWait(t *testing.T) {
	silent := slog.New(slog.DiscardHandler)
	var asked atomic.Int64
	code := http.StatusServiceUnavailable
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 2 {
			code = http.StatusForbidden
		}
		w.WriteHeader(code)
	}))
	defer server.Close()
	c := &cluster{config: &rest.Config{Host: server.URL}}
	require.NoError(t, c.wait(t.Context(), time.Minute, silent))
	require.Equal(t, int64(2), asked.Load())

	c.config.Host = "http://127.0.0.1:" + freePort(t)
	require.ErrorContains(t, c.wait(t.Context(), time.Millisecond, silent), "the API server at "+c.config.Host+" does not answer")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, c.wait(ctx, time.Minute, silent), context.Canceled)
}
