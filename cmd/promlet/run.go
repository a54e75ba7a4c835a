package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"k8s.io/apiserver/pkg/server/healthz"

	"github.com/promlet/promlet/adapter/apiserver"
	"github.com/promlet/promlet/adapter/embedded"
	"github.com/promlet/promlet/adapter/engine"
	"github.com/promlet/promlet/adapter/servingcert"
	"github.com/promlet/promlet/cmd/promlet/configfile"
	"github.com/promlet/promlet/cmd/promlet/internal/web"
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
	opts.scrape = opts.scrape || asked == nil
	cluster, err := opts.connect(ctx, logger)
	if err != nil {
		return err
	}
	source, mapper, err := opts.source(cluster, file, registry, logger)
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
	settings := opts.settings(cluster, file)
	settings.Source, settings.Mapper, settings.Engine, settings.Events = source, mapper, asked, events
	settings.Logger, settings.Registerer = logger, registry
	promlet, err := embedded.New(settings)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, promlet.Close()) }()
	// Close sends the last samples: after Run, so that no more are stored, and before the database is closed.
	writer := opts.remoteWriter(promlet.Dir, registry, logger)
	defer func() { err = errors.Join(err, writer.Close()) }()
	app := &app{opts: opts, logger: logger, registry: registry, promlet: promlet, writer: writer, engine: asked, cluster: cluster, keeper: keeper}
	app.query.Store(file.Query)
	if err = errors.Join(promlet.Provider.SetRules(file.AdapterRules(opts.rateWindow)), app.ship(file)); err != nil {
		return fmt.Errorf("--config=%s: %w", opts.config, err)
	}
	app.reloader = newReloader(opts.config, data, app.configure, opts.reload, registry, logger)
	registerProblems(registry, func() int { return len(app.problems()) })
	return app.run(ctx)
}

// app holds the running parts of one promlet.
type app struct {
	opts     *options
	logger   *slog.Logger
	registry *prometheus.Registry
	promlet  *embedded.Promlet
	writer   *remotewrite.Writer
	engine   *engine.Engine      // nil for none
	cluster  *cluster            // nil without one
	keeper   *servingcert.Keeper // nil when the certificate is not kept in the cluster
	reloader *reloader
	query    atomic.Pointer[configfile.Query] // of the file; nil for none
}

// remoteWriter returns the Writer that sends stored samples to other engines.
func (o *options) remoteWriter(dir string, registry prometheus.Registerer, logger *slog.Logger) *remotewrite.Writer {
	return remotewrite.New(remotewrite.Options{
		Log:        tsdb.LogDir(dir),
		Held:       tsdb.HeldDir(dir),
		Dir:        filepath.Join(dir, "remote-write"),
		Retention:  o.retention,
		Registerer: registry,
		Logger:     logger.With("component", "remote write"),
	})
}

// ship makes the Writer send stored samples to the engines of a configuration from now on.
func (a *app) ship(file configfile.File) error {
	queues, err := file.Queues(a.opts.config)
	if err != nil {
		return err
	}
	return a.writer.Apply(queues)
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
		err = a.promlet.Provider.SetRules(file.AdapterRules(a.opts.rateWindow))
	}
	if err != nil {
		return err
	}
	a.promlet.Discoverer.SetInline(file.ServiceMonitors, file.PodMonitors)
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
	a.logger.Info("promlet started", "version", buildVersion(), "api", fmt.Sprintf("https://%s:%d", a.opts.serving.BindAddress, a.opts.serving.BindPort), "web", a.opts.webListenAddress)
	err = a.promlet.Run(ctx, func(ctx context.Context) error {
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
		group.Go(func() error { return a.reloader.run(background) })
		group.Go(func() error { return returnMemory(background, a.promlet.Ready, debug.FreeOSMemory) })
		if a.keeper != nil {
			group.Go(func() error { return a.keeper.Run(background) })
		}
		if pages != nil {
			group.Go(func() error { return pages.Run(background, listener) })
		}
		return group.Wait()
	})
	a.logger.Info("promlet stopped")
	return err
}

// servers returns the API server and that of the web port.
func (a *app) servers(ctx context.Context) (*apiserver.Server, *web.Server, error) {
	api, err := a.queryAPI()
	if err != nil {
		return nil, nil, err
	}
	server, err := a.server(ctx, a.queries(api))
	if err != nil || a.opts.webListenAddress == "" {
		return server, nil, err
	}
	pages, err := web.New(a.pages(api))
	return server, pages, err
}

// server returns the API server, with its serving certificate.
func (a *app) server(ctx context.Context, queries http.Handler) (*apiserver.Server, error) {
	options := apiserver.Options{
		Provider:        a.promlet.Provider,
		Explain:         a.promlet.Provider.Explainer.Explain,
		ResourceMetrics: a.resourceMetrics(),
		SecureServing:   a.opts.serving,
		ReadyChecks:     []healthz.HealthChecker{healthz.NamedCheck("samples", func(*http.Request) error { return a.promlet.Ready() })},
		ShutdownDelay:   a.opts.shutdownDelay,
		Queries:         queries,
		Registry:        a.registry,
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
