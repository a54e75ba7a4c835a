package main

import (
	"errors"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	promscrape "github.com/prometheus/prometheus/scrape"
	"k8s.io/client-go/tools/record"

	"github.com/promlet/promlet/adapter/values"
	"github.com/promlet/promlet/cmd/promlet/configfile"
	"github.com/promlet/promlet/cmd/promlet/targeterrors"
	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/scrape/seriesroom"
	"github.com/promlet/promlet/tsdb"
)

// targets returns the targets if they changed since a known version.
func (a *app) targets(known uint64) ([]values.Target, uint64) {
	version := a.targetsVersion.Load()
	if version == known {
		return nil, known
	}
	a.scrapedMtx.Lock()
	defer a.scrapedMtx.Unlock()
	if a.scraped.version != version {
		a.scraped = a.listTargets(version)
	}
	all := make([]values.Target, len(a.scraped.targets))
	for i, t := range a.scraped.targets {
		all[i] = a.scraped.shown[i]
		all[i].LastScrape = t.LastScrape()
		if err := t.LastError(); err != nil {
			all[i].Err = errors.New(targeterrors.Public(err))
		}
	}
	return all, version
}

// scraped are the targets of a version, as the scraper and as the adapter knows them.
type scraped struct {
	version uint64
	targets []*promscrape.Target
	shown   []values.Target
}

func (a *app) listTargets(version uint64) scraped {
	s := scraped{version: version}
	builder := labels.NewBuilder(labels.EmptyLabels())
	for job, targets := range a.scraper.TargetsActive() {
		for _, t := range targets {
			s.targets, s.shown = append(s.targets, t), append(s.shown, adapterTarget(job, t, builder))
		}
	}
	return s
}

// otherShards returns the targets that other shards scrape, in any order.
func (a *app) otherShards() (all []values.Target) {
	if !a.opts.shard.Partial() {
		return nil
	}
	version := a.targetsVersion.Load()
	a.scrapedMtx.Lock()
	defer a.scrapedMtx.Unlock()
	if a.others.version == version {
		return a.others.shown
	}
	configs, groups, err := a.discoverer.Resolve()
	if err != nil {
		return nil // Run logs it.
	}
	builder := labels.NewBuilder(labels.EmptyLabels())
	for _, cfg := range configs {
		whole := a.opts.shard.OfAllShards(cfg)
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
	a.others = scraped{version: version, shown: all}
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
	// Only relabelings read the others.
	t.DiscoveredLabels(builder).Range(func(l labels.Label) {
		if strings.HasPrefix(l.Name, model.ReservedLabelPrefix) {
			builder.Del(l.Name)
		}
	})
	target.Discovered = builder.Labels()
	return target
}

func (o *options) scraping(db *tsdb.DB, room *seriesroom.Room, registry prometheus.Registerer, logger *slog.Logger) scrape.Options {
	return scrape.Options{
		Appendable:    db,
		Logger:        logger.With("component", "scrape"),
		Registerer:    registry,
		UserAgent:     "promlet/" + buildVersion(),
		DialContext:   o.dialTarget,
		OnDemand:      o.ingest == ingestDemand,
		Namespace:     o.enforcement().Namespace,
		NoCompression: !o.scrapeCompression,
		SampleLimit:   o.sampleLimit(),
		SeriesRoom:    room,
		ScrapeMemory:  partOfMemory(scrapeShare),
		NameMemory:    partOfMemory(namesShare),
		Owner:         discovery.Owner,
	}
}

func (o *options) discovery(file configfile.File, events record.EventRecorder, registry prometheus.Registerer, logger *slog.Logger) discovery.Options {
	monitorSelector, _ := parseSelector(o.monitorSelector) // validated
	monitorNamespaceSelector, _ := parseSelector(o.monitorNamespaceSelector)
	if o.shard.Index > 0 {
		events = nil // shard 0 writes the Events on monitors
	}
	return discovery.Options{
		Logger:                   logger.With("component", "discovery"),
		ScrapeInterval:           o.scrapeInterval,
		ScrapeTimeout:            o.scrapeTimeout,
		ServiceMonitors:          file.ServiceMonitors,
		PodMonitors:              file.PodMonitors,
		MonitorSelector:          monitorSelector,
		MonitorNamespaceSelector: monitorNamespaceSelector,
		FileAccess:               o.monitorFileAccess,
		Enforcement:              o.enforcement(),
		IgnoreNamespaceSelectors: o.ignoreNamespaceSelectors,
		Events:                   events,
		Registerer:               registry,
		Annotations:              o.scrapeAnnotations,
		MonitorTargetLimit:       o.monitorTargetLimit,
		NamespaceTargetLimit:     o.namespaceTargetLimit,
		Shard:                    o.shard,
	}
}

func (o *options) enforcement() monitors.Enforcement {
	return monitors.Enforcement{Enabled: o.enforceNamespaceLabel, Exempt: o.exemptNamespaces}
}

// sourceOf returns the target of a series and since when it exposes it. A series that no target exposes, or has
// exposed since promlet started, does not count now: whether another target has the same one is not known.
func (a *app) sourceOf(series labels.Labels) (tsdb.Source, bool) {
	source, known := a.scraper.Source(series)
	if !known {
		return tsdb.Source{Target: &tsdb.Target{}, Exposed: series.Hash()}, true
	}
	return tsdb.Source{Target: (*tsdb.Target)(source.Target), Exposed: source.Exposed, First: source.First, Since: source.Since}, true
}
