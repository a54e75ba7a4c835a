package adapter

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Without credentials only what a kubelet probes is answered.
func TestRequireCredentials(t *testing.T) {
	fault := errors.New("token is of another cluster")
	f := func(caller, path string, err error, want bool) {
		t.Helper()
		inner := authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
			return &authenticator.Response{User: &user.DefaultInfo{Name: caller}}, caller != "", err
		})
		_, ok, got := requireCredentials(inner, []string{"/readyz"}).AuthenticateRequest(httptest.NewRequest(http.MethodGet, path, nil))
		require.Equal(t, want, ok, "%s at %s", caller, path)
		require.Equal(t, err, got)
	}
	f("jane", "/apis", nil, true)
	f("jane", "/readyz", nil, true)
	f(user.Anonymous, "/readyz", nil, true)
	f(user.Anonymous, "/readyz/samples", nil, false)
	f(user.Anonymous, "/apis/custom.metrics.k8s.io/v1beta2", nil, false)
	f(user.Anonymous, "/metrics", nil, false)
	f("", "/readyz", fault, false)
	f("", "/apis", fault, false)
}
