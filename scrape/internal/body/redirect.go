package body

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	config_util "github.com/prometheus/common/config"

	"github.com/promlet/promlet/scrape/internal/reason"
)

// maxRedirects is net/http's.
const maxRedirects = 10

// redirectPolicy follows redirects unless that would send credentials to another host,
// or unencrypted. net/http leaves headers out on the way to another host, but not to a
// subdomain; what else has credentials goes everywhere.
type redirectPolicy struct {
	headers bool // have credentials
	others  bool // the client certificate or the body has
}

// policyOf returns the policy for a client's configuration.
func policyOf(cfg *config_util.HTTPClientConfig) redirectPolicy {
	return redirectPolicy{
		headers: cfg.BasicAuth != nil || cfg.Authorization != nil || cfg.OAuth2 != nil || cfg.BearerToken != "" || cfg.BearerTokenFile != "",
		others:  cfg.TLSConfig.Cert != "" || cfg.TLSConfig.CertFile != "",
	}
}

// check is a [http.Client.CheckRedirect].
func (p redirectPolicy) check(next *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	first := via[0].URL
	from, to := strings.ToLower(first.Hostname()), strings.ToLower(next.URL.Hostname())
	switch {
	case from == to && p.headers && first.Scheme == "https" && next.URL.Scheme != "https":
		return errors.New("redirect not followed: it would send the credentials unencrypted")
	case from == to:
	case p.others, p.headers && strings.HasSuffix(to, "."+from):
		return fmt.Errorf("redirect not followed: it would take the credentials to %s", reason.Shorten(to, reason.MaxExcerpt))
	}
	return nil
}
