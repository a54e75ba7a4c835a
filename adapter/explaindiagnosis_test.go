package adapter

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/adapter/rules"
)

// queried serves the metric m of the Service shop with a query over http_requests_total and queue_depth, which have samples.
func (th *monitored) queried(query string) {
	rule := rules.Rule{SeriesQuery: "http_requests_total", Resources: rules.Defaults(rules.DefaultRateWindow)[0].Resources, Name: rules.Name{As: "m"}, MetricsQuery: query}
	external := rules.Rule{SeriesQuery: "http_requests_total", Resources: rules.Resources{Overrides: defaultOverrides()}, Name: rules.Name{As: "m"}, MetricsQuery: query}
	all := func(known uint64) ([]catalog.Exposed, uint64) {
		if known == 1 {
			return nil, 1
		}
		return th.exposed["job"], 1
	}
	th.provide(Options{Explain: th.explaining(), Exposed: all, Rules: rules.Set{Custom: []rules.Rule{rule}, External: []rules.Rule{external}}})
	const of = `{namespace="default",pod="shop-1",container="app",job="shop",instance="10.0.0.1:80"}`
	th.load("http_requests_total"+of+" 0+15x16", "queue_depth"+of+" 0x16")
}

// The reason for an empty result is the part of the query that has no result.
func TestExplanationsOfQueriesWithoutResults(t *testing.T) {
	f := func(name, query, want string) {
		t.Run(name, func(t *testing.T) {
			th := newMonitored(t)
			th.queried(query)
			require.Equal(t, want, th.reason("m"))
		})
	}
	const m, by = "<<.LabelMatchers>>", "by (<<.GroupBy>>)"
	f("a series that nobody exposes", "sum(http_requests_total{"+m+"}) "+by+" / sum(queue_dept{"+m+"}) "+by,
		"the query of rules[0] returns nothing for it: it reads queue_dept, which no target exposes (closest: queue_depth)")
	f("inside a function", `sum(rate(http_requests_total{`+m+`}[2m])) `+by+` * on(<<.GroupBy>>) ceil(sum(rate(http_errors{`+m+`}[2m])) `+by+`)`,
		"the query of rules[0] returns nothing for it: it reads http_errors, which no target exposes")
	f("a label value that no series has", `sum(rate(http_requests_total{code="500",`+m+`}[2m])) `+by,
		`the query of rules[0] returns nothing for it: no series matches http_requests_total{code="500",namespace="default",pod="shop-1"}`)
	f("braces of another template", `sum(rate(http_requests_total{namespace="{{.Namespace}}"}[2m])) `+by,
		`the query of rules[0] returns nothing for it: no series matches http_requests_total{namespace="{{.Namespace}}"}`)
	f("sides that do not join", "sum(http_requests_total{"+m+"}) "+by+" / queue_depth{"+m+"}",
		`the query of rules[0] returns nothing for it: the two sides of sum by (namespace) (http_requests_total{namespace="default",pod="shop-1"}) / queue_depth{namespace="default",pod="shop-1"} have results, `+
			`but different labels, (namespace) and (container, instance, job, namespace, pod): match them with on() or ignoring()`)
	f("sides of other values", `label_replace(sum(http_requests_total{`+m+`}) `+by+`, "x", "1", "", "") + label_replace(sum(queue_depth{`+m+`}) `+by+`, "x", "2", "", "")`,
		`the query of rules[0] returns nothing for it: the two sides of label_replace(sum by (namespace) (http_requests_total{namespace="default",pod="shop-1"}), "x", "1", "", "") + `+
			`label_replace(sum by (namespace) (queue_depth{namespace="default",pod="shop-1"}), "x", "2", "", "") have results, but different values of the labels (namespace, x)`)
	f("a comparison", "sum(queue_depth{"+m+"} > 5) "+by,
		`the query of rules[0] returns nothing for it: no result satisfies the comparison queue_depth{namespace="default",pod="shop-1"} > 5`)
	f("unless", "sum(http_requests_total{"+m+"} unless queue_depth{"+m+"}) "+by,
		`the query of rules[0] returns nothing for it: the right side of http_requests_total{namespace="default",pod="shop-1"} unless queue_depth{namespace="default",pod="shop-1"} removes all results`)
	f("a range shorter than the interval", "sum(max_over_time(queue_depth{"+m+"}[5s] offset 5s)) "+by,
		"the query of rules[0] looks back over 5s only, and its series are scraped every 15s: most of the time that holds no sample; make the range at least twice the interval")
	f("one sample in the range", "sum(deriv(queue_depth{"+m+"}[10s])) "+by, "the query of rules[0] needs two samples of queue_depth within 10s")
	f("both sides of an or", "sum(http_errors{"+m+"} or http_failures{"+m+"}) "+by,
		"the query of rules[0] returns nothing for it: it reads http_errors, which no target exposes")
	f("no label of the object", "sum(http_requests_total{"+m+"})",
		`sum(http_requests_total{namespace="default",pod="shop-1"}) keeps no label namespace: aggregate by (<<.GroupBy>>)`)
}

// The reason for NaN or infinity names the part of the query, or the series, that causes it.
func TestExplanationsOfValuesThatAreNoNumber(t *testing.T) {
	f := func(name, query string, odd float64, want string) {
		t.Run(name, func(t *testing.T) {
			th := newMonitored(t)
			th.queried(query)
			if odd != 0 {
				th.pod("shop-2", "shop")
				th.service("shop", "shop-1", "shop-2")
				th.append("queue_depth", "shop-2", odd)
			}
			require.Equal(t, want, th.reason("m"))
		})
	}
	const m, by = "<<.LabelMatchers>>", "by (<<.GroupBy>>)"
	f("the series of a pod", "sum(queue_depth{"+m+"}) "+by, math.NaN(), "the value is NaN: queue_depth of pod shop-2 is NaN")
	f("the series of a pod in a ratio", "sum(queue_depth{"+m+"}) "+by+" / sum(http_requests_total{"+m+"}) "+by, math.Inf(1),
		"the value is +Inf: queue_depth of pod shop-2 is +Inf")
	f("nothing divided by nothing", "sum(queue_depth{"+m+"}) "+by+" / sum(queue_depth{"+m+"}) "+by, 0,
		`the value is NaN: 0 divided by 0 in sum by (namespace) (queue_depth{namespace="default",pod="shop-1"}) / sum by (namespace) (queue_depth{namespace="default",pod="shop-1"})`)
	f("divided by nothing", "sum(http_requests_total{"+m+"}) "+by+" / sum(queue_depth{"+m+"}) "+by, 0,
		`the value is +Inf: a division by 0 in sum by (namespace) (http_requests_total{namespace="default",pod="shop-1"}) / sum by (namespace) (queue_depth{namespace="default",pod="shop-1"})`)
	f("a quantile of nothing", `histogram_quantile(0.9, label_replace(sum(queue_depth{`+m+`}) `+by+`, "le", "+Inf", "", ""))`, 0,
		`the value is NaN: the histogram has no observations in histogram_quantile(0.9, label_replace(sum by (namespace) (queue_depth{namespace="default",pod="shop-1"}), "le", "+Inf", "", ""))`)

	th := newMonitored(t)
	th.queried("sum(queue_depth{" + m + "}) by (pod)")
	th.pod("shop-2", "shop")
	th.append("queue_depth", "shop-2", math.NaN())
	told, err := th.Explainer.Explain(t.Context(), explain.Question{Metric: "m", Object: podResource, Namespace: "default"})
	require.NoError(t, err)
	require.Equal(t, "1 of 2 have a value; shop-2 has none:", told.Steps[1].Text)
	require.Equal(t, "has a value for 1 of 2 pods; shop-2 has none: "+told.Reason, told.Verdict())
	require.Equal(t, "the value is NaN: queue_depth of pod shop-2 is NaN", told.Reason)
	told, err = th.Explainer.Explain(t.Context(), explain.Question{Metric: "m", Namespace: "default", External: true})
	require.NoError(t, err)
	require.Equal(t, `the value is NaN, of {pod="shop-2"}: queue_depth of pod shop-2 is NaN`, told.Reason)

	hpa := th.scaling("shop", podsMetric("m"))
	hpa.Spec.ScaleTargetRef.Name = "shop"
	th.append("queue_depth", "shop-1", math.NaN())
	all, err := th.Autoscalers.List(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, "pod shop-1: the value is NaN: queue_depth of pod shop-1 is NaN", all[0].Metrics[0].Reason)
}
