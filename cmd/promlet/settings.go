package main

import (
	"cmp"

	"github.com/promlet/promlet/adapter/embedded"
	"github.com/promlet/promlet/cmd/promlet/configfile"
	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/tsdb"
)

// settings returns the Options that the flags and the configuration file give. The rules are set later.
func (o *options) settings(c *cluster, file configfile.File) embedded.Options {
	monitorSelector, _ := parseSelector(o.monitorSelector) // validated
	monitorNamespaceSelector, _ := parseSelector(o.monitorNamespaceSelector)
	settings := embedded.Options{
		AlsoScrape:        o.scrape,
		StoreAll:          o.ingest == ingestAll,
		DemandTTL:         o.demandTTL,
		SeriesLimit:       orNone(o.seriesLimit),
		SeriesBytesLimit:  cmp.Or(o.seriesBytesLimit, partOfMemory(seriesShare)),
		ResourceMetrics:   o.servesResources(file),
		Kubelets:          o.resources.kubeletOptions(),
		IgnoreAnnotations: !o.scrapeAnnotations,
		Discovery: discovery.Options{
			ScrapeInterval:           o.scrapeInterval,
			ScrapeTimeout:            o.scrapeTimeout,
			ServiceMonitors:          file.ServiceMonitors,
			PodMonitors:              file.PodMonitors,
			MonitorSelector:          monitorSelector,
			MonitorNamespaceSelector: monitorNamespaceSelector,
			FileAccess:               o.monitorFileAccess,
			Enforcement:              monitors.Enforcement{Enabled: o.enforceNamespaceLabel, Exempt: o.exemptNamespaces},
			IgnoreNamespaceSelectors: o.ignoreNamespaceSelectors,
			MonitorTargetLimit:       orNone(o.monitorTargetLimit),
			NamespaceTargetLimit:     orNone(o.namespaceTargetLimit),
			Shard:                    o.shard,
		},
		Scrape: scrape.Options{
			UserAgent:    "promlet/" + buildVersion(),
			DialContext:  o.dialTarget,
			Compression:  o.scrapeCompression,
			ScrapeMemory: partOfMemory(scrapeShare),
			NameMemory:   partOfMemory(namesShare),
		},
		Storage: tsdb.Options{
			Retention:      o.retention,
			RetentionBytes: int64(o.retentionSize),
			MaxSamples:     o.queryMaxSamples,
			QueryTimeout:   o.queryTimeout,
			MaxConcurrency: o.queryMaxConcurrency,
		},
		Names: embedded.Names{
			Dir:               "--data-dir",
			SeriesLimit:       "--series-limit",
			SeriesBytesLimit:  "--series-bytes-limit",
			IngestDemand:      "--ingest=demand",
			Shard:             "--shard",
			EnforcementExempt: "--enforcement-exempt-namespaces",
		},
	}
	if o.scrape || o.parsed.Changed("data-dir") { // the container's root may be read-only
		settings.Dir = o.dataDir
	}
	if c != nil {
		settings.Replica = embedded.Replica{Namespace: c.namespace, Service: o.serviceName, Pod: o.podName}
	}
	return settings
}

// servesResources reports whether metrics.k8s.io is served: from kubelets, or by resourceRules.
func (o *options) servesResources(file configfile.File) bool {
	return (o.resources.served || file.ResourceRules.Any()) && !o.shard.Partial()
}

// orNone converts the limit of a flag, where 0 is no limit, to that of an option, where a negative number is none.
func orNone(limit int) int { return cmp.Or(limit, -1) }
