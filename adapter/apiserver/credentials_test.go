package apiserver

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/path"
)

// Without credentials only what a kubelet probes is answered.
func TestRequireCredentials(t *testing.T) {
	fault := errors.New("token is of another cluster")
	open, err := path.NewAuthorizer([]string{"/readyz", "/livez/*"})
	require.NoError(t, err)
	f := func(caller, path string, err error, want bool) {
		t.Helper()
		inner := authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
			return &authenticator.Response{User: &user.DefaultInfo{Name: caller}}, caller != "", err
		})
		_, ok, got := requireCredentials(inner, open).AuthenticateRequest(httptest.NewRequest(http.MethodGet, path, nil))
		require.Equal(t, want, ok, "%s at %s", caller, path)
		require.ErrorIs(t, got, err)
	}
	f("jane", "/apis", nil, true)
	f("jane", "/readyz", nil, true)
	f(user.Anonymous, "/readyz", nil, true)
	f(user.Anonymous, "/readyz/samples", nil, false)
	f(user.Anonymous, "/livez/ping", nil, true)
	f(user.Anonymous, "/apis/custom.metrics.k8s.io/v1beta2", nil, false)
	f(user.Anonymous, "/metrics", nil, false)
	f("", "/readyz", fault, false)
	f("", "/apis", fault, false)
}

// Who came without credentials to kube-apiserver came with its certificate to us.
func TestRequireCredentialsOfTheFrontProxy(t *testing.T) {
	open, err := path.NewAuthorizer(nil)
	require.NoError(t, err)
	inner := authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
		return &authenticator.Response{User: &user.DefaultInfo{Name: user.Anonymous}}, true, nil
	})
	request := httptest.NewRequest(http.MethodGet, "/apis", nil)
	request.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}
	_, ok, err := requireCredentials(inner, open).AuthenticateRequest(request)
	require.NoError(t, err)
	require.True(t, ok)
}

// From the shutdown on, a client makes its requests elsewhere.
func TestPartWithClients(t *testing.T) {
	shutdown := make(chan struct{})
	server := httptest.NewUnstartedServer(partWithClients(shutdown, http.NotFoundHandler()))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	reused := func() bool {
		var reused bool
		trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }}
		request, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, server.URL, http.NoBody)
		require.NoError(t, err)
		response, err := server.Client().Do(request)
		require.NoError(t, err)
		require.Equal(t, 2, response.ProtoMajor)
		require.NoError(t, response.Body.Close())
		return reused
	}
	require.False(t, reused())
	require.True(t, reused())
	close(shutdown)
	reused() // is told so
	require.Eventually(t, func() bool { return !reused() }, 10*time.Second, 10*time.Millisecond)
}
