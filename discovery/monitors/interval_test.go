package monitors_test

import (
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/internal/storetest"
)

func TestIntervalsOfRelabelingsAreRaised(t *testing.T) {
	f := func(relabelings, want string) {
		t.Helper()
		c := jobConfig(t, samples.ServiceMonitor(`{selector: {}, endpoints: [{scrapeTimeout: 1ms, relabelings: [`+relabelings+`]}]}`), discovery.Options{})
		lset, err := promscrape.PopulateLabels(labels.NewBuilder(labels.EmptyLabels()), c, model.LabelSet{
			model.AddressLabel: "a:1", "pace": "250ms", "name": model.ScrapeIntervalLabel, "own_scrape_interval__": "7ms",
		}, nil)
		require.NoError(t, err)
		require.Equal(t, want, lset.Get(model.ScrapeIntervalLabel))
	}
	f(`{targetLabel: __scrape_interval__, replacement: 1ms}`, "1s")
	f(`{targetLabel: __scrape_interval__, replacement: 0y0h0s0999ms}`, "1s")
	f(`{targetLabel: __scrape_interval__, replacement: 1000ms}`, "1000ms")
	f(`{targetLabel: __scrape_interval__, replacement: 1s1ms}`, "1s1ms")
	f(`{sourceLabels: [pace], targetLabel: __scrape_interval__}`, "1s")
	f(`{sourceLabels: [name, pace], regex: "(.*);(.*)", targetLabel: "$1", replacement: "$2"}`, "1s")
	f(`{action: labelmap, regex: own(.*), replacement: "_$1"}`, "1s")
	f(`{sourceLabels: [pace], targetLabel: speed}`, "30s")
}

func TestRaisedIntervalsAreSaid(t *testing.T) {
	d := discovery.New(storetest.Load(t, samples.PodMonitor(`{selector: {}, podMetricsEndpoints: [
		{interval: 1s, relabelings: [{targetLabel: __scrape_interval__, replacement: 45s}]}, {interval: "0"}, {},
		{interval: 999ms, relabelings: [{targetLabel: a, replacement: 1ms}, {targetLabel: __scrape_interval__, replacement: 2ms}]}]}`)), discovery.Options{})
	runtest.Resolve(t, d)
	require.Equal(t, []string{
		"spec.podMetricsEndpoints[3].interval: 999ms is raised to 1s",
		"spec.podMetricsEndpoints[3].relabelings[1].replacement: 2ms is raised to 1s",
	}, d.Monitors()[0].Adjusted)

	rejected := discovery.New(storetest.Load(t, samples.PodMonitor(`{selector: {}, podMetricsEndpoints: [{interval: 1ms, scrapeTimeout: 2s}]}`)), discovery.Options{})
	runtest.Resolve(t, rejected)
	require.Empty(t, rejected.Monitors()[0].Adjusted)
}

func TestDefaultIntervalIsRaised(t *testing.T) {
	c := jobConfig(t, samples.ServiceMonitor(`{selector: {}, endpoints: [{}]}`), discovery.Options{ScrapeInterval: time.Millisecond})
	require.Equal(t, model.Duration(time.Second), c.ScrapeInterval)
	require.Equal(t, model.Duration(time.Second), c.ScrapeTimeout)
}
