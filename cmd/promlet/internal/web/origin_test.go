package web

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// Pages of other origins have nothing evaluated, whether their requests show it by headers or by a host name that
// resolves to this machine.
func TestPagesOfOtherOrigins(t *testing.T) {
	opts := nothing(t)
	asked := 0
	opts.API = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ })
	s, err := New(opts)
	require.NoError(t, err)
	f := func(want int, method, path string, headers ...string) {
		t.Helper()
		r := httptest.NewRequest(method, path, nil)
		r.Host = "127.0.0.1:9090"
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		if host := r.Header.Get("Host"); host != "" {
			r.Host = host
		}
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}))
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		require.Equal(t, want, w.Code, w.Body)
	}
	const query = "/api/v1/query?query=up"
	f(http.StatusOK, "GET", query)
	f(http.StatusOK, "POST", query, "Sec-Fetch-Site", "same-origin", "Origin", "http://127.0.0.1:9090")
	f(http.StatusOK, "GET", query, "Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate")
	require.Equal(t, 3, asked)
	f(http.StatusForbidden, "GET", query, "Sec-Fetch-Site", "cross-site")
	f(http.StatusForbidden, "GET", query, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate")
	f(http.StatusForbidden, "GET", query, "Sec-Fetch-Site", "same-site")
	f(http.StatusForbidden, "POST", query, "Origin", "https://evil.example")
	f(http.StatusForbidden, "POST", query, "Origin", "http://127.0.0.1:3000")
	f(http.StatusForbidden, "POST", query, "Origin", "null")
	f(http.StatusForbidden, "GET", query, "Host", "evil.example:9090")
	f(http.StatusForbidden, "GET", "/explain?metric=x&namespace=y", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate")
	require.Equal(t, 3, asked)
	f(http.StatusFound, "GET", "/", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate")
	f(http.StatusForbidden, "GET", "/", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors")
}
