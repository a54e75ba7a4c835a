package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/scrape"
)

// ingest is a flag that says which series are stored.
type ingest string

const (
	ingestDemand ingest = "demand"
	ingestAll    ingest = "all"
)

// String implements pflag.Value.
func (i *ingest) String() string { return string(*i) }

// Set implements pflag.Value.
func (i *ingest) Set(value string) error {
	switch v := ingest(value); v {
	case ingestDemand, ingestAll:
		*i = v
		return nil
	}
	return errors.New("choose demand or all")
}

// Type implements pflag.Value.
func (*ingest) Type() string { return "string" }

const (
	// demandFile is in the data directory, beside the samples that it is about.
	demandFile = "demand.json"
	// firstScrape is about how long it takes from a series becoming wanted to its
	// first sample.
	firstScrape = 2 * time.Second
)

func (o *options) demand() demand.Options {
	d := demand.Options{TTL: o.demandTTL, File: filepath.Join(o.dataDir, demandFile)}
	if o.ingest == ingestDemand {
		d.FirstValue = firstScrape + scrape.QuickGap
	}
	return d
}

// sampleLimit is how many samples of a scrape are stored where the monitor does not
// say. On demand a target with more than a quarter of all series that there may be is
// wrong, and would leave no room for others.
func (o *options) sampleLimit() int {
	if o.ingest != ingestDemand || o.seriesLimit == 0 {
		return 0
	}
	return max(1, min(scrape.DefaultSampleLimit, o.seriesLimit/4))
}

// exposed tells the adapter what targets expose.
func (a *app) exposed(known uint64) ([]catalog.Exposed, uint64) {
	if a.scraper.CatalogVersion() == known {
		return nil, known
	}
	metrics, version := a.scraper.Catalog()
	return adapterExposed(metrics), version
}

// wanted tells the scraper what is read.
func (a *app) wanted(d *demand.Demand) {
	a.scraper.SetDemand(scrape.Demand{Wanted: d.Wanted, Vital: d.Scaled})
}

// startDemand makes the first scrapes store what was wanted before a restart.
func (a *app) startDemand(ctx context.Context, provider *adapter.Provider) error {
	d, err := provider.Demand.Current(ctx)
	if err != nil {
		return fmt.Errorf("find out what is wanted: %w", err)
	}
	a.wanted(d)
	return nil
}

// refused tells of series that are not stored for lack of room.
func (a *app) refused() []string {
	unneeded, needed := a.scraper.Refused()
	var problems []string
	say := func(n int, of, mend string) {
		if n > 0 {
			problems = append(problems, fmt.Sprintf("%d series%s are not stored, for --series-limit=%d is near: %s", n, of, a.opts.seriesLimit, mend))
		}
	}
	say(unneeded, " that nobody reads", "drop them with metricRelabelings, use --ingest=demand, or raise the limit")
	say(needed, " that are read", "raise the limit, or have fewer series")
	return problems
}
