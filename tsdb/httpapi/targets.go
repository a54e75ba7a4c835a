package httpapi

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	v1 "github.com/prometheus/prometheus/web/api/v1"
)

// targets lists what is scraped, for the API.
type targets struct{ opts Options }

// ScrapePools implements v1.ScrapePoolsRetriever.
func (t *targets) ScrapePools() []string {
	return slices.AppendSeq([]string{}, maps.Keys(t.opts.Targets()))
}

// TargetsActive implements v1.TargetRetriever: those of a job by their URLs.
func (t *targets) TargetsActive() map[string][]*scrape.Target {
	active := t.opts.Targets()
	for _, of := range active {
		slices.SortStableFunc(of, func(a, b *scrape.Target) int { return cmp.Compare(a.URL().String(), b.URL().String()) })
	}
	return active
}

// TargetsDropped implements v1.TargetRetriever: they are not kept.
func (*targets) TargetsDropped() map[string][]*scrape.Target { return nil }

// TargetsDroppedCounts implements v1.TargetRetriever: they are not counted either.
func (*targets) TargetsDroppedCounts() map[string]int { return map[string]int{} }

// ScrapePoolConfig implements v1.TargetRetriever.
func (t *targets) ScrapePoolConfig(job string) (*config.ScrapeConfig, error) {
	for _, c := range t.opts.Config().ScrapeConfigs {
		if c.JobName == job {
			return c, nil
		}
	}
	return nil, fmt.Errorf("there is no job %q", job)
}

// globalURL is how targets on localhost are named.
func globalURL(listen string) (v1.GlobalURLOptions, error) {
	if listen == "" {
		// A port that no target has.
		return v1.GlobalURLOptions{ListenAddress: "localhost:0", Host: "localhost", Scheme: "http"}, nil
	}
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return v1.GlobalURLOptions{}, err
	}
	name, err := os.Hostname()
	if err != nil {
		return v1.GlobalURLOptions{}, err
	}
	return v1.GlobalURLOptions{ListenAddress: listen, Host: net.JoinHostPort(name, port), Scheme: "http"}, nil
}

// nothing is what there is of rules, alerts and Alertmanagers.
type nothing struct{}

func (nothing) RuleGroups() []*rules.Group           { return nil }
func (nothing) AlertingRules() []*rules.AlertingRule { return nil }
func (nothing) Alertmanagers() []*url.URL            { return nil }
func (nothing) DroppedAlertmanagers() []*url.URL     { return nil }
