package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	promscrape "github.com/prometheus/prometheus/scrape"
	"k8s.io/client-go/rest"

	"github.com/promlet/promlet/bench/internal/harness"
	"github.com/promlet/promlet/bench/internal/sink"
	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/scrape"
)

// The two sides.
const (
	sidePromlet    = "promlet"
	sidePrometheus = "prometheus"
)

// The lines that a side is sent.
const (
	askCount   = "count"   // how many targets have a scrape loop
	askUpdates = "updates" // how often one job's targets have been brought up to date
	askTargets = "targets" // job, URL and labels of each target, sorted
)

// setup is what a side is started with.
type setup struct {
	Side      string
	APIServer string // URL
	Targets   string // the address that stands for every target's
	Config    string // Prometheus's configuration, for its side
	// Batch is how long Prometheus's two stages gather changes, at most. 0 is its
	// defaults.
	Batch time.Duration
}

// side is a running pipeline from informers to scrape loops, in a child process.
type side struct {
	active  func() map[string][]*promscrape.Target
	updates func() (int, error)
	// failed gets the error with which a part ends before stop is called.
	failed <-chan error
	// stop ends it all and waits.
	stop func()
}

func startSide(ctx context.Context, text []byte) (harness.Child, error) {
	s := &setup{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("read setup: %w", err)
	}
	start := startPromlet
	if s.Side == sidePrometheus {
		start = startPrometheus
	}
	side, err := start(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Side, err)
	}
	return side, nil
}

// Close ends the side and waits.
func (s *side) Close() error {
	s.stop()
	return nil
}

// Answer answers one of the lines.
func (s *side) Answer(line string) (any, error) {
	select {
	case err := <-s.failed:
		return nil, fmt.Errorf("discover or scrape: %w", err)
	default:
	}
	switch line {
	case askCount:
		n := 0
		for _, ts := range s.active() {
			n += len(ts)
		}
		return n, nil
	case askUpdates:
		return s.updates()
	case askTargets:
		return s.targets(), nil
	}
	return nil, errors.New("unknown command")
}

// targets lists the targets by job, URL and labels.
func (s *side) targets() []string {
	out := []string{}
	for job, ts := range s.active() {
		for _, t := range ts {
			ls := map[string]string{}
			t.LabelsRange(func(l labels.Label) { ls[l.Name] = l.Value })
			text, _ := json.Marshal(ls) // a map of strings cannot fail; keys are sorted
			out = append(out, fmt.Sprintf("%s %s %s", job, t.URL(), text))
		}
	}
	slices.Sort(out)
	return out
}

// dialTargets makes every connection lead to the address of the targets.
func (s *setup) dialTargets() []config_util.HTTPClientOption {
	return []config_util.HTTPClientOption{config_util.WithDialContextFunc(harness.DialTo(s.Targets))}
}

// startPromlet starts promlet's discovery and scraping, as promlet itself does.
func startPromlet(parent context.Context, s *setup) (*side, error) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	manager, err := scrape.NewManager(scrape.Options{
		Appendable:        &sink.Sink{},
		Logger:            slog.New(slog.DiscardHandler), // targets come and go
		Registerer:        prometheus.NewRegistry(),
		HTTPClientOptions: s.dialTargets(),
	})
	if err != nil {
		return nil, fmt.Errorf("make scrape manager: %w", err)
	}
	clients, err := discovery.NewClients(&rest.Config{Host: s.APIServer})
	if err != nil {
		return nil, err
	}
	discoverer := discovery.New(discovery.NewObjects(), discovery.Options{Logger: logger})
	source := discovery.Cluster(clients, discovery.ClusterOptions{Logger: logger})

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
