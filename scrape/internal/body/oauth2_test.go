package body

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	config_util "github.com/prometheus/common/config"
	"github.com/stretchr/testify/require"
)

func oauth2Config(tokenURL string) config_util.HTTPClientConfig {
	c := config_util.DefaultHTTPClientConfig
	c.OAuth2 = &config_util.OAuth2{
		ClientID: "me", ClientSecret: "s3cret", TokenURL: tokenURL, Scopes: []string{"metrics"}, EndpointParams: map[string]string{"audience": "app"},
	}
	return c
}

// A token is fetched once for all requests, and again when it has expired.
func TestTokensAreShared(t *testing.T) {
	var fetched atomic.Int32
	expires := `3600`
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetched.Add(1)
		id, secret, ok := r.BasicAuth()
		if !ok || id != "me" || secret != "s3cret" || r.FormValue("scope") != "metrics" || r.FormValue("audience") != "app" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token": "t1", "token_type": "Bearer", "expires_in": ` + expires + `}`))
	}))
	t.Cleanup(tokens.Close)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t1" {
			http.Error(w, "no", http.StatusUnauthorized)
		}
	}))
	t.Cleanup(app.Close)
	ask := func(client *http.Client) int {
		resp, err := client.Get(app.URL)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	client, err := newClient(oauth2Config(tokens.URL), new(net.Dialer).DialContext, nil)
	require.NoError(t, err)
	defer client.CloseIdleConnections()
	for range 3 {
		require.Equal(t, http.StatusOK, ask(client))
	}
	require.EqualValues(t, 1, fetched.Load())
	expires = `1` // within what counts as expired
	client, err = newClient(oauth2Config(tokens.URL), new(net.Dialer).DialContext, nil)
	require.NoError(t, err)
	defer client.CloseIdleConnections()
	require.Equal(t, http.StatusOK, ask(client))
	require.Equal(t, http.StatusOK, ask(client))
	require.EqualValues(t, 3, fetched.Load())
}

func TestTokenEndpointRedirects(t *testing.T) {
	got := make(chan string, 10)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		got <- r.Form.Encode() + r.Header.Get("Authorization")
	}))
	t.Cleanup(other.Close)
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1), http.StatusTemporaryRedirect)
	}))
	t.Cleanup(tokens.Close)
	client, err := newClient(oauth2Config(tokens.URL), new(net.Dialer).DialContext, nil)
	require.NoError(t, err)
	defer client.CloseIdleConnections()
	_, err = client.Get(other.URL)
	require.ErrorContains(t, err, "would take the credentials to localhost")
	require.NotContains(t, err.Error(), "s3cret")
	require.Empty(t, got)
}
