package rules

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// seriesType is which series a default rule takes. Configured rules take any.
type seriesType uint8

const (
	anyType seriesType = iota
	countersOnly
	othersOnly
)

// DefaultRateWindow smooths over a load's bursts and still follows it within the two
// minutes in which an HPA should have acted.
const DefaultRateWindow = 2 * time.Minute

// isCounter reports whether a series only rises, so that its rate is of interest. Where
// no type is known, the name decides.
func isCounter(series string, typ model.MetricType) bool {
	switch typ {
	case model.MetricTypeCounter:
		return true
	case model.MetricTypeHistogram, model.MetricTypeSummary:
		return strings.HasSuffix(series, "_count") || strings.HasSuffix(series, "_sum") || strings.HasSuffix(series, "_bucket")
	case model.MetricTypeUnknown, "":
		return strings.HasSuffix(series, "_total")
	default:
		return false
	}
}

// Defaults serve every series with a namespace label. Counters, and the counts, sums and
// buckets of histograms and summaries, become rates per second over window, without
// _total and _seconds_total in their names: http_requests_total becomes http_requests.
// All others keep their names and are summed. The target says the type; where it does
// not, names that end in _total are counters.
//
// The names are those of prometheus-adapter's Helm chart. Labels mean resources by a
// fixed table: the chart's template takes the job label for a Job.
func Defaults(window time.Duration) []Rule {
	const (
		selected = "<<.Series>>{<<.LabelMatchers>>}"
		// cAdvisor's series of a whole pod count where there are none of its containers.
		ofContainers = `<<.Series>>{<<.LabelMatchers>>,container!="",container!="POD"}`
		ofPods       = `<<.Series>>{<<.LabelMatchers>>,container=""}`

		containers = `{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}`
		others     = `{namespace!="",__name__!~"^container_.*"}`
	)
	rate := func(selector string) string { return fmt.Sprintf("rate(%s[%s])", selector, model.Duration(window)) }
	rule := func(only seriesType, seriesQuery, matches, query string) Rule {
		return Rule{
			SeriesQuery: seriesQuery, Resources: Resources{Overrides: defaultOverrides()}, Name: Name{Matches: matches},
			MetricsQuery: "sum by (<<.GroupBy>>) (" + query + ")", only: only,
		}
	}
	return []Rule{
		rule(countersOnly, containers, `^container_(.*?)(?:_seconds_total|_total)?$`, rate(ofContainers)+" or on (namespace, pod) "+rate(ofPods)),
		rule(othersOnly, containers, `^container_(.*)$`, ofContainers+" or on (namespace, pod) "+ofPods),
		rule(othersOnly, others, ``, selected),
		rule(countersOnly, others, `^(.*?)(?:_seconds_total|_total)?$`, rate(selected)),
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
