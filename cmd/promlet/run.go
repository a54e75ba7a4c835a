package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apiserver/pkg/server/healthz"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/tsdb"
)

// serve runs promlet until ctx is done. It is the only place that knows all
// packages, and touches nothing that belongs to the whole process.
func serve(ctx context.Context, opts *options, logger *slog.Logger) (err error) {
	cfg, err := loadConfig(opts.config)
	if err != nil {
		return err
	}
	for _, key := range cfg.notServed() {
		logger.Warn("these rules are not served: promlet serves custom metrics", "config", opts.config, "key", key)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	db, err := tsdb.Open(tsdb.Options{
		Dir:            opts.dataDir,
		Logger:         logger.With("component", "tsdb"),
		Registerer:     registry,
		Retention:      opts.retention,
		MaxSamples:     opts.queryMaxSamples,
		QueryTimeout:   opts.queryTimeout,
		MaxConcurrency: opts.queryMaxConcurrency,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	scraper, err := scrape.NewManager(scrape.Options{
		Appendable: db,
		Logger:     logger.With("component", "scrape"),
		Registerer: registry,
		UserAgent:  "promlet/" + buildVersion(),
	})
	if err != nil {
		return err
	}
	// No samples are appended once this returns, so that db can be closed.
	defer scraper.Stop()

	source, mapper, err := opts.source(logger)
	if err != nil {
		return err
	}
	objects := discovery.NewObjects()
	discoverer := discovery.New(objects, discovery.Options{
		Logger:          logger.With("component", "discovery"),
		ScrapeInterval:  opts.scrapeInterval,
		ScrapeTimeout:   opts.scrapeTimeout,
		ServiceMonitors: cfg.ServiceMonitors,
		PodMonitors:     cfg.PodMonitors,
		Annotations:     opts.scrapeAnnotations,
	})
	app := &app{opts: opts, logger: logger, registry: registry, db: db, scraper: scraper, discoverer: discoverer, source: source}
	app.longestInterval.Store(int64(opts.scrapeInterval))
	return app.run(ctx, objects, mapper, cfg.Rules)
}

// app holds the running parts of one promlet.
type app struct {
	opts       *options
	logger     *slog.Logger
	registry   *prometheus.Registry
	db         *tsdb.DB
	scraper    *scrape.Manager
	discoverer *discovery.Discoverer
	source     discovery.Source

	longestInterval atomic.Int64 // nanoseconds, of the jobs in force
}

func (a *app) run(ctx context.Context, objects *discovery.Objects, mapper meta.RESTMapper, rules []adapter.Rule) error {
	if len(rules) == 0 {
		rules = adapter.DefaultRules(adapter.RateWindow(a.opts.rateWindow, a.opts.scrapeInterval))
	}
	provider, err := adapter.NewProvider(adapter.Options{
		DB:       a.db,
		Objects:  objects.Lister,
		Mapper:   mapper,
		Rules:    rules,
		Interval: func() time.Duration { return time.Duration(a.longestInterval.Load()) },
		Logger:   a.logger.With("component", "adapter"),
	})
	if err != nil {
		return fmt.Errorf("--config=%s: %w", a.opts.config, err)
	}
	// Listen before anything runs, so that a port in use is found first.
	listener, err := a.listenWeb(ctx)
	if err != nil {
		return err
	}
	serverOptions := adapter.ServerOptions{
		Provider:      provider,
		SecureServing: a.opts.serving,
		ReadyChecks:   []healthz.HealthChecker{healthz.NamedCheck("discovery", func(*http.Request) error { return a.ready() })},
	}
	if a.opts.manifests == "" {
		serverOptions.Authentication, serverOptions.Authorization = a.opts.authentication, a.opts.authorization
	}
	server, err := adapter.NewServer(serverOptions)
	if err != nil {
		err = fmt.Errorf("--secure-port=%d: %w", a.opts.serving.BindPort, err)
		if listener != nil {
			err = errors.Join(err, listener.Close())
		}
		return err
	}

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.discoverer.Run(ctx, a.source, a.apply) })
	group.Go(func() error { return server.Run(ctx) })
	if listener != nil {
		web := &web{
			targets:  a.scraper.TargetsActive,
			problems: a.problems,
			ready:    a.ready,
			gatherer: a.registry,
			logger:   a.logger.With("component", "web"),
		}
		group.Go(func() error { return web.run(ctx, listener) })
	}
	a.logger.Info("promlet started", "version", buildVersion(), "api", fmt.Sprintf("https://%s:%d", a.opts.serving.BindAddress, a.opts.serving.BindPort), "web", a.opts.webListenAddress)
	err = group.Wait()
	a.logger.Info("promlet stopped")
	return err
}

// apply passes what was discovered on to be scraped.
func (a *app) apply(configs []*config.ScrapeConfig, groups map[string][]*targetgroup.Group) error {
	longest := a.opts.scrapeInterval
	for _, c := range configs {
		longest = max(longest, time.Duration(c.ScrapeInterval))
	}
	a.longestInterval.Store(int64(longest))
	return a.scraper.Apply(configs, groups)
}

// problems tells what stands between people and their metrics.
func (a *app) problems() []string {
	problems := a.source.Problems()
	for _, m := range a.discoverer.Monitors() {
		if m.Err != nil {
			problems = append(problems, fmt.Sprintf("%s %s/%s is rejected: %v", m.Kind, m.Namespace, m.Name, m.Err))
		}
	}
	for _, d := range a.db.Damage() {
		problems = append(problems, fmt.Sprintf("data directory: %s was damaged when promlet started (%s), lost: %s", d.Path, d.Problem, d.Lost))
	}
	return problems
}

// ready tells why promlet cannot answer yet, nil when it can.
func (a *app) ready() error {
	if a.discoverer.HasSynced() {
		return nil
	}
	reason := "what there is to scrape has not been listed yet"
	if problems := a.source.Problems(); len(problems) > 0 {
		reason += ": " + strings.Join(problems, "; ")
	}
	return errors.New(reason)
}

func (a *app) listenWeb(ctx context.Context) (net.Listener, error) {
	if a.opts.webListenAddress == "" {
		return nil, nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.opts.webListenAddress)
	if err != nil {
		return nil, fmt.Errorf("--web-listen-address=%s: %w", a.opts.webListenAddress, err)
	}
	return listener, nil
}
