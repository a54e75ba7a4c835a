package embedded

import (
	"errors"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/promlet/promlet/adapter/values"
	"github.com/promlet/promlet/scrape/targeterrors"
	"github.com/promlet/promlet/tsdb"
)

// targets returns the targets and their version. It returns nil if the version is still known.
func (p *Promlet) targets(known uint64) ([]values.Target, uint64) {
	version := p.targetsVersion.Load()
	if version == known {
		return nil, known
	}
	p.scrapedMtx.Lock()
	defer p.scrapedMtx.Unlock()
	if p.scraped.version != version {
		p.scraped = p.listTargets(version)
	}
	all := make([]values.Target, len(p.scraped.targets))
	for i, t := range p.scraped.targets {
		all[i] = p.scraped.shown[i]
		all[i].LastScrape = t.LastScrape()
		if err := t.LastError(); err != nil {
			all[i].Err = errors.New(targeterrors.Public(err))
		}
	}
	return all, version
}

// scraped are the targets of a version, in the types of the scraper and of the adapter.
type scraped struct {
	version uint64
	targets []*promscrape.Target
	shown   []values.Target
}

func (p *Promlet) listTargets(version uint64) scraped {
	s := scraped{version: version}
	builder := labels.NewBuilder(labels.EmptyLabels())
	for job, targets := range p.Scraper.TargetsActive() {
		for _, t := range targets {
			s.targets, s.shown = append(s.targets, t), append(s.shown, adapterTarget(job, t, builder))
		}
	}
	return s
}

// OtherShards returns the targets that other shards scrape, in any order.
func (p *Promlet) OtherShards() (all []values.Target) {
	if !p.opts.Discovery.Shard.Partial() {
		return nil
	}
	version := p.targetsVersion.Load()
	p.scrapedMtx.Lock()
	defer p.scrapedMtx.Unlock()
	if p.others.version == version {
		return p.others.shown
	}
	configs, groups, err := p.Discoverer.Resolve()
	if err != nil {
		return nil // Run logs the error
	}
	builder := labels.NewBuilder(labels.EmptyLabels())
	for _, cfg := range configs {
		whole := p.opts.Discovery.Shard.OfAllShards(cfg)
		for _, group := range groups[cfg.JobName] {
			for _, own := range group.Targets {
				here, err := promscrape.PopulateLabels(builder, cfg, own, group.Labels)
				if err != nil || !here.IsEmpty() {
					continue
				}
				if lset, err := promscrape.PopulateLabels(builder, whole, own, group.Labels); err == nil && !lset.IsEmpty() {
					all = append(all, adapterTarget(cfg.JobName, promscrape.NewTarget(lset, whole, own, group.Labels), builder))
				}
			}
		}
	}
	p.others = scraped{version: version, shown: all}
	return all
}

func adapterTarget(job string, t *promscrape.Target, builder *labels.Builder) values.Target {
	url := t.URL() // its parameters may be secrets
	target := values.Target{
		Job:      job,
		Address:  url.Host + url.Path,
		Labels:   t.Labels(builder),
		Interval: interval(t),
	}
	// Labels that begin with two underscores are for relabelings only.
	t.DiscoveredLabels(builder).Range(func(l labels.Label) {
		if strings.HasPrefix(l.Name, model.ReservedLabelPrefix) {
			builder.Del(l.Name)
		}
	})
	target.Discovered = builder.Labels()
	return target
}

// sourceOf returns the target of a series, and since when the target exposes it. A series that no target has exposed
// since promlet started does not count: another target may have the same one.
func (p *Promlet) sourceOf(series labels.Labels) (tsdb.Source, bool) {
	source, known := p.Scraper.Source(series)
	if !known {
		return tsdb.Source{Target: &tsdb.Target{}, Exposed: series.Hash()}, true
	}
	return tsdb.Source{Target: (*tsdb.Target)(source.Target), Exposed: source.Exposed, First: source.First, Since: source.Since}, true
}
