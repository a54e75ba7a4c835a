package body

import (
	"fmt"
	"net/http"

	config_util "github.com/prometheus/common/config"
)

// clientName labels connection metrics of the default registry. They would grow with
// every job ever seen, so all clients have the same name.
const clientName = "promlet"

// readBuffer and writeBuffer are the bytes of a connection's buffers. The connection keeps them while it is idle. A request
// and the header of its answer fit into them; longer reads and writes bypass them.
const readBuffer, writeBuffer = 1 << 10, 1 << 10

// newClient makes the HTTP client of a job. It connects with dial, unless opts replace it.
func newClient(cfg config_util.HTTPClientConfig, dial DialFunc, opts []config_util.HTTPClientOption) (*http.Client, error) {
	replaceable := len(opts) > 0
	opts = append([]config_util.HTTPClientOption{
		config_util.WithDialContextFunc(dial),
		// With HTTP/2 up to 4 MiB of each target are buffered before they are read.
		config_util.WithHTTP2Disabled(),
	}, opts...)
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
	// True without authorization and certificate files, so for nearly all targets.
	if transport, ok := client.Transport.(*http.Transport); ok {
		transport.ReadBufferSize, transport.WriteBufferSize = readBuffer, writeBuffer
		if !replaceable {
			transport.DialContext = dial // without the event log of 6 KB that the library opens for each connection
		}
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
