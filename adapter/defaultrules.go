package adapter

import (
	"fmt"
	"time"

	"github.com/prometheus/common/model"
)

// MinIntervalsPerWindow is how many scrape intervals a rate window must span:
// rate() needs two samples, and with four a failed scrape or two leaves enough.
const MinIntervalsPerWindow = 4

// RateWindow returns the window to compute rates over: the one asked for, or
// MinIntervalsPerWindow scrape intervals when that is longer.
func RateWindow(asked, scrapeInterval time.Duration) time.Duration {
	return max(asked, MinIntervalsPerWindow*scrapeInterval)
}

// collapse are the labels by which the same endpoint differs when several
// Services or monitors select its pod. It is scraped once for each, and must be
// counted once. The service label stays when values are asked for by Service.
const collapse = `max without (job, endpoint<<if ne .GroupBy "service">>, service<<end>>)`

// DefaultRules serve every series that carries a namespace, by the names that
// prometheus-adapter's Helm chart gives: http_requests_total becomes
// http_requests per second, x_seconds_total becomes x, and what does not end in
// _total keeps its name and is summed. Rates are per second over window.
//
// They differ from that chart in two ways: labels mean resources by a fixed
// table instead of a template that takes the job label for a Job, and an
// endpoint scraped several times counts once.
func DefaultRules(window time.Duration) []Rule {
	rate := fmt.Sprintf(`sum by (<<.GroupBy>>) (%s (rate(<<.Series>>{<<.LabelMatchers>>}[%s])))`, collapse, model.Duration(window))
	sum := fmt.Sprintf(`sum by (<<.GroupBy>>) (%s (<<.Series>>{<<.LabelMatchers>>}))`, collapse)
	containers := `{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}`
	others := `{namespace!="",__name__!~"^container_.*"}`
	rule := func(seriesQuery, isNot, matches, query string) Rule {
		r := Rule{
			SeriesQuery:  seriesQuery,
			Resources:    Resources{Overrides: defaultOverrides()},
			Name:         Name{Matches: matches},
			MetricsQuery: query,
		}
		if isNot != "" {
			r.SeriesFilters = []Filter{{IsNot: isNot}}
		}
		return r
	}
	return []Rule{
		rule(containers, ``, `^container_(.*)_seconds_total$`, rate),
		rule(containers, `^container_.*_seconds_total$`, `^container_(.*)_total$`, rate),
		rule(containers, `^container_.*_total$`, `^container_(.*)$`, sum),
		rule(others, `.*_total$`, ``, sum),
		rule(others, `.*_seconds_total$`, `^(.*)_total$`, rate),
		rule(others, ``, `^(.*)_seconds_total$`, rate),
	}
}

// defaultOverrides name the resources by the labels that monitors and
// kube-state-metrics put on series.
func defaultOverrides() map[string]GroupResource {
	return map[string]GroupResource{
		"namespace":   {Resource: "namespace"},
		"pod":         {Resource: "pod"},
		"service":     {Resource: "service"},
		"node":        {Resource: "node"},
		"deployment":  {Group: "apps", Resource: "deployment"},
		"statefulset": {Group: "apps", Resource: "statefulset"},
		"daemonset":   {Group: "apps", Resource: "daemonset"},
		"replicaset":  {Group: "apps", Resource: "replicaset"},
	}
}
