package main

import (
	"net/http"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/tsdb/httpapi"
)

// queryAPI serves what is stored as Prometheus does.
func (a *app) queryAPI(provider *adapter.Provider) (http.Handler, error) {
	return httpapi.New(httpapi.Options{
		DB:            a.db,
		Targets:       a.scraper.TargetsActive,
		Config:        a.shownConfig,
		Names:         a.exposedNames,
		Selected:      provider.Demand.Selected,
		Flags:         a.opts.flagValues(),
		ListenAddress: a.opts.webListenAddress,
		Version:       buildVersion(),
		Reloaded:      a.reloader.last,
		Gatherer:      a.registry,
		Logger:        a.logger.With("component", "api"),
	})
}

// shownConfig is what is scraped, in the configuration of Prometheus.
func (a *app) shownConfig() config.Config {
	shown := config.DefaultConfig
	shown.GlobalConfig.ScrapeInterval = model.Duration(a.opts.scrapeInterval)
	shown.GlobalConfig.ScrapeTimeout = model.Duration(a.opts.scrapeTimeout)
	shown.ScrapeConfigs = *a.jobs.Load()
	return shown
}

// exposedNames may have a name several times, from several jobs.
func (a *app) exposedNames() []string {
	metrics, _ := a.scraper.Catalog()
	names := make([]string, len(metrics))
	for i, m := range metrics {
		names[i] = m.Name
	}
	return names
}
