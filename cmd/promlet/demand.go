package main

import (
	"context"
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
	return a.adapterExposed(metrics), version
}

// wanted makes the scraper store the series that are read.
func (a *app) wanted(ctx context.Context, d *demand.Demand) error {
	return a.scraper.SetDemand(ctx, scrape.Demand{Wanted: d.Wanted, Vital: d.Scaled})
}
