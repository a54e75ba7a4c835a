package main

import (
	"errors"
	"net/url"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/spf13/pflag"

	"github.com/promlet/promlet/adapter"
	"github.com/promlet/promlet/cmd/promlet/web"
	"github.com/promlet/promlet/scrape"
)

// pages are what the web port shows.
func (a *app) pages(provider *adapter.Provider, ready func() error) (web.Options, error) {
	api, err := a.queryAPI(provider)
	if err != nil {
		return web.Options{}, err
	}
	return web.Options{
		Version:       buildVersion(),
		Ready:         ready,
		Problems:      a.problems,
		Autoscalers:   provider.Autoscalers.List,
		Explain:       provider.Explainer.Explain,
		Usage:         provider.Demand.Current,
		Monitors:      a.discoverer.Monitors,
		Targets:       a.shownTargets,
		Metrics:       func() []scrape.Metric { metrics, _ := a.scraper.Catalog(); return metrics },
		Configuration: func() web.Configuration { return a.configuration(provider) },
		API:           api,
		QueryTimeout:  a.opts.queryTimeout,
		Gatherer:      a.registry,
		Logger:        a.logger.With("component", "web"),
	}, nil
}

// shownTargets are in no order.
func (a *app) shownTargets() []web.Target {
	var all []web.Target
	builder := labels.NewBuilder(labels.EmptyLabels())
	samples := a.scraper.LastSamples()
	for job, targets := range a.scraper.TargetsActive() {
		for _, t := range targets {
			of := adapterTarget(job, t, builder)
			last := samples[t]
			shown := web.Target{
				Job: job, Address: of.Address, Health: string(t.Health()), Interval: of.Interval,
				LastScrape: t.LastScrape(), Took: t.LastScrapeDuration(), Seen: last.Seen, Stored: last.Stored,
				Labels: of.Labels, Discovered: beforeRelabelling(t, builder),
			}
			shown.Err = plainError(t.LastError())
			all = append(all, shown)
		}
	}
	return all
}

// plainError leaves out the URL, which stands beside it and whose parameters may be secrets.
func plainError(err error) string {
	if of, ok := errors.AsType[*url.Error](err); ok {
		err = of.Err
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

// beforeRelabelling hides the values of URL parameters, which may be secrets.
func beforeRelabelling(t *promscrape.Target, builder *labels.Builder) labels.Labels {
	t.DiscoveredLabels(builder).Range(func(l labels.Label) {
		if strings.HasPrefix(l.Name, model.ParamLabelPrefix) {
			builder.Set(l.Name, "<hidden>")
		}
	})
	return builder.Labels()
}

func (a *app) configuration(provider *adapter.Provider) web.Configuration {
	rules := provider.Rules()
	shown := web.Configuration{
		File: a.opts.config, Rules: rules.Custom, ExternalRules: rules.External, Keep: rules.Keep,
		Flags: a.opts.shownFlags(), Versions: versions(),
	}
	if warnings, err := rules.Check(nil); err == nil {
		shown.Warnings = warnings
	}
	return shown
}

// shownFlags are the flags as they are in force, those that were given first.
func (o *options) shownFlags() []web.Flag {
	var all []web.Flag
	for _, flag := range o.given {
		all = append(all, web.Flag{Name: flag.Name, Value: flag.Value.String(), Set: flag.Changed, Usage: flag.Usage})
	}
	slices.SortStableFunc(all, func(a, b web.Flag) int {
		switch {
		case a.Set == b.Set:
			return strings.Compare(a.Name, b.Name)
		case a.Set:
			return -1
		}
		return 1
	})
	return all
}

// flagValues are the flags as they are in force, by name.
func (o *options) flagValues() map[string]string {
	values := make(map[string]string, len(o.given))
	for _, flag := range o.given {
		values[flag.Name] = flag.Value.String()
	}
	return values
}

// flagsOf lists the flags of a set.
func flagsOf(set *pflag.FlagSet) (all []*pflag.Flag) {
	set.VisitAll(func(f *pflag.Flag) { all = append(all, f) })
	return all
}

// versions are of what promlet is built of, as far as it decides how promlet behaves.
func versions() []web.Version {
	all := []web.Version{{Of: "promlet", Is: buildVersion()}, {Of: "Go", Is: runtime.Version()}}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return all
	}
	names := []string{
		"github.com/prometheus/prometheus", "k8s.io/apiserver", "sigs.k8s.io/custom-metrics-apiserver",
		"github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring",
	}
	for _, m := range info.Deps {
		if slices.Contains(names, m.Path) {
			all = append(all, web.Version{Of: m.Path, Is: m.Version})
		}
	}
	return all
}
