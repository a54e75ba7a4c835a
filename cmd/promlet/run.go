package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"golang.org/x/sync/errgroup"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/client-go/tools/record"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/adapter/apiserver"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/servingcert"
	"github.com/promlet/promlet/cmd/promlet/web"
	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/tsdb"
)

// serve runs promlet until ctx is done. It is the only place that knows all
// packages, and touches nothing that belongs to the whole process.
func serve(ctx context.Context, opts *options, logger *slog.Logger) (err error) {
	cfg, configData, err := loadConfig(opts.config)
	if err != nil {
		return err
	}
	registry := newRegistry()

	db, err := tsdb.Open(opts.storage(registry, logger))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	scraper, err := scrape.NewManager(scrape.Options{
		Appendable:        db,
		Logger:            logger.With("component", "scrape"),
		Registerer:        registry,
		UserAgent:         "promlet/" + buildVersion(),
		HTTPClientOptions: opts.scrapeClient,
		OnDemand:          opts.ingest == ingestDemand,
		NoCompression:     !opts.scrapeCompression,
		SampleLimit:       opts.sampleLimit(),
		SeriesLimit:       opts.seriesLimit,
		StoredSeries:      db.Series,
	})
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
	objects := discovery.NewObjects()
	discoverer := discovery.New(objects, opts.discovery(cfg, events, registry, logger))
	app := &app{
		opts: opts, logger: logger, registry: registry, db: db, scraper: scraper,
		discoverer: discoverer, objects: objects, source: source, cluster: cluster, keeper: keeper, events: events,
	}
	app.lacking = &lacking{events: events, logger: logger.With("component", "autoscalers"), now: time.Now}
	app.targetsVersion.Store(1)
	app.jobs.Store(&[]*config.ScrapeConfig{})
	provider, err := app.provider(mapper, cfg)
	if err != nil {
		return err
	}
	app.shadowed, app.unmatched = provider.Shadowed, provider.UnmatchedRules
	app.reloader = newReloader(opts.config, configData, func(cfg fileConfig) error { return app.configure(provider, cfg) },
		opts.reload, registry, logger)
	registerProblems(registry, app.problems)
	return app.run(ctx, provider)
}

func (o *options) storage(registry prometheus.Registerer, logger *slog.Logger) tsdb.Options {
	return tsdb.Options{
		Dir:            o.dataDir,
		Logger:         logger.With("component", "tsdb"),
		Registerer:     registry,
		Retention:      o.retention,
		MaxSamples:     o.queryMaxSamples,
		QueryTimeout:   o.queryTimeout,
		MaxConcurrency: o.queryMaxConcurrency,
	}
}

func (o *options) discovery(cfg fileConfig, events record.EventRecorder, registry prometheus.Registerer, logger *slog.Logger) discovery.Options {
	return discovery.Options{
		Logger:                   logger.With("component", "discovery"),
		ScrapeInterval:           o.scrapeInterval,
		ScrapeTimeout:            o.scrapeTimeout,
		ServiceMonitors:          cfg.ServiceMonitors,
		PodMonitors:              cfg.PodMonitors,
		MonitorSelector:          o.monitorSelector.Selector,
		MonitorNamespaceSelector: o.monitorNamespaceSelector.Selector,
		FileAccess:               o.monitorFileAccess,
		Events:                   events,
		Registerer:               registry,
		Annotations:              o.scrapeAnnotations,
	}
}

// app holds the running parts of one promlet.
type app struct {
	opts       *options
	logger     *slog.Logger
	registry   *prometheus.Registry
	db         *tsdb.DB
	scraper    *scrape.Manager
	discoverer *discovery.Discoverer
	objects    *discovery.Objects
	source     discovery.Source
	cluster    *cluster             // nil without one
	keeper     *servingcert.Keeper  // nil when the certificate is not kept in the cluster
	events     record.EventRecorder // nil without a cluster

	reloader       *reloader
	lacking        *lacking
	shadowed       func() []string // metrics, by other rules
	unmatched      func() []rules.Unmatched
	scrapedMtx     sync.Mutex
	scraped        scraped
	jobs           atomic.Pointer[[]*config.ScrapeConfig]
	targetsVersion atomic.Uint64 // counts the changes of what is scraped; never 0
}

func (a *app) provider(mapper meta.RESTMapper, cfg fileConfig) (*adapter.Provider, error) {
	provider, err := adapter.NewProvider(adapter.Options{
		DB:      a.db,
		Objects: a.objects.Lister,
		Mapper:  mapper,
		Rules:   cfg.rules(a.opts),
		Exposed: a.exposed,
		Demand:  a.opts.demand(),
		Targets: a.targets,
		Source:  a.sourceOf,

		Explain:    a.explaining(),
		Interval:   a.opts.scrapeInterval,
		Logger:     a.logger.With("component", "adapter"),
		Registerer: a.registry,
	})
	if err != nil {
		return nil, fmt.Errorf("--config=%s: %w", a.opts.config, err)
	}
	return provider, nil
}

// configure brings a changed configuration into force, or changes nothing.
func (a *app) configure(provider *adapter.Provider, cfg fileConfig) error {
	if err := provider.SetRules(cfg.rules(a.opts)); err != nil {
		return err
	}
	a.discoverer.SetInline(cfg.ServiceMonitors, cfg.PodMonitors)
	return nil
}

// run serves until ctx is done. Everything else goes on until nobody is answered
// any more.
func (a *app) run(ctx context.Context, provider *adapter.Provider) error {
	// Listen before anything runs, so that a port in use is found first.
	listener, err := a.listenWeb(ctx)
	if err != nil {
		return err
	}
	if err := a.startDemand(ctx, provider); err != nil {
		return err
	}
	ready := a.warmup().ready
	server, err := a.server(ctx, provider, ready)
	var pages *web.Server
	if err == nil && listener != nil {
		pages, err = a.newPages(provider, ready)
	}
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
	defer context.AfterFunc(background, stopAnswering)() // something has failed
	group.Go(func() error {
		defer stopBackground()
		return server.Run(answering)
	})
	group.Go(func() error { return a.discoverer.Run(background, a.source, a.apply) })
	group.Go(func() error { return provider.Demand.Run(background, a.wanted) })
	group.Go(func() error { return provider.Autoscalers.Run(background, a.lacking.note) })
	group.Go(func() error { return a.reloader.run(background) })
	group.Go(func() error { return a.ruleTeller().run(background) })
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

func (a *app) newPages(provider *adapter.Provider, ready func() error) (*web.Server, error) {
	options, err := a.pages(provider, ready)
	if err != nil {
		return nil, err
	}
	return web.New(options)
}

// server makes the API server, with a certificate to serve with.
func (a *app) server(ctx context.Context, provider *adapter.Provider, ready func() error) (*apiserver.Server, error) {
	options := apiserver.Options{
		Provider:      provider,
		Explain:       provider.Explainer.Explain,
		SecureServing: a.opts.serving,
		ReadyChecks:   []healthz.HealthChecker{healthz.NamedCheck("samples", func(*http.Request) error { return ready() })},
		ShutdownDelay: a.opts.shutdownDelay,
		Metrics:       a.registry,
		Registerer:    a.registry,
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
	server, err := apiserver.New(options)
	if err != nil {
		return nil, fmt.Errorf("--secure-port=%d: %w", a.opts.serving.BindPort, err)
	}
	return server, nil
}

func (a *app) warmup() *warmup {
	return &warmup{
		synced:   a.synced,
		targets:  a.scraper.TargetsActive,
		observed: a.scraper.Observed,
		others:   a.otherReplicaAnswers,
		logger:   a.logger,
		now:      time.Now,
	}
}

// otherReplicaAnswers tells whether promlet's Service has a ready endpoint that is
// not this Pod.
func (a *app) otherReplicaAnswers() bool {
	if a.cluster == nil {
		return false
	}
	slices, ok := a.objects.Lister(discoveryv1.Resource("endpointslices"))
	if !ok {
		return false
	}
	ofService := apilabels.SelectorFromSet(apilabels.Set{discoveryv1.LabelServiceName: a.opts.serviceName})
	found, err := slices.ByNamespace(a.cluster.namespace).List(ofService)
	if err != nil {
		return false // a cache has no errors
	}
	for _, object := range found {
		slice, ok := object.(*discoveryv1.EndpointSlice)
		if !ok {
			continue
		}
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready && e.TargetRef != nil && e.TargetRef.Name != a.opts.podName {
				return true
			}
		}
	}
	return false
}

// apply passes what was discovered on to be scraped.
func (a *app) apply(configs []*config.ScrapeConfig, groups map[string][]*targetgroup.Group) error {
	a.jobs.Store(&configs)
	defer a.targetsVersion.Add(1)
	return a.scraper.Apply(configs, groups)
}

// problems tells what stands between people and their metrics.
func (a *app) problems() []string {
	problems := slices.Concat(a.reloader.problems(), a.source.Problems(), a.refused())
	for _, shadowed := range a.shadowed() {
		problems = append(problems, "rules: "+shadowed)
	}
	for _, r := range a.unmatched() {
		problems = append(problems, r.String())
	}
	if a.keeper != nil {
		problems = append(problems, a.keeper.Problems()...)
	}
	for _, m := range a.discoverer.Monitors() {
		if m.Err != nil {
			problems = append(problems, fmt.Sprintf("%s %s/%s is rejected: %v", m.Kind, m.Namespace, m.Name, m.Err))
		}
	}
	if err := a.db.Damage(); err != nil {
		problems = append(problems, fmt.Sprintf("data directory: damaged when promlet started, which set earlier samples aside: %v", err))
	}
	return problems
}

// synced tells why it is not known yet what to scrape, nil when it is.
func (a *app) synced() error {
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
