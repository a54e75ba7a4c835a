package body

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	config_util "github.com/prometheus/common/config"
	"github.com/stretchr/testify/require"
)

// withCredentials are the ways in which a request can carry credentials.
func withCredentials(tokenURL string) map[string]config_util.HTTPClientConfig {
	with := func(change func(*config_util.HTTPClientConfig)) config_util.HTTPClientConfig {
		c := config_util.DefaultHTTPClientConfig
		change(&c)
		return c
	}
	return map[string]config_util.HTTPClientConfig{
		"basic auth": with(func(c *config_util.HTTPClientConfig) {
			c.BasicAuth = &config_util.BasicAuth{Username: "me", Password: "secret"}
		}),
		"authorization": with(func(c *config_util.HTTPClientConfig) {
			c.Authorization = &config_util.Authorization{Type: "Bearer", Credentials: "secret"}
		}),
		"oauth2": with(func(c *config_util.HTTPClientConfig) {
			c.OAuth2 = &config_util.OAuth2{ClientID: "me", ClientSecret: "secret", TokenURL: tokenURL}
		}),
	}
}

// TestRedirectsKeepCredentials follows redirects between two hosts of the loopback
// network.
func TestRedirectsKeepCredentials(t *testing.T) {
	var seen []string // the Authorization headers, with the host they came to
	record := func(r *http.Request) {
		host, _, _ := strings.Cut(r.Host, ":")
		seen = append(seen, host+" "+strings.Fields(r.Header.Get("Authorization") + " none")[0])
	}
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { record(r) }))
	t.Cleanup(other.Close)
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		record(r)
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1), http.StatusFound)
		case "/port":
			http.Redirect(w, r, other.URL, http.StatusFound)
		}
	}))
	t.Cleanup(target.Close)
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token": "secret", "token_type": "Bearer", "expires_in": 3600}`))
	}))
	t.Cleanup(tokens.Close)

	for name, cfg := range withCredentials(tokens.URL) {
		t.Run(name, func(t *testing.T) {
			client, err := newClient(cfg, new(net.Dialer).DialContext, nil)
			require.NoError(t, err)
			defer client.CloseIdleConnections()
			scheme := "Bearer"
			if cfg.BasicAuth != nil {
				scheme = "Basic"
			}
			for path, want := range map[string][]string{
				"/away": {"127.0.0.1 " + scheme, "localhost none"},
				"/port": {"127.0.0.1 " + scheme, "127.0.0.1 " + scheme},
			} {
				seen = nil
				resp, err := client.Get(target.URL + path)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, want, seen, path)
			}
		})
	}
}

func TestRedirectPolicy(t *testing.T) {
	none := config_util.DefaultHTTPClientConfig
	certificate := none
	certificate.TLSConfig.CertFile = "/crt"
	basic := withCredentials("")["basic auth"]
	for _, tc := range []struct {
		cfg      config_util.HTTPClientConfig
		from, to string
		err      string
	}{
		{none, "http://a/", "http://b/", ""},
		{none, "https://a/", "http://a/", ""},
		{basic, "http://a/", "https://a:8443/x", ""},
		{basic, "http://a/", "http://b/", ""}, // without the header, as the test above shows
		{basic, "https://a/", "http://A:80/", "unencrypted"},
		{basic, "http://a/", "http://evil.a/", "would take the credentials to evil.a"},
		{basic, "http://a/", "http://ba/", ""},
		{certificate, "https://a/", "https://b/", "would take the credentials to b"},
		{certificate, "https://a/", "https://a:1/", ""},
	} {
		from, err := url.Parse(tc.from)
		require.NoError(t, err)
		to, err := url.Parse(tc.to)
		require.NoError(t, err)
		err = policyOf(&tc.cfg).check(&http.Request{URL: to}, []*http.Request{{URL: from}})
		if tc.err == "" {
			require.NoError(t, err, tc)
		} else {
			require.ErrorContains(t, err, tc.err, tc)
		}
	}
	hops := make([]*http.Request, maxRedirects)
	require.ErrorContains(t, policyOf(&none).check(&http.Request{}, hops), "stopped after 10 redirects")
}
