package adapter

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
)

// countedAs returns what an answer counts as.
func (f *fixture) countedAs(a rules.API, ask func()) (counted values.Outcome) {
	f.t.Helper()
	before := map[values.Outcome]float64{}
	for as, counter := range f.metrics.answers[a] {
		before[as] = testutil.ToFloat64(counter)
	}
	ask()
	for as, counter := range f.metrics.answers[a] {
		if more := testutil.ToFloat64(counter) - before[as]; more != 0 {
			require.EqualValues(f.t, 1, more, as)
			require.Empty(f.t, counted, "one answer counts once")
			counted = as
		}
	}
	require.NotEmpty(f.t, counted)
	return counted
}

// Each outcome is that of the message's reason.
func TestAnswersAreCountedByReason(t *testing.T) {
	service := "default/services/shop/http_requests"
	f := func(path string, want values.Outcome, change func(th *monitored)) {
		t.Helper()
		th := newMonitored(t)
		change(th)
		require.Equal(t, want, th.countedAs(rules.CustomAPI, func() { t.Log(th.ask(path)) }), path)
	}
	stored := func(th *monitored) {
		th.load(`http_requests_total{namespace="default",pod="shop-1",service="shop",container="app",job="shop"} 0+15x16`)
	}
	asItIs := func(*monitored) {}
	f(service, values.OutcomeValue, stored)
	f("default/pods/*/http_requests", values.OutcomeValue, stored)
	f("default/services/shops/http_requests", values.OutcomeNoObject, stored)
	f("default/pods/*/http_requests?app=none", values.OutcomeNoObject, stored)
	f("/services/shop/http_requests", values.OutcomeRefused, stored)
	f("default/services/shop/http_requests??code<5", values.OutcomeRefused, stored)
	f("default/widgets.example.com/x/http_requests", values.OutcomeRefused, stored)
	f("default/services/shop/http_requests??code=5", values.OutcomeNoSeries, stored)
	f("default/pods/*/http_requests??code=5", values.OutcomeTooFewSamples, stored)
	f(service, values.OutcomeNoMonitor, func(th *monitored) { th.services, th.targets = nil, nil })
	f(service, values.OutcomeNoEndpoints, func(th *monitored) {
		th.services["shop"].Monitors[0].Jobs[0] = explain.ReachedJob{Name: "job", Missing: "the Service has no such port"}
		th.targets = nil
	})
	f(service, values.OutcomeTargetDown, func(th *monitored) { th.targets[0].Err = errors.New("refused") })
	f(service, values.OutcomeNoSeries, func(th *monitored) { th.exposed["job"][0].Name = "x" })
	f(service, values.OutcomeNoSamples, asItIs)
	f(service, values.OutcomeStarting, func(th *monitored) { th.startCollection() })
	f(service, values.OutcomeTooFewSamples, func(th *monitored) {
		th.load(`http_requests_total{namespace="default",pod="shop-1",service="shop",container="app",job="shop"} 1`)
	})
	f(service, values.OutcomeNoSamples, func(th *monitored) { stored(th); th.now = th.now.Add(time.Minute) })
	nan := func(th *monitored) { th.append("http_requests", "shop-1", math.NaN()) }
	f("default/pods/shop-1/http_requests", values.OutcomeNotANumber, nan)
	f("default/pods/*/http_requests", values.OutcomeNotANumber, nan)
}

// Without explanations the reason is the one that evaluation has found.
func TestAnswersAreCountedWithoutExplanations(t *testing.T) {
	f := newFixtureWith(t, Options{Rules: rules.Set{External: []rules.Rule{{
		SeriesQuery: `queue_depth`, Name: rules.Name{As: "several"}, MetricsQuery: `<<.Series>>{<<.LabelMatchers>>}`,
		Resources: rules.Resources{Overrides: defaultOverrides()},
	}}}})
	f.namespaces("default")
	f.pod("sample-1", "sample")
	f.load(`queue_depth{namespace="default",pod="sample-1"} 1x4`, `once_total{namespace="default",pod="sample-1"} _x3 1`)
	custom := func(path string, want values.Outcome) {
		t.Helper()
		require.Equal(t, want, f.countedAs(rules.CustomAPI, func() { t.Log(f.ask(path)) }), path)
	}
	external := func(path string, want values.Outcome) {
		t.Helper()
		require.Equal(t, want, f.countedAs(rules.ExternalAPI, func() { t.Log(f.askExternal(path)) }), path)
	}
	custom("default/pods/sample-1/queue_depth", values.OutcomeValue)
	custom("default/pods/sample-2/queue_depth", values.OutcomeNoObject)
	custom("default/pods/sample-1/nonsense", values.OutcomeNoMetric)
	custom("default/pods/sample-1/once", values.OutcomeTooFewSamples)
	external("default/several", values.OutcomeValue)
	external("other/several", values.OutcomeNoSeries)
	external("default/nonsense", values.OutcomeNoMetric)
	require.NoError(t, f.db.Close())
	custom("default/pods/sample-1/queue_depth", values.OutcomeError)
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	f := scenario(t)
	f.again(func(o *Options) {
		o.Registerer, o.Rules.Keep = registry, []string{"node_load1", "node_load5"}
	})
	f.hpa("app", podsMetric("http_requests"), objectMetric("http_requests"), podsMetric("later"))
	f.now = f.now.Add(7 * time.Second)
	require.NotContains(t, f.ask("default/pods/*/queue_depth"), "404")
	f.Demand.Selected([]*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "x")})
	f.wanted() // as Tracker.Run looks each second
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP promlet_demand What is wanted, by who wants it: metrics that HorizontalPodAutoscalers scale on (hpa) or that were asked for over the APIs (api), selectors of queries (query), and patterns of keep in the configuration (keep).
# TYPE promlet_demand gauge
promlet_demand{reader="api"} 1
promlet_demand{reader="hpa"} 2
promlet_demand{reader="keep"} 2
promlet_demand{reader="query"} 1
# HELP promlet_api_value_age_seconds How old the last sample behind a value was when it was answered.
# TYPE promlet_api_value_age_seconds histogram
promlet_api_value_age_seconds_bucket{api="custom",le="1"} 0
promlet_api_value_age_seconds_bucket{api="custom",le="2.5"} 0
promlet_api_value_age_seconds_bucket{api="custom",le="5"} 0
promlet_api_value_age_seconds_bucket{api="custom",le="10"} 2
promlet_api_value_age_seconds_bucket{api="custom",le="15"} 2
promlet_api_value_age_seconds_bucket{api="custom",le="30"} 2
promlet_api_value_age_seconds_bucket{api="custom",le="60"} 2
promlet_api_value_age_seconds_bucket{api="custom",le="120"} 2
promlet_api_value_age_seconds_bucket{api="custom",le="+Inf"} 2
promlet_api_value_age_seconds_sum{api="custom"} 14
promlet_api_value_age_seconds_count{api="custom"} 2
promlet_api_value_age_seconds_bucket{api="external",le="1"} 0
promlet_api_value_age_seconds_bucket{api="external",le="2.5"} 0
promlet_api_value_age_seconds_bucket{api="external",le="5"} 0
promlet_api_value_age_seconds_bucket{api="external",le="10"} 0
promlet_api_value_age_seconds_bucket{api="external",le="15"} 0
promlet_api_value_age_seconds_bucket{api="external",le="30"} 0
promlet_api_value_age_seconds_bucket{api="external",le="60"} 0
promlet_api_value_age_seconds_bucket{api="external",le="120"} 0
promlet_api_value_age_seconds_bucket{api="external",le="+Inf"} 0
promlet_api_value_age_seconds_sum{api="external"} 0
promlet_api_value_age_seconds_count{api="external"} 0
`), "promlet_demand", "promlet_api_value_age_seconds"))
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)

	_, err = NewProvider(Options{DB: f.db, Objects: f.lister, Registerer: registry})
	require.ErrorContains(t, err, "register metrics")
}

// What each evaluation costs for being counted, and each value.
func BenchmarkCounting(b *testing.B) {
	m := newMetrics()
	for b.Loop() {
		m.evaluated(time.Now(), 1, nil)
		m.answered(rules.CustomAPI, time.Now(), values.OutcomeValue)
		m.valueOf(rules.CustomAPI, time.Second)
	}
}
