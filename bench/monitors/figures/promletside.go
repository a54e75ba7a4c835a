package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"k8s.io/client-go/rest"

	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/cluster"
	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/scrape"
)

// startPromlet starts promlet's discovery and scraping, as promlet itself does.
func startPromlet(parent context.Context, s *setup) (*side, error) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	manager, err := scrape.NewManager(scrape.Options{
		Appendable:        discard{},
		Logger:            slog.New(slog.DiscardHandler), // targets come and go
		Registerer:        prometheus.NewRegistry(),
		HTTPClientOptions: dialTo(s.Targets),
	})
	if err != nil {
		return nil, fmt.Errorf("make scrape manager: %w", err)
	}
	clients, err := cluster.NewClients(&rest.Config{Host: s.APIServer})
	if err != nil {
		return nil, err
	}
	discoverer := discovery.New(objects.NewStore(), discovery.Options{Logger: logger})
	source := cluster.New(clients, cluster.Options{Logger: logger})

	var applied atomic.Int64
	apply := func(configs []*config.ScrapeConfig, groups map[string][]*targetgroup.Group) error {
		applied.Add(1)
		return manager.Apply(configs, groups)
	}
	ctx, cancel := context.WithCancel(parent)
	failed := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { failed <- discoverer.Run(ctx, source, apply) })
	return &side{
		active:  manager.TargetsActive,
		updates: func() (int, error) { return int(applied.Load()), nil },
		failed:  failed,
		stop: func() {
			cancel()
			wg.Wait()
			manager.Stop()
		},
	}, nil
}
