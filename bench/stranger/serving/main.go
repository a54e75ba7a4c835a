// Command serving serves the custom metrics API over HTTPS.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"

	"k8s.io/apimachinery/pkg/api/resource"
	genericoptions "k8s.io/apiserver/pkg/server/options"

	"github.com/promlet/promlet/adapter/apiserver"
	"github.com/promlet/promlet/bench/stranger/internal/instance"
	"github.com/promlet/promlet/bench/stranger/internal/queue"
)

func main() { instance.Main(open) }

type program struct {
	queue  *queue.Queue
	server *apiserver.Server
	client *http.Client
	cancel context.CancelFunc
	ended  chan error
}

func open(cfg instance.Config) (*program, error) {
	depth, err := queue.Open(cfg)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	serving := genericoptions.NewSecureServingOptions()
	serving.Listener, serving.ServerCert.CertDirectory = listener, "" // a certificate in memory
	server, err := apiserver.New(apiserver.Options{Provider: depth.Provider, SecureServing: serving, Registry: cfg.Registry})
	if err != nil {
		return nil, errors.Join(err, listener.Close(), depth.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{queue: depth, server: server, cancel: cancel, ended: make(chan error, 1)}
	// curl -k: the certificate is made anew for each server.
	p.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // see above
	go func() { p.ended <- server.Run(ctx) }()
	return p, nil
}

// Ask implements instance.Instance.
func (p *program) Ask(ctx context.Context) (float64, error) {
	url := fmt.Sprintf("https://%s/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/worker-1/queue_depth", p.server.Addr())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var list struct {
		Items []struct{ Value resource.Quantity }
	}
	if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
		return 0, err
	}
	if len(list.Items) != 1 {
		return 0, fmt.Errorf("%s: %d values", response.Status, len(list.Items))
	}
	return list.Items[0].Value.AsApproximateFloat64(), nil
}

// Close implements instance.Instance.
func (p *program) Close() error {
	p.client.CloseIdleConnections()
	p.cancel()
	return errors.Join(<-p.ended, p.queue.Close())
}
