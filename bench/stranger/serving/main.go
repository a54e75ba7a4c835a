// Command serving serves the custom metrics API over HTTPS.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"

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
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
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
	return queue.Depth(ctx, p.client, "https://"+p.server.Addr().String())
}

// Close implements instance.Instance.
func (p *program) Close() error {
	p.client.CloseIdleConnections()
	p.cancel()
	return errors.Join(<-p.ended, p.queue.Close())
}
