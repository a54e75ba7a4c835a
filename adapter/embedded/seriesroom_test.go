package embedded

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/scrape/seriesroom"
	"github.com/promlet/promlet/tsdb"
)

// crowd is a scraper and its storage, with little room for series.
type crowd struct {
	*Promlet
	t      *testing.T
	jobs   []*config.ScrapeConfig
	groups map[string][]*targetgroup.Group
}

func newCrowd(t *testing.T, dir string, limits seriesroom.Limits) *crowd {
	room := seriesroom.New(limits)
	db, err := tsdb.Open(tsdb.Options{Dir: dir, SeriesCallback: func() promtsdb.SeriesLifecycleCallback { return room.Storage() }})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	scraper, err := scrape.NewManager(scrape.Options{Appendable: db, SeriesRoom: room, Owner: discovery.Owner})
	require.NoError(t, err)
	t.Cleanup(scraper.Stop)
	require.NoError(t, scraper.SetDemand(t.Context(), scrape.Demand{Vital: func(string) bool { return true }}))
	return &crowd{
		t: t, groups: map[string][]*targetgroup.Group{},
		Promlet: &Promlet{
			opts: Options{Names: Names{SeriesLimit: "--series-limit", SeriesBytesLimit: "--series-bytes-limit"}}.withDefaults(),
			DB:   db, room: room, Scraper: scraper,
		},
	}
}

// exposer serves n series with labels of some size. It returns its address.
func exposer(t *testing.T, n, size int) model.LabelValue {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		for i := range n {
			_, _ = fmt.Fprintf(w, "m{i=\"%d\",x=\"%s\"} 1\n", i, strings.Repeat("x", size))
		}
	}))
	t.Cleanup(server.Close)
	return model.LabelValue(strings.TrimPrefix(server.URL, "http://"))
}

// add adds a job with a target.
func (c *crowd) add(job string, address model.LabelValue) {
	cfg := config.DefaultScrapeConfig
	cfg.JobName = job
	cfg.HTTPClientConfig = config_util.DefaultHTTPClientConfig
	cfg.ScrapeInterval, cfg.ScrapeTimeout = model.Duration(time.Second), model.Duration(time.Second)
	c.jobs = append(c.jobs, &cfg)
	c.groups[job] = []*targetgroup.Group{{Source: "s", Targets: []model.LabelSet{{model.AddressLabel: address}}}}
	require.NoError(c.t, c.Scraper.Apply(c.jobs, c.groups))
}

// stored counts the current series of a job.
func (c *crowd) stored(job string) int {
	got, err := c.DB.Instant(context.Background(), tsdb.Query{Expr: fmt.Sprintf("count(m{job=%q})", job), At: time.Now(), Lookback: 5 * time.Second})
	require.NoError(c.t, err)
	if len(got) == 0 {
		return 0
	}
	return int(got[0].Value)
}

// Long labels fill the room, and no more than that, before a restart and after it.
func TestLongLabelsTakeRoom(t *testing.T) {
	const limit, job = 4 << 20, "serviceMonitor/a/web/0"
	dir, address := t.TempDir(), exposer(t, 1000, 15_000)
	var before int
	t.Run("first", func(t *testing.T) {
		c := newCrowd(t, dir, seriesroom.Limits{Series: 100_000, Bytes: limit})
		c.add(job, address)
		require.Eventually(t, func() bool { return c.Scraper.RefusedOf(job)["a"] > 700 }, time.Minute, 50*time.Millisecond)
		before = c.stored(job)
		require.InDelta(t, limit/17_500, before, 20)
		require.InDelta(t, limit, c.room.Status().Stored[seriesroom.Bytes], limit/20)
		problems := c.refused()
		require.Len(t, problems, 1)
		require.Regexp(t, `^namespace a: \d+ series that are read are not stored: series limit reached: its monitors hold \d+ bytes, and their share of --series-bytes-limit=4194304 is 4194304 bytes: raise the limit, or expose fewer series$`, problems[0])
		require.Contains(t, c.notStored(job), "series of "+job+" are not stored: series limit reached: ")
		require.Empty(t, c.notStored("serviceMonitor/b/web/0"))
	})
	t.Run("restarted", func(t *testing.T) {
		c := newCrowd(t, dir, seriesroom.Limits{Series: 100_000, Bytes: limit})
		require.InDelta(t, limit, c.room.Status().Stored[seriesroom.Bytes], limit/20, "the log is counted")
		c.add(job, address)
		require.Eventually(t, func() bool { return c.stored(job) > 0 }, time.Minute, 50*time.Millisecond)
		for range 30 {
			time.Sleep(100 * time.Millisecond)
			require.LessOrEqual(t, c.room.Status().Stored[seriesroom.Bytes], int64(limit+limit/4))
		}
		require.InDelta(t, before, c.stored(job), 10)
	})
}

// A namespace that came first leaves room for another one, whose pods have their series soon.
func TestNamespacesShareTheRoom(t *testing.T) {
	c := newCrowd(t, t.TempDir(), seriesroom.Limits{Series: 1000})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.removeEndedEvery(ctx, time.Second) }()
	defer func() { cancel(); require.NoError(t, <-done) }()
	for i := range 4 {
		c.add(fmt.Sprintf("serviceMonitor/a/%d/0", i), exposer(t, 500, 0))
	}
	full := func() string { // a job without room: on a busy machine any of them may be scraped last
		for job := range c.groups {
			if c.Scraper.RefusedOf(job)["a"] > 0 {
				return job
			}
		}
		return ""
	}
	require.Eventually(t, func() bool { return full() != "" }, time.Minute, 50*time.Millisecond)
	c.add("podMonitor/b/few/0", exposer(t, 40, 0))
	require.Eventually(t, func() bool { return c.stored("podMonitor/b/few/0") == 40 }, time.Minute, 50*time.Millisecond)
	c.add("podMonitor/b/many/0", exposer(t, 300, 0))
	require.Eventually(t, func() bool { return c.stored("podMonitor/b/many/0") == 300 }, time.Minute, 50*time.Millisecond)
	require.Empty(t, c.notStored("podMonitor/b/many/0"))
	require.NotEmpty(t, c.notStored(full()))
	require.Eventually(t, func() bool { return len(c.refused()) == 1 }, time.Minute, 50*time.Millisecond, "b has its series")
	require.Regexp(t, `^namespace a: \d+ series .* their share of --series-limit=1000 is 6\d\d series: `, c.refused()[0])
}

func TestOwner(t *testing.T) {
	of := discovery.Owner
	forged := model.LabelSet{"namespace": "other"}
	require.Equal(t, "a", of("serviceMonitor/a/web/0", forged))
	require.Equal(t, "a", of("podMonitor/a/web/12", forged))
	require.Equal(t, "b", of("annotations/pods", model.LabelSet{"namespace": "b"}))
	require.Equal(t, "b", of("annotations/services", model.LabelSet{"namespace": "b"}))
}
