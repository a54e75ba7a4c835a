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
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/spf13/pflag"

	"github.com/promlet/promlet/adapter/embedded"
	"github.com/promlet/promlet/cmd/promlet/internal/web"
	"github.com/promlet/promlet/discovery/kubelets"
	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/scrape/targeterrors"
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
func (a *app) pages(api http.Handler) web.Options {
	return web.Options{
		Version:         buildVersion(),
		Ready:           a.promlet.WhyNotReady,
		Problems:        a.problems,
		Autoscalers:     a.promlet.Provider.Autoscalers.List,
		LastAutoscalers: a.promlet.Provider.Autoscalers.Last,
		Explain:         a.promlet.Provider.Explainer.Explain,
		Usage:           a.promlet.Provider.Demand.Current,
		Scrapes:         a.opts.scrape,
		Monitors:        a.promlet.Discoverer.Monitors,
		WhyNoTargets:    a.promlet.Discoverer.WhyNoTargets,
		Targets:         a.shownTargets,
		Unreachable:     a.promlet.Discoverer.UnreachableNodes,
		OtherShards:     a.shownOtherShards,
		Foreign:         a.promlet.Scraper.Foreign,
		Metrics:         func() []scrape.Metric { metrics, _ := a.promlet.Scraper.Catalog(); return metrics },
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
	add := func(texts ...string) {
		for _, text := range texts {
			all = append(all, web.Problem{Text: text})
		}
	}
	add(slices.Concat(a.reloader.problems(), a.writer.Problems())...)
	if a.keeper != nil {
		add(a.keeper.Problems()...)
	}
	for _, p := range a.promlet.Problems() {
		all = append(all, web.Problem{Text: p.Text, URL: pageOf(p)})
	}
	return all
}

// pageOf returns the URL of the page that shows the cause of a problem, "" if no page does.
func pageOf(p embedded.Problem) string {
	switch {
	case p.Rule != "":
		return "/configuration#" + url.PathEscape(p.Rule)
	case p.Rules:
		return "/configuration"
	case p.Kubelets:
		return "/targets?" + url.Values{"q": {kubelets.JobName}}.Encode()
	case p.Monitor != nil:
		return "/targets?" + url.Values{"q": {p.Monitor.Kind + " " + p.Monitor.Namespace + "/" + p.Monitor.Name}}.Encode()
	}
	return ""
}

// shownTargets returns the targets in no order.
func (a *app) shownTargets() []web.Target {
	var all []web.Target
	builder := labels.NewBuilder(labels.EmptyLabels())
	samples := a.promlet.Scraper.LastSamples()
	for job, targets := range a.promlet.Scraper.TargetsActive() {
		for _, t := range targets {
			last, url := samples[t], t.URL()
			interval, _ := model.ParseDuration(t.GetValue(model.ScrapeIntervalLabel)) // valid, or the job is not scraped
			all = append(all, web.Target{
				Job: job, Address: url.Host + url.Path, Health: string(t.Health()), Interval: time.Duration(interval),
				LastScrape: t.LastScrape(), Took: t.LastScrapeDuration(), Err: shownError(job, t, builder), Seen: last.Seen, Stored: last.Stored,
				Labels: t.Labels(builder), Discovered: beforeRelabelling(t, builder),
			})
		}
	}
	return all
}

// shownError returns why the last scrape of a target failed, "" if it did not.
func shownError(job string, t *promscrape.Target, builder *labels.Builder) string {
	if job == kubelets.JobName {
		return targeterrors.Kubelet(t.Labels(builder).Get(string(kubelets.NodeLabel)), t.LastError())
	}
	return targeterrors.Plain(t.LastError())
}

// shownOtherShards returns the targets that other shards scrape.
func (a *app) shownOtherShards() (all []web.Target) {
	for _, t := range a.promlet.OtherShards() {
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
	rules := a.promlet.Provider.Rules()
	shown := web.Configuration{
		File: a.opts.config, Rules: rules.Custom, ExternalRules: rules.External, Keep: rules.Keep,
		Flags: a.opts.shownFlags(), Versions: versions(), Warnings: a.promlet.Provider.Oddities(),
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
