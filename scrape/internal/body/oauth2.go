package body

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	config_util "github.com/prometheus/common/config"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// tokens adds an OAuth2 token to requests. Prometheus's own round tripper fetches
// tokens without a deadline and under a lock: a token endpoint that does not answer
// would block every scrape of the job, and the end of its loops.
type tokens struct {
	base   http.RoundTripper
	conf   clientcredentials.Config
	client *http.Client // of the token endpoint

	token chan *oauth2.Token // holds the last token, nil before the first, unless one is fetched
}

// plainOAuth2 reports whether tokens can replace Prometheus's round tripper: the grant
// is client_credentials, and the secret is in the configuration.
func plainOAuth2(c *config_util.OAuth2) bool {
	return c != nil && (c.GrantType == "" || c.GrantType == "client_credentials") && c.ClientSecretFile == "" && c.ClientSecretRef == ""
}

func newTokens(base http.RoundTripper, c *config_util.OAuth2, opts []config_util.HTTPClientOption) (*tokens, error) {
	transport, err := config_util.NewRoundTripperFromConfig(config_util.HTTPClientConfig{
		TLSConfig: c.TLSConfig, ProxyConfig: c.ProxyConfig,
	}, clientName, opts...)
	if err != nil {
		return nil, fmt.Errorf("make HTTP client of the token endpoint: %w", err)
	}
	params := url.Values{}
	for name, value := range c.EndpointParams {
		params.Set(name, value)
	}
	t := &tokens{
		base: base,
		conf: clientcredentials.Config{
			ClientID: c.ClientID, ClientSecret: string(c.ClientSecret), TokenURL: c.TokenURL, Scopes: c.Scopes, EndpointParams: params,
		},
		client: &http.Client{Transport: transport, CheckRedirect: redirectPolicy{headers: true, others: true}.check},
		token:  make(chan *oauth2.Token, 1),
	}
	t.token <- nil
	return t, nil
}

// RoundTrip implements [http.RoundTripper].
func (t *tokens) RoundTrip(req *http.Request) (*http.Response, error) {
	if leftHost(req) {
		return t.base.RoundTrip(req)
	}
	token, err := t.get(req.Context())
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	token.SetAuthHeader(req)
	return t.base.RoundTrip(req)
}

// CloseIdleConnections is called by [http.Client.CloseIdleConnections].
func (t *tokens) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
	t.client.CloseIdleConnections()
}

// get returns the token, or fetches one within ctx if there is none that is valid.
func (t *tokens) get(ctx context.Context) (*oauth2.Token, error) {
	var token *oauth2.Token
	select {
	case token = <-t.token:
		defer func() { t.token <- token }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the token endpoint: %w", ctx.Err())
	}
	if token.Valid() {
		return token, nil
	}
	fetched, err := t.conf.Token(context.WithValue(ctx, oauth2.HTTPClient, t.client))
	if err != nil {
		return nil, fmt.Errorf("fetch OAuth2 token: %w", err)
	}
	token = fetched
	return token, nil
}

// leftHost reports whether redirects have led a request to another host, or through
// one.
func leftHost(req *http.Request) bool {
	first := req
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	for r := req; r != first; r = r.Response.Request {
		if !strings.EqualFold(r.URL.Hostname(), first.URL.Hostname()) {
			return true
		}
	}
	return false
}
