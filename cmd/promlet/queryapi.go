package main

import (
	"net/http"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/spf13/pflag"

	"github.com/promlet/promlet/adapter/apiserver"
	"github.com/promlet/promlet/tsdb/httpapi"
)

// queryAPI returns Prometheus' HTTP API of the samples that are stored.
func (a *app) queryAPI() (*httpapi.API, error) {
	return httpapi.New(httpapi.Options{
		DB:            a.promlet.DB,
		Targets:       a.promlet.Scraper.TargetsActive,
		Config:        a.shownConfig,
		Names:         a.exposedNames,
		Selected:      a.promlet.Provider.Demand.Selected,
		Flags:         a.opts.flagValues(),
		ListenAddress: a.opts.webListenAddress,
		Version:       buildVersion(),
		Reloaded:      a.reloader.last,
		Gatherer:      a.registry,
		Logger:        a.logger.With("component", "api"),
	})
}

// queries returns the part of the API that the API port serves. It returns nil if nothing is scraped. It also returns nil
// without a cluster: the API port then authenticates nobody, and the web port has the whole API.
func (a *app) queries(api *httpapi.API) http.Handler {
	if a.cluster == nil || !a.opts.scrape {
		return nil
	}
	return api.Queries(apiserver.Caller)
}

// shownConfig returns the jobs as a configuration of Prometheus.
func (a *app) shownConfig() config.Config {
	shown := config.DefaultConfig
	shown.GlobalConfig.ScrapeInterval = model.Duration(a.opts.scrapeInterval)
	shown.GlobalConfig.ScrapeTimeout = model.Duration(a.opts.scrapeTimeout)
	shown.ScrapeConfigs = a.promlet.Jobs()
	return shown
}

// exposedNames returns the names of all series that targets expose, once for each job.
func (a *app) exposedNames() []string {
	metrics, _ := a.promlet.Scraper.Catalog()
	names := make([]string, len(metrics))
	for i, m := range metrics {
		names[i] = m.Name
	}
	return names
}

// flagValues returns the flags in force, by name.
func (o *options) flagValues() map[string]string {
	values := map[string]string{}
	o.parsed.VisitAll(func(f *pflag.Flag) { values[f.Name] = shownValue(f) })
	return values
}
