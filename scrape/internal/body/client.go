package body

import (
	"fmt"
	"net/http"

	config_util "github.com/prometheus/common/config"
)

// clientName labels connection metrics of the default registry. They would grow with
// every job ever seen, so all clients have the same name.
const clientName = "promlet"

// newClient makes the HTTP client of a job.
func newClient(cfg config_util.HTTPClientConfig, opts []config_util.HTTPClientOption) (*http.Client, error) {
	policy := policyOf(&cfg)
	auth := cfg.OAuth2
	if plainOAuth2(auth) {
		cfg.OAuth2 = nil
	} else if auth != nil { // The client keeps its proxy in there.
		dup := *auth
		cfg.OAuth2 = &dup
	}
	client, err := config_util.NewClientFromConfig(cfg, clientName, opts...)
	if err != nil {
		return nil, fmt.Errorf("make HTTP client: %w", err)
	}
	if plainOAuth2(auth) {
		if client.Transport, err = newTokens(client.Transport, auth, opts); err != nil {
			return nil, err
		}
	}
	client.Transport = exchanges{client.Transport}
	if cfg.FollowRedirects {
		client.CheckRedirect = policy.check
	}
	return client, nil
}
