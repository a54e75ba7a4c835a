package httpapi

import (
	"context"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	apiv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/tsdb"
)

// scene is what a program has that scrapes one application.
type scene struct {
	server string
	db     *tsdb.DB
	now    time.Time // of the newest samples
	opts   Options
}

const sceneSeries = `
	http_requests_total{job="app",instance="a"} 0+10x30
	http_requests_total{job="app",instance="b"} 0+20x30
	up{job="app",instance="a"} 1x30`

func newScene(t *testing.T, change ...func(*Options)) *scene {
	t.Helper()
	registry := prometheus.NewRegistry()
	db := openDB(t, func(o *tsdb.Options) { o.Registerer = registry })
	now := time.Now().Truncate(time.Second)
	load(t, db, now.Add(-300*time.Second), sceneSeries)
	job := &config.ScrapeConfig{
		JobName: "app", MetricsPath: "/metrics", Scheme: "http",
		ScrapeInterval: model.Duration(15 * time.Second), ScrapeTimeout: model.Duration(10 * time.Second),
	}
	job.HTTPClientConfig.BearerToken = "hush"
	target := scrape.NewTarget(labels.FromStrings(
		model.AddressLabel, "10.244.0.1:8080", model.SchemeLabel, "http", model.MetricsPathLabel, "/metrics",
		model.ScrapeIntervalLabel, "15s", model.ScrapeTimeoutLabel, "10s", "job", "app", "instance", "a",
	), job, model.LabelSet{"__address__": "10.244.0.1:8080"}, nil)
	target.SetMetadataStore(metadataStore{})
	cfg := config.DefaultConfig
	cfg.ScrapeConfigs = []*config.ScrapeConfig{job}
	opts := Options{
		DB:       db,
		Targets:  func() map[string][]*scrape.Target { return map[string][]*scrape.Target{"app": {target}} },
		Config:   func() config.Config { return cfg },
		Names:    func() []string { return []string{"queue_depth", "up"} },
		Flags:    map[string]string{"rate-window": "2m0s"},
		Version:  "v0.1.0",
		Gatherer: registry,
	}
	for _, c := range change {
		c(&opts)
	}
	return &scene{server: serve(t, opts), db: db, now: now, opts: opts}
}

// metadataStore is that of a target with one family.
type metadataStore struct{}

var family = scrape.MetricMetadata{MetricFamily: "http_requests_total", Type: model.MetricTypeCounter, Help: "Requests."}

func (metadataStore) ListMetadata() []scrape.MetricMetadata { return []scrape.MetricMetadata{family} }
func (metadataStore) GetMetadata(name string) (scrape.MetricMetadata, bool) {
	return family, name == family.MetricFamily
}
func (metadataStore) SizeMetadata() int   { return 1 }
func (metadataStore) LengthMetadata() int { return 1 }

func TestClientOfPrometheus(t *testing.T) {
	s := newScene(t)
	client, err := api.NewClient(api.Config{Address: s.server, RoundTripper: http.DefaultTransport})
	require.NoError(t, err)
	c := apiv1.NewAPI(client)
	ctx := t.Context()

	value, warnings, err := c.Query(ctx, `sum(rate(http_requests_total[1m]))`, s.now)
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.Equal(t, "{} => 3 @["+model.TimeFromUnix(s.now.Unix()).String()+"]", value.String())
	value, _, err = c.QueryRange(ctx, `up`, apiv1.Range{Start: s.now.Add(-time.Minute), End: s.now, Step: 15 * time.Second})
	require.NoError(t, err)
	require.Len(t, value.(model.Matrix)[0].Values, 5)
	exemplars, err := c.QueryExemplars(ctx, `up`, s.now.Add(-time.Minute), s.now)
	require.NoError(t, err)
	require.Empty(t, exemplars)
	series, _, err := c.Series(ctx, []string{"http_requests_total"}, s.now.Add(-time.Minute), s.now)
	require.NoError(t, err)
	require.Len(t, series, 2)
	names, _, err := c.LabelNames(ctx, []string{"up"}, s.now.Add(-time.Minute), s.now)
	require.NoError(t, err)
	require.Equal(t, model.LabelNames{"__name__", "instance", "job"}, names)
	values, _, err := c.LabelValues(ctx, "__name__", nil, s.now.Add(-time.Minute), s.now)
	require.NoError(t, err)
	require.Equal(t, model.LabelValues{"http_requests_total", "queue_depth", "up"}, values)

	targets, err := c.Targets(ctx)
	require.NoError(t, err)
	require.Empty(t, targets.Dropped)
	require.Len(t, targets.Active, 1)
	require.Equal(t, "http://10.244.0.1:8080/metrics", targets.Active[0].ScrapeURL)
	require.Equal(t, "app", targets.Active[0].ScrapePool)
	require.Equal(t, apiv1.HealthUnknown, targets.Active[0].Health)
	require.Equal(t, model.LabelSet{"job": "app", "instance": "a"}, targets.Active[0].Labels)
	metadata, err := c.Metadata(ctx, "", "10")
	require.NoError(t, err)
	require.Equal(t, map[string][]apiv1.Metadata{"http_requests_total": {{Type: apiv1.MetricTypeCounter, Help: "Requests."}}}, metadata)
	ofTargets, err := c.TargetsMetadata(ctx, `{job="app"}`, "http_requests_total", "10")
	require.NoError(t, err)
	require.Len(t, ofTargets, 1)

	s.askStatus(ctx, t, c)
}

func (s *scene) askStatus(ctx context.Context, t *testing.T, c apiv1.API) {
	build, err := c.Buildinfo(ctx)
	require.NoError(t, err)
	require.Equal(t, "3.15.0+promlet", build.Version)
	require.Equal(t, "v0.1.0", build.Revision)
	runtimeInfo, err := c.Runtimeinfo(ctx)
	require.NoError(t, err)
	require.True(t, runtimeInfo.ReloadConfigSuccess)
	require.Equal(t, "2h", runtimeInfo.StorageRetention)
	require.WithinDuration(t, time.Now(), runtimeInfo.StartTime, time.Minute)
	shown, err := c.Config(ctx)
	require.NoError(t, err)
	require.Contains(t, shown.YAML, "job_name: app")
	require.Contains(t, shown.YAML, "<secret>")
	require.NotContains(t, shown.YAML, "hush")
	flags, err := c.Flags(ctx)
	require.NoError(t, err)
	require.Equal(t, apiv1.FlagsResult{"rate-window": "2m0s"}, flags)
	statistics, err := c.TSDB(ctx)
	require.NoError(t, err)
	require.Equal(t, 3, statistics.HeadStats.NumSeries)
	require.GreaterOrEqual(t, statistics.HeadStats.ChunkCount, 3)
	require.Equal(t, apiv1.Stat{Name: "http_requests_total", Value: 2}, statistics.SeriesCountByMetricName[0])
	_, err = c.WalReplay(ctx)
	require.NoError(t, err)
	rules, err := c.Rules(ctx, nil)
	require.NoError(t, err)
	require.Empty(t, rules.Groups)
	alerts, err := c.Alerts(ctx)
	require.NoError(t, err)
	require.Empty(t, alerts.Alerts)
	alertmanagers, err := c.AlertManagers(ctx)
	require.NoError(t, err)
	require.Empty(t, alertmanagers.Active)

	// What would change something is refused, as by Prometheus where it is not enabled.
	for _, path := range []string{"/admin/tsdb/snapshot", "/admin/tsdb/delete_series", "/admin/tsdb/clean_tombstones"} {
		require.Equal(t, "admin APIs disabled", post(t, s.server, path, "match[]", "up").Error)
	}
}

func TestPromtool(t *testing.T) {
	_, promtool := binaries(t)
	s := newScene(t)
	f := func(want []string, args ...string) {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), promtool, append([]string{"query"}, args...)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		for _, w := range want {
			require.Contains(t, string(out), w)
		}
	}
	start, end := s.now.Add(-time.Minute).Format(time.RFC3339), s.now.Format(time.RFC3339)
	f([]string{`{job="app"} => 3 @`}, "instant", "--time="+end, s.server, `sum by (job) (rate(http_requests_total[1m]))`)
	f([]string{`up{instance="a", job="app"}`, "1 @"}, "range", "--start="+start, "--end="+end, "--step=15s", s.server, "up")
	f([]string{`instance="a"`, `instance="b"`}, "series", "--match=http_requests_total", "--start="+start, "--end="+end, s.server)
	f([]string{"http_requests_total\nqueue_depth\nup"}, "labels", s.server, "__name__")
}
