package scrape

import (
	"context"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/promlet/promlet/scrape/seriesroom"
)

// One target that serves four series and then fails; one of its names is read, and
// one of the series of that finds no room.
func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	server := serveSequence(t, textType, "a{x=\"1\"} 1\na{x=\"2\"} 1\nb 1\nc 1\n", "!")
	room := seriesroom.New(seriesroom.Limits{Series: 100})
	storage := room.Storage()
	for range 111 { // at 112 even owners below their share find no room
		storage.PostCreation(labels.EmptyLabels())
	}
	r := &recorder{next: newTSDB(t, func(o *tsdb.Options) { o.SeriesLifecycleCallback = storage })}
	m := newManager(t, r, onDemand, func(o *Options) { o.Registerer, o.SeriesRoom = registry, room })
	require.NoError(t, m.SetDemand(context.Background(), wants("a")))
	target := model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(server.Server))}
	require.NoError(t, m.Apply(one(jobConfig("j", slow)), groups("j", &targetgroup.Group{Source: "s", Targets: []model.LabelSet{target}})))
	eventually(t, func() bool { return testutil.ToFloat64(m.metrics.failed) == 1 }, "the quick second scrape fails")

	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP promlet_scrape_exposed_names Metric names that targets expose, stored or not, counted for each job.
# TYPE promlet_scrape_exposed_names gauge
promlet_scrape_exposed_names 3
# HELP promlet_scrape_exposed_series Series that targets expose, stored or not.
# TYPE promlet_scrape_exposed_series gauge
promlet_scrape_exposed_series 4
# HELP promlet_scrape_samples_seen_total Samples in the bodies that were scraped.
# TYPE promlet_scrape_samples_seen_total counter
promlet_scrape_samples_seen_total 4
# HELP promlet_scrape_samples_stored_total Samples of these bodies that were stored: on demand, those that somebody reads.
# TYPE promlet_scrape_samples_stored_total counter
promlet_scrape_samples_stored_total 1
# HELP promlet_scrape_series_limit How many series may be stored in all, 0 for no limit.
# TYPE promlet_scrape_series_limit gauge
promlet_scrape_series_limit 100
# HELP promlet_scrape_series_refused Series in the last scrapes of all targets that were not stored because the series limit is near, by whether anybody reads them.
# TYPE promlet_scrape_series_refused gauge
promlet_scrape_series_refused{read="no"} 0
promlet_scrape_series_refused{read="yes"} 1
# HELP promlet_scrape_scrapes_total Scrapes that ran to their end, by result.
# TYPE promlet_scrape_scrapes_total counter
promlet_scrape_scrapes_total{result="failure"} 1
promlet_scrape_scrapes_total{result="success"} 1
`), "promlet_scrape_exposed_names", "promlet_scrape_exposed_series", "promlet_scrape_samples_seen_total",
		"promlet_scrape_samples_stored_total", "promlet_scrape_series_limit", "promlet_scrape_series_refused", "promlet_scrape_scrapes_total"))
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestNewManagerErrors(t *testing.T) {
	_, err := NewManager(Options{})
	require.ErrorContains(t, err, "Appendable is nil")

	reg := prometheus.NewRegistry()
	first := newManager(t, &recorder{}, func(o *Options) { o.Registerer = reg })
	_, err = NewManager(Options{Appendable: &recorder{}, Registerer: reg})
	require.ErrorContains(t, err, "register scrape metrics")
	// What the failed one registered is gone, what the first did is not.
	mfs, err := reg.Gather()
	require.NoError(t, err)
	require.NotEmpty(t, mfs)
	first.Stop()
	newManager(t, &recorder{}, func(o *Options) { o.Registerer = reg }).Stop()
	mfs, err = reg.Gather()
	require.NoError(t, err)
	require.Empty(t, mfs)
}
