package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/spf13/pflag"

	"github.com/promlet/promlet/cmd/promlet/configfile"
	"github.com/promlet/promlet/cmd/promlet/targeterrors"
	"github.com/promlet/promlet/cmd/promlet/web"
	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/scrape"
)

func (a *app) listenWeb(ctx context.Context) (net.Listener, error) {
	if a.opts.webListenAddress == "" {
		return nil, nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.opts.webListenAddress)
	if err != nil {
		return nil, fmt.Errorf("--web-listen-address=%s: %w", a.opts.webListenAddress, err)
	}
	return listener, nil
}

// pages returns what the web port serves.
func (a *app) pages(ready func() error, api http.Handler) web.Options {
	return web.Options{
		Version:         buildVersion(),
		Ready:           ready,
		Problems:        a.problems,
		Autoscalers:     a.provider.Autoscalers.List,
		LastAutoscalers: a.provider.Autoscalers.Last,
		Explain:         a.provider.Explainer.Explain,
		Usage:           a.provider.Demand.Current,
		Scrapes:         a.opts.scrape,
		Monitors:        a.discoverer.Monitors,
		WhyNoTargets:    a.discoverer.WhyNoTargets,
		Targets:         a.shownTargets,
		OtherShards:     a.shownOtherShards,
		Foreign:         a.scraper.Foreign,
		Metrics:         func() []scrape.Metric { metrics, _ := a.scraper.Catalog(); return metrics },
		Configuration:   a.configuration,
		API:             api,
		Profiling:       a.opts.profiling,
		QueryTimeout:    a.opts.queryTimeout,
		Gatherer:        a.registry,
		Logger:          a.logger.With("component", "web"),
	}
}

// problems returns the reasons why metrics are not served.
func (a *app) problems() (all []web.Problem) {
	add := func(link string, texts ...string) {
		for _, text := range texts {
			all = append(all, web.Problem{Text: text, URL: link})
		}
	}
	const rulesPage = "/configuration"
	add("", slices.Concat(a.reloader.problems(), a.source.Problems(), a.refused(), a.writer.Problems())...)
	for _, shadowed := range a.provider.Shadowed() {
		add(rulesPage, "rules: "+shadowed)
	}
	if !a.opts.shard.Partial() {
		for _, r := range a.provider.UnmatchedRules() {
			add(rulesPage+"#"+url.PathEscape(r.Rule), r.String())
		}
	}
	if a.keeper != nil {
		add("", a.keeper.Problems()...)
	}
	if a.engine != nil {
		add("", a.engine.Problems()...)
	}
	for _, m := range a.discoverer.Monitors() {
		of := url.Values{"q": {m.Kind + " " + m.Namespace + "/" + m.Name}}
		add("/targets?"+of.Encode(), configfile.Rejected([]monitors.Status{m})...)
	}
	if err := a.db.Damage(); err != nil {
		add("", fmt.Sprintf("data directory: earlier samples are set aside: %v", err))
	}
	if err := a.db.Storing(); err != nil {
		add("", fmt.Sprintf("data directory: samples are not stored: %v", err))
	}
	return all
}

// shownTargets returns the targets in no order.
func (a *app) shownTargets() []web.Target {
	var all []web.Target
	builder := labels.NewBuilder(labels.EmptyLabels())
	samples := a.scraper.LastSamples()
	for job, targets := range a.scraper.TargetsActive() {
		for _, t := range targets {
			of := adapterTarget(job, t, builder)
			last := samples[t]
			all = append(all, web.Target{
				Job: job, Address: of.Address, Health: string(t.Health()), Interval: of.Interval,
				LastScrape: t.LastScrape(), Took: t.LastScrapeDuration(), Err: targeterrors.Plain(t.LastError()), Seen: last.Seen, Stored: last.Stored,
				Labels: of.Labels, Discovered: beforeRelabelling(t, builder),
			})
		}
	}
	return all
}

// shownOtherShards returns the targets that other shards scrape.
func (a *app) shownOtherShards() (all []web.Target) {
	for _, t := range a.otherShards() {
		all = append(all, web.Target{Job: t.Job, Address: t.Address, Labels: t.Labels})
	}
	return all
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

func (a *app) configuration() web.Configuration {
	rules := a.provider.Rules()
	shown := web.Configuration{
		File: a.opts.config, Rules: rules.Custom, ExternalRules: rules.External, Keep: rules.Keep,
		Flags: a.opts.shownFlags(), Versions: versions(), Warnings: a.provider.Oddities(),
	}
	return shown
}

// shownFlags returns the flags in force by name, those that were given first.
func (o *options) shownFlags() (given []web.Flag) {
	var others []web.Flag
	o.parsed.VisitAll(func(f *pflag.Flag) {
		flag := web.Flag{Name: f.Name, Value: shownValue(f), Set: f.Changed, Usage: f.Usage}
		if f.Changed {
			given = append(given, flag)
		} else {
			others = append(others, flag)
		}
	})
	return append(given, others...)
}

// shownValue returns the value of a flag without credentials.
func shownValue(f *pflag.Flag) string {
	switch value := f.Value.String(); f.Name {
	case "prometheus-header":
		if f.Changed {
			return "<hidden>"
		}
		return value
	case "prometheus-url":
		if at, err := url.Parse(value); err != nil || at.User != nil || at.RawQuery != "" {
			return "<hidden>"
		}
		return value
	default:
		return value
	}
}

// versions returns the versions of the components that decide how promlet behaves.
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
