package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/scrape"
)

const (
	// demandFile is in the data directory, beside the samples that were read.
	demandFile = "demand.json"
	// firstScrape is about the time from the first read of a series to its first sample.
	firstScrape = 2 * time.Second
)

func (o *options) demand() demand.Options {
	d := demand.Options{TTL: o.demandTTL, File: filepath.Join(o.dataDir, demandFile)}
	if o.ingest == ingestDemand {
		d.FirstValue = firstScrape + scrape.QuickGap
	}
	return d
}

// sampleLimit returns the default limit of stored samples a scrape. On demand, a target
// with more than a quarter of --series-limit is a mistake, and would leave no room for
// others.
func (o *options) sampleLimit() int {
	if o.ingest != ingestDemand || o.seriesLimit == 0 {
		return 0
	}
	return max(1, min(scrape.DefaultSampleLimit, o.seriesLimit/4))
}

// exposed returns what targets expose if it changed since a known version.
func (a *app) exposed(known uint64) ([]catalog.Exposed, uint64) {
	if a.scraper.CatalogVersion() == known {
		return nil, known
	}
	metrics, version := a.scraper.Catalog()
	return adapterExposed(metrics), version
}

// wanted makes the scraper store the series that are read.
func (a *app) wanted(d *demand.Demand) {
	a.scraper.SetDemand(scrape.Demand{Wanted: d.Wanted, Vital: d.Scaled})
}

// refused returns the problem of series that --series-limit keeps from being stored.
func (a *app) refused() []string {
	unneeded, needed := a.scraper.Refused()
	var problems []string
	add := func(n int, which, mend string) {
		if n > 0 {
			problems = append(problems, fmt.Sprintf("%d series %s are not stored: --series-limit=%d is nearly reached: %s", n, which, a.opts.seriesLimit, mend))
		}
	}
	add(unneeded, "that nobody reads", "drop them with metricRelabelings, use --ingest=demand, or raise the limit")
	add(needed, "that are read", "raise the limit, or expose fewer series")
	return problems
}
