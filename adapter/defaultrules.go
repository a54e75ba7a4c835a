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

// collapseContainers counts each container of a pod once: its series by whatever
// port, Service or monitor they came, and those for which no container is known only
// where there are none of a container. What belongs to no pod is told apart by its
// instance. Where nothing is scraped twice there is nothing to collapse, %[4]s.
const collapseContainers = `sum by (<<.GroupBy>>) (<<if .Duplicates>>` +
	`max without (<<.EndpointLabels>>) (%[1]s) or ignoring (container) ` +
	`max without (<<.EndpointLabels>>) (%[2]s)` +
	`<<if ne .GroupBy "pod">> or max without (<<.TargetLabels>>) (%[3]s)<<end>><<else>>%[4]s<<end>>)`

// collapseCgroups is for cAdvisor's series: those of the whole pod count where it
// has none of its containers.
const collapseCgroups = `sum by (<<.GroupBy>>) (` +
	`max without (<<.EndpointLabels>>) (%[1]s) or on (namespace, pod) ` +
	`max without (<<.EndpointLabels>>) (%[2]s))`

// DefaultRules serve every series that carries a namespace, by the names that
// prometheus-adapter's Helm chart gives: http_requests_total becomes
// http_requests per second, x_seconds_total becomes x, and what does not end in
// _total keeps its name and is summed. Rates are per second over window.
//
// They differ from that chart in two ways: labels mean resources by a fixed
// table instead of a template that takes the job label for a Job, and a container
// counts once, however many ports, Services and monitors it is scraped by.
func DefaultRules(window time.Duration) []Rule {
	onePod := `<<if ne .GroupBy "pod">>,pod!=""<<end>>`
	query := func(collapse string, value string, matchers ...any) string {
		for i, m := range matchers {
			matchers[i] = fmt.Sprintf(value, fmt.Sprintf("<<.Series>>{<<.LabelMatchers>>%s}", m))
		}
		return fmt.Sprintf(collapse, matchers...)
	}
	queries := func(value string) (app, cgroup string) {
		return query(collapseContainers, value, onePod+`,container!=""`, onePod+`,container=""`, `,pod=""`, ``),
			query(collapseCgroups, value, `,container!="",container!="POD"`, `,container=""`)
	}
	rate, containerRate := queries(fmt.Sprintf("rate(%%s[%s])", model.Duration(window)))
	sum, containerSum := queries("%s")
	containers := `{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}`
	others := `{namespace!="",__name__!~"^container_.*"}`
	rule := func(seriesQuery, isNot, matches, query string) Rule {
		r := Rule{
			SeriesQuery:  seriesQuery,
			Resources:    Resources{Overrides: defaultOverrides()},
			Name:         Name{Matches: matches},
			MetricsQuery: query,

			byDefault: true,
		}
		if isNot != "" {
			r.SeriesFilters = []Filter{{IsNot: isNot}}
		}
		return r
	}
	return []Rule{
		rule(containers, ``, `^container_(.*)_seconds_total$`, containerRate),
		rule(containers, `^container_.*_seconds_total$`, `^container_(.*)_total$`, containerRate),
		rule(containers, `^container_.*_total$`, `^container_(.*)$`, containerSum),
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
