package embedded

import (
	"context"
	"path/filepath"
	"time"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/scrape"
)

const (
	// demandFile is the file in the data directory that says which series are read.
	demandFile = "demand.json"
	// firstScrape is about the time from the first read of a series to its first sample.
	firstScrape = 2 * time.Second
)

func (p *Promlet) demand() demand.Options {
	d := demand.Options{TTL: p.opts.DemandTTL, File: filepath.Join(p.Dir, demandFile)}
	if p.opts.onDemand() {
		d.FirstValue = firstScrape + scrape.QuickGap
	}
	return d
}

// sampleLimit returns the default limit of samples that one scrape stores, 0 for none. On demand,
// a target with more than a quarter of SeriesLimit is a mistake, and would leave no room for
// others.
func (o *Options) sampleLimit() int {
	if !o.onDemand() || o.SeriesLimit == 0 {
		return 0
	}
	return max(1, min(scrape.DefaultSampleLimit, o.SeriesLimit/4))
}

// exposed returns what targets expose, and its version. It returns nil if the version is still known.
func (p *Promlet) exposed(known uint64) ([]catalog.Exposed, uint64) {
	if p.Scraper.CatalogVersion() == known {
		return nil, known
	}
	metrics, version := p.Scraper.Catalog()
	return p.exposedNames(metrics), version
}

// wanted makes the scraper store the series that are read.
func (p *Promlet) wanted(ctx context.Context, d *demand.Demand) error {
	p.demanded.Store(d)
	return p.Scraper.SetDemand(ctx, scrape.Demand{Wanted: d.Wanted, Vital: d.Scaled})
}

// exposedNames converts exposed metrics for the Provider. A job with an enforced namespace is
// limited to that namespace.
func (p *Promlet) exposedNames(metrics []scrape.Metric) []catalog.Exposed {
	names := make([]catalog.Exposed, len(metrics))
	enforcement, only := p.opts.Discovery.Enforcement, ""
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
