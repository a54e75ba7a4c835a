package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/engine"
	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/cmd/promlet/configfile"
	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/discovery/reach"
	"github.com/promlet/promlet/scrape"
)

// newEngine returns the engine that the flags or the file name, nil for none.
func (o *options) newEngine(file configfile.File, registry prometheus.Registerer, logger *slog.Logger) (*engine.Engine, error) {
	connection, ok, err := o.engine.Connection(file.Query, o.config, "promlet/"+buildVersion())
	if err != nil || !ok {
		return nil, err
	}
	if o.shard.Partial() {
		return nil, fmt.Errorf("--shard=%s: a shard serves no values, so it queries no engine: leave out --shard or the engine", o.shardText)
	}
	return engine.New(engine.Options{
		Connection:     connection,
		Timeout:        o.queryTimeout,
		MaxConcurrency: o.queryMaxConcurrency,
		RelistInterval: o.engine.RelistInterval,
		MaxAge:         o.engine.MaxAge,
		Logger:         logger.With("component", "engine"),
		Registerer:     registry,
	})
}

// reconnection returns a function that applies the engine of a changed file. The error says what is invalid in the file.
func (a *app) reconnection(file configfile.File) (reconnect func() error, err error) {
	connection, ok, err := a.opts.engine.Connection(file.Query, a.opts.config, "promlet/"+buildVersion())
	switch {
	case err != nil:
		return nil, err
	case ok != (a.engine != nil):
		return nil, errors.New("query was added or removed: restart promlet")
	case !ok || file.Query.Same(a.query.Load()):
		return func() error { return nil }, nil
	}
	if err := connection.Check(); err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	return func() error {
		if err := a.engine.Connect(connection); err != nil {
			return fmt.Errorf("query: %w", err)
		}
		a.query.Store(file.Query)
		return nil
	}, nil
}

// explaining returns the options of explanations.
func (a *app) explaining() explain.Options {
	options := explain.Options{Problems: a.source.Problems, OtherShards: a.otherShards}
	if a.engine != nil {
		options.EngineTargets, options.ListProblem = a.engine.Targets, a.engine.ListProblem
	}
	if a.opts.scrape {
		a.explainScraping(&options)
	}
	return options
}

// explainScraping adds the options of explanations about monitors and targets.
func (a *app) explainScraping(options *explain.Options) {
	options.Service = func(namespace, name string) explain.Reach {
		return adapterReach(a.discoverer.ReachService(namespace, name))
	}
	options.Pod = func(namespace, name string) explain.Reach {
		return adapterReach(a.discoverer.ReachPod(namespace, name))
	}
	options.ExposedBy = func(job string) []catalog.Exposed { return a.adapterExposed(a.scraper.CatalogOf(job)) }
	options.Dropped, options.NotStored, options.OutOfBounds = a.scraper.DroppedOf, a.notStored, a.scraper.OutOfBounds
}

func adapterReach(r reach.Report) explain.Reach {
	reach := explain.Reach{Counted: r.Counted, Labels: r.Labels}
	if r.Nearest != nil {
		reach.Nearest = r.Nearest.Kind + " " + r.Nearest.Name + ": " + r.Nearest.Reason
	}
	for i := range r.Monitors {
		m := &r.Monitors[i]
		reaching := explain.Reaching{Kind: m.Kind, Namespace: m.Namespace, Name: m.Name, Err: m.Err}
		if m.Origin == monitors.OriginAnnotation {
			reaching.Kind = "annotated " + m.Kind
		}
		for _, j := range m.Jobs {
			reaching.Jobs = append(reaching.Jobs, explain.ReachedJob{Name: j.Name, Targets: j.Targets, Missing: j.Missing})
		}
		reach.Monitors = append(reach.Monitors, reaching)
	}
	return reach
}

func (a *app) adapterExposed(metrics []scrape.Metric) []catalog.Exposed {
	names := make([]catalog.Exposed, len(metrics))
	enforcement, only := a.opts.enforcement(), ""
	for i := range metrics {
		m := &metrics[i]
		if i == 0 || m.Job != metrics[i-1].Job {
			namespace, enforced := enforcement.Namespace(m.Job)
			if only = ""; enforced {
				only = namespace
			}
		}
		names[i] = catalog.Exposed{Name: m.Name, LabelNames: m.LabelNames, Type: m.Type, Only: only}
	}
	return names
}
