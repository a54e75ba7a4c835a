package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/client-go/tools/record"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/adapter/apiserver"
	"github.com/promlet/promlet/adapter/engine"
	"github.com/promlet/promlet/adapter/servingcert"
	"github.com/promlet/promlet/cmd/promlet/configfile"
	"github.com/promlet/promlet/cmd/promlet/web"
	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/scrape/seriesroom"
	"github.com/promlet/promlet/tsdb"
	"github.com/promlet/promlet/tsdb/remotewrite"
)

// serve runs promlet until ctx is done. It is the only place that knows all packages,
// and changes nothing of the process as a whole.
func serve(ctx context.Context, opts *options, logger *slog.Logger) (err error) {
	file, data, err := configfile.Load(opts.config)
	if err != nil {
		return fmt.Errorf("--config=%s: %w", opts.config, err)
	}
	registry := newRegistry()
	asked, err := opts.newEngine(file, registry, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, asked.Close()) }()
	removeData, err := opts.temporaryData(asked)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeData()) }()

	room := opts.seriesRoom()
	db, err := tsdb.Open(opts.storage(room, registry, logger))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	writer := opts.remoteWriter(registry, logger)
	defer func() { err = errors.Join(err, writer.Close()) }()
	scraper, err := scrape.NewManager(opts.scraping(db, room, registry, logger))
	if err != nil {
		return err
	}
	// No samples are appended once this returns, so that db can be closed.
	defer scraper.Stop()

	cluster, err := opts.connect(ctx, logger)
	if err != nil {
		return err
	}
	source, mapper, err := opts.source(cluster, registry, logger)
	if err != nil {
		return err
	}
	keeper, err := opts.keeper(cluster, registry, logger)
	if err != nil {
		return err
	}
	events, stopEvents, err := opts.events(cluster)
	if err != nil {
		return err
	}
	defer stopEvents()
	store := objects.NewStore()
	discoverer := discovery.New(store, opts.discovery(file, events, registry, logger))
	app := &app{
		opts: opts, logger: logger, registry: registry, db: db, room: room, writer: writer, scraper: scraper,
		engine: asked, discoverer: discoverer, objects: store, source: source, cluster: cluster, keeper: keeper, events: events,
	}
	app.targetsVersion.Store(1)
	app.jobs.Store(&[]*config.ScrapeConfig{})
	app.query.Store(file.Query)
	app.readiness = app.newReadiness()
	app.provider, err = app.newProvider(mapper, file)
	if err = errors.Join(err, app.ship(file)); err != nil {
		return fmt.Errorf("--config=%s: %w", opts.config, err)
	}
	app.reloader = newReloader(opts.config, data, app.configure, opts.reload, registry, logger)
	registerProblems(registry, func() int { return len(app.problems()) })
	return app.run(ctx)
}

// app holds the running parts of one promlet.
type app struct {
	opts       *options
	logger     *slog.Logger
	registry   *prometheus.Registry
	db         *tsdb.DB
	room       *seriesroom.Room // nil without a limit
	writer     *remotewrite.Writer
	scraper    *scrape.Manager
	engine     *engine.Engine // nil for none
	discoverer *discovery.Discoverer
	objects    *objects.Store
	source     discovery.Source
	cluster    *cluster // nil without one
	readiness  *readiness
	keeper     *servingcert.Keeper  // nil when the certificate is not kept in the cluster
	events     record.EventRecorder // nil without a cluster

	provider       *adapter.Provider
	reloader       *reloader
	scrapedMtx     sync.Mutex
	scraped        scraped
	others         scraped // by other shards
	jobs           atomic.Pointer[[]*config.ScrapeConfig]
	query          atomic.Pointer[configfile.Query] // of the file; nil for none
	targetsVersion atomic.Uint64                    // counts changes of the targets; never 0
}

func (a *app) newProvider(mapper meta.RESTMapper, file configfile.File) (*adapter.Provider, error) {
	options := adapter.Options{
		Engine:     a.engine,
		Objects:    a.objects.Lister,
		Mapper:     mapper,
		Rules:      file.AdapterRules(a.opts.rateWindow),
		Ready:      a.whole,
		Explain:    a.explaining(),
		Interval:   a.opts.scrapeInterval,
		Logger:     a.logger.With("component", "adapter"),
		Registerer: a.registry,
	}
	if a.opts.scrape {
		options.DB, options.Exposed, options.Targets, options.Source = a.db, a.exposed, a.targets, a.sourceOf
		options.Demand, options.Collecting = a.opts.demand(), a.scraper.Collecting
	}
	return adapter.NewProvider(options)
}

// configure applies a changed configuration. After an error the old one stays.
func (a *app) configure(file configfile.File) error {
	reconnect, err := a.reconnection(file)
	if err != nil {
		return err
	}
	queues, err := file.Queues(a.opts.config)
	if err == nil {
		err = queues.Check()
	}
	if err == nil {
		err = a.provider.SetRules(file.AdapterRules(a.opts.rateWindow))
	}
	if err != nil {
		return err
	}
	a.discoverer.SetInline(file.ServiceMonitors, file.PodMonitors)
	return errors.Join(reconnect(), a.writer.Apply(queues))
}

// run serves until ctx is done. Everything else stops once the last request is answered.
func (a *app) run(ctx context.Context) error {
	// Listen before anything runs, so that a port in use is found first.
	listener, err := a.listenWeb(ctx)
	if err != nil {
		return err
	}
	server, pages, err := a.servers(ctx)
	if err != nil {
		if listener != nil {
			err = errors.Join(err, listener.Close())
		}
		return err
	}

	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	group, background := errgroup.WithContext(background)
	answering, stopAnswering := context.WithCancel(ctx)
	defer stopAnswering()
	defer context.AfterFunc(background, stopAnswering)() // also when something failed
	group.Go(func() error {
		defer stopBackground()
		return server.Run(answering)
	})
	group.Go(func() error { return a.collection().run(background) })
	group.Go(func() error { return a.discover(background) })
	if a.opts.scrape {
		group.Go(func() error { return a.provider.Demand.Run(background, a.wanted) })
	}
	if a.engine != nil {
		group.Go(func() error { return a.engine.Run(background) })
	}
	if !a.opts.shard.Partial() { // a shard has no values, and does not know which rules match nothing
		group.Go(func() error { return a.provider.Autoscalers.Run(background, a.noValueEvents().observe) })
		group.Go(func() error { return a.unmatchedEvents().run(background) })
	}
	group.Go(func() error { return a.reloader.run(background) })
	group.Go(func() error { return a.removeEnded(background, removeEvery) })
	if a.opts.enforceNamespaceLabel {
		group.Go(func() error { return a.overruledEvents().run(background) })
	}
	if a.keeper != nil {
		group.Go(func() error { return a.keeper.Run(background) })
	}
	if pages != nil {
		group.Go(func() error { return pages.Run(background, listener) })
	}
	a.logger.Info("promlet started", "version", buildVersion(), "api", fmt.Sprintf("https://%s:%d", a.opts.serving.BindAddress, a.opts.serving.BindPort), "web", a.opts.webListenAddress)
	err = group.Wait()
	a.logger.Info("promlet stopped")
	return err
}

// servers returns the API server and that of the web port, once the series that were read
// before a restart are known.
func (a *app) servers(ctx context.Context) (*apiserver.Server, *web.Server, error) {
	if a.opts.scrape {
		demand, err := a.provider.Demand.Current(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("find out which series are read: %w", err)
		}
		if err := a.wanted(ctx, demand); err != nil {
			return nil, nil, err
		}
	}
	ready := a.readiness.ready
	api, err := a.queryAPI()
	if err != nil {
		return nil, nil, err
	}
	server, err := a.server(ctx, ready, a.queries(api))
	if err != nil || a.opts.webListenAddress == "" {
		return server, nil, err
	}
	pages, err := web.New(a.pages(ready, api))
	return server, pages, err
}

// server returns the API server, with its serving certificate.
func (a *app) server(ctx context.Context, ready func() error, queries http.Handler) (*apiserver.Server, error) {
	options := apiserver.Options{
		Provider:      a.provider,
		Explain:       a.provider.Explainer.Explain,
		SecureServing: a.opts.serving,
		ReadyChecks:   []healthz.HealthChecker{readyCheck(ready)},
		ShutdownDelay: a.opts.shutdownDelay,
		Queries:       queries,
		Registry:      a.registry,
	}
	if a.cluster != nil {
		options.Authentication, options.Authorization = a.opts.authentication, a.opts.authorization
	}
	if a.keeper != nil {
		if err := a.keeper.Ensure(ctx); err != nil {
			return nil, fmt.Errorf("--serving-cert-secret=%s: %w", a.opts.servingCertSecret, err)
		}
		options.Cert = a.keeper
	}
	port := a.opts.serving.BindPort // New replaces it with the port that it listens on, or with 0 if it cannot listen
	server, err := apiserver.New(options)
	if err != nil {
		return nil, fmt.Errorf("--secure-port=%d: %w", port, err)
	}
	return server, nil
}

// discover watches the objects, and with scraping also resolves and scrapes their targets.
func (a *app) discover(ctx context.Context) error {
	if a.opts.scrape {
		return a.discoverer.Run(ctx, a.source, a.apply)
	}
	return a.source.Run(ctx, a.objects, func() {})
}

// apply scrapes what was discovered.
func (a *app) apply(configs []*config.ScrapeConfig, groups map[string][]*targetgroup.Group) error {
	a.jobs.Store(&configs)
	defer a.targetsVersion.Add(1)
	return a.scraper.Apply(configs, groups)
}
