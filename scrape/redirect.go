package scrape

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	config_util "github.com/prometheus/common/config"
)

// maxRedirects is net/http's.
const maxRedirects = 10

// redirectPolicy follows redirects except where that would carry the target's
// credentials to another host, or in the clear what was to be encrypted. On the way
// to another host the client leaves headers out by itself, but neither for a
// subdomain nor the client certificate.
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
			return fmt.Errorf("redirect not followed: it would take the credentials to %s", shorten(to, maxExcerpt))
		}
		return nil
	}
}
