// Command handling serves the custom metrics API on a server of its own, beside the program's metrics.
package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/promlet/promlet/adapter/apiserver"
	"github.com/promlet/promlet/bench/stranger/internal/instance"
	"github.com/promlet/promlet/bench/stranger/internal/queue"
)

func main() { instance.Main(open) }

type program struct {
	queue  *queue.Queue
	server *httptest.Server
	cancel context.CancelFunc
	ended  chan error
}

func open(config instance.Config) (*program, error) {
	depth, err := queue.Open(config)
	if err != nil {
		return nil, err
	}
	handler, err := apiserver.NewHandler(apiserver.Options{Provider: depth.Provider, Registry: config.Registry})
	if err != nil {
		return nil, errors.Join(err, depth.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("/apis/", handler)
	mux.Handle("/metrics", promhttp.HandlerFor(config.Registry, promhttp.HandlerOpts{}))
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{queue: depth, server: httptest.NewTLSServer(mux), cancel: cancel, ended: make(chan error, 1)}
	go func() { p.ended <- handler.Run(ctx) }()
	return p, nil
}

// Ask implements instance.Instance.
func (p *program) Ask(ctx context.Context) (float64, error) {
	return queue.Depth(ctx, p.server.Client(), p.server.URL)
}

// Close implements instance.Instance.
func (p *program) Close() error {
	p.cancel()
	err := <-p.ended // the requests under way have been answered
	p.server.Close()
	return errors.Join(err, p.queue.Close())
}
