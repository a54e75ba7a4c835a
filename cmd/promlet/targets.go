package main

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/promlet/promlet/adapter"
)

// targets tells the adapter what is scraped.
func (a *app) targets(known uint64) ([]adapter.Target, uint64) {
	version := a.targetsVersion.Load()
	if version == known {
		return nil, known
	}
	var all []adapter.Target
	own := *a.ownLabels.Load()
	builder := labels.NewBuilder(labels.EmptyLabels())
	for job, targets := range a.scraper.TargetsActive() {
		for _, t := range targets {
			target := adapterTarget(job, t, builder)
			target.OwnLabels = own[job]
			all = append(all, target)
		}
	}
	return all, version
}

func adapterTarget(job string, t *promscrape.Target, builder *labels.Builder) adapter.Target {
	// Discovery has parsed it; were it wrong, the job would not be scraped.
	interval, _ := time.ParseDuration(t.GetValue("__scrape_interval__"))
	url := t.URL() // Its parameters may be secrets.
	return adapter.Target{
		Job:        job,
		Address:    url.Host + url.Path,
		Labels:     t.Labels(builder),
		Discovered: t.DiscoveredLabels(builder),
		Interval:   interval,
		LastScrape: t.LastScrape(),
		Err:        t.LastError(),
	}
}

// givesLabels tells whether a metric relabeling may change by which labels series are
// told apart.
func givesLabels(c *relabel.Config) bool {
	return c.Action != relabel.Keep && c.Action != relabel.Drop && c.Action != relabel.KeepEqual && c.Action != relabel.DropEqual
}
