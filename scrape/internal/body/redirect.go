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

// redirectPolicy follows redirects unless that would send the target's credentials to
// another host, or unencrypted. net/http leaves headers out on the way to another host,
// but not to a subdomain, and it always sends the client certificate.
func redirectPolicy(cfg *config_util.HTTPClientConfig) func(*http.Request, []*http.Request) error {
	headers := cfg.BasicAuth != nil || cfg.Authorization != nil || cfg.OAuth2 != nil || cfg.BearerToken != "" || cfg.BearerTokenFile != ""
	certificate := cfg.TLSConfig.Cert != "" || cfg.TLSConfig.CertFile != ""
	return func(next *http.Request, via []*http.Request) error {
		if len(via) >= maxRedirects {
			return fmt.Errorf("stopped after %d redirects", maxRedirects)
		}
		first := via[0].URL
		from, to := strings.ToLower(first.Hostname()), strings.ToLower(next.URL.Hostname())
		switch {
		case from == to && headers && first.Scheme == "https" && next.URL.Scheme != "https":
			return errors.New("redirect not followed: it would send the credentials unencrypted")
		case from == to:
		case certificate, headers && strings.HasSuffix(to, "."+from):
			return fmt.Errorf("redirect not followed: it would take the credentials to %s", reason.Shorten(to, reason.MaxExcerpt))
		}
		return nil
	}
}
