package main

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/tsdb"
)

// warmingUp is a warmup over a real TSDB, with targets scraped every 10 s and a
// window of a minute.
type warmingUp struct {
	*warmup
	t       *testing.T
	db      *tsdb.DB
	clock   time.Time
	fault   error
	another bool
	active  map[string][]*promscrape.Target
}

func newWarmingUp(t *testing.T, instances ...string) *warmingUp {
	db, err := tsdb.Open(tsdb.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	w := &warmingUp{t: t, db: db, clock: time.Now().Truncate(time.Second), active: map[string][]*promscrape.Target{}}
	for _, instance := range instances {
		w.active["job"] = append(w.active["job"], promscrape.NewTarget(
			labels.FromStrings("instance", instance, "__address__", instance, "__scheme__", "http", "__metrics_path__", "/metrics", "__scrape_interval__", "10s"),
			&config.ScrapeConfig{}, nil, nil))
	}
	w.warmup = &warmup{
		synced:    func() error { return w.fault },
		targets:   func() map[string][]*promscrape.Target { return w.active },
		queryable: db,
		window:    time.Minute,
		others:    func() bool { return w.another },
		logger:    slog.New(slog.DiscardHandler),
		now:       func() time.Time { return w.clock },
	}
	return w
}

// scrape appends to the series up of instances, a failure for those with a !, and lets the time until the next
// scrape pass.
func (w *warmingUp) scrape(instances ...string) {
	w.t.Helper()
	appender := w.db.AppenderV2(w.t.Context())
	for _, instance := range instances {
		value := 1.0
		if strings.HasPrefix(instance, "!") { // a failure
			instance, value = instance[1:], 0
		}
		up := labels.FromStrings(model.MetricNameLabel, "up", "instance", instance)
		_, err := appender.Append(0, up, 0, w.clock.UnixMilli(), value, nil, nil, storage.AOptions{})
		require.NoError(w.t, err)
	}
	require.NoError(w.t, appender.Commit())
	w.clock = w.clock.Add(10 * time.Second)
}

func TestWarmupAlone(t *testing.T) {
	w := newWarmingUp(t, "a:1", "b:1")
	w.fault = errors.New("pods have not been listed yet")
	require.Equal(t, w.fault, w.ready())
	w.fault = nil
	require.ErrorContains(t, w.ready(), "2 of 2 targets have not been scraped twice yet")
	w.scrape("a:1", "b:1")
	require.ErrorContains(t, w.ready(), "2 of 2")
	w.scrape("a:1")
	require.EqualError(t, w.ready(), "1 of 2 targets have not been scraped twice yet, b:1 is one")
	w.scrape("b:1")
	require.NoError(t, w.ready())
	// And so it stays, whatever comes.
	w.another, w.active = true, newWarmingUp(t, "c:1").active
	w.clock = w.clock.Add(time.Hour)
	require.NoError(t, w.ready())
}

// Alone, nobody would explain what is missing.
func TestWarmupAloneDoesNotWaitLong(t *testing.T) {
	w := newWarmingUp(t, "slow:1")
	require.Error(t, w.ready())
	w.clock = w.clock.Add(30 * time.Second) // two intervals, and some
	require.Error(t, w.ready())
	w.clock = w.clock.Add(time.Second)
	require.NoError(t, w.ready())
}

func TestWarmupBesideAnother(t *testing.T) {
	w := newWarmingUp(t, "a:1")
	w.another = true
	for range 5 { // 40 s between the first and the last
		require.ErrorContains(t, w.ready(), "another replica answers, and 1 of 1 targets have not been scraped for the rate window of 1m0s yet")
		w.scrape("a:1")
	}
	// A rate reaches back to a sample an interval short of its window.
	require.NoError(t, w.ready())
}

func TestWarmupBesideAnotherDoesNotWaitForEver(t *testing.T) {
	w := newWarmingUp(t, "slow:1")
	w.another = true
	require.Error(t, w.ready())
	w.clock = w.clock.Add(warmupLimit + time.Second)
	require.NoError(t, w.ready())
}

// After a restart on the same data there is nothing to wait for, unless it took
// long.
func TestWarmupAfterARestart(t *testing.T) {
	w := newWarmingUp(t, "a:1")
	for range 7 {
		w.scrape("a:1")
	}
	w.another = true
	require.NoError(t, w.ready())

	w = newWarmingUp(t, "a:1")
	for range 7 {
		w.scrape("a:1")
	}
	w.clock = w.clock.Add(time.Minute)
	w.another = true
	for range 5 {
		require.Error(t, w.ready())
		w.scrape("a:1")
	}
	require.NoError(t, w.ready())
}

// A failed scrape has brought nothing to answer with.
func TestWarmupCountsFromTheLastFailure(t *testing.T) {
	w := newWarmingUp(t, "a:1")
	w.another = true
	for range 4 {
		w.scrape("a:1")
	}
	w.scrape("!a:1")
	for range 5 {
		require.Error(t, w.ready())
		w.scrape("a:1")
	}
	require.NoError(t, w.ready())
}

// What cannot be scraped, is gone, or has come since is not waited for.
func TestWarmupWaitsForWhatCanBeHad(t *testing.T) {
	w := newWarmingUp(t, "a:1", "down:1", "gone:1")
	require.ErrorContains(t, w.ready(), "3 of 3")
	w.active["job"][1].Report(w.clock, time.Second, errors.New("connection refused"))
	w.active["job"] = append(w.active["job"][:2], newWarmingUp(t, "new:1").active["job"]...)
	w.clock = w.clock.Add(warmupMemory)
	require.EqualError(t, w.ready(), "1 of 3 targets have not been scraped twice yet, a:1 is one")
	w.scrape("a:1")
	w.scrape("a:1")
	require.NoError(t, w.ready())
}

// Beside another replica there is time to try again what is down: the network of a
// new pod may come up after the pod.
func TestWarmupBesideAnotherTriesAgain(t *testing.T) {
	w := newWarmingUp(t, "a:1")
	w.another = true
	w.active["job"][0].Report(w.clock, time.Second, errors.New("connection refused"))
	require.ErrorContains(t, w.ready(), "1 of 1")
	w.clock = w.clock.Add(2*10*time.Second + warmupSlack)
	require.ErrorContains(t, w.ready(), "1 of 1")
	w.clock = w.clock.Add(time.Second)
	require.NoError(t, w.ready())
}

// A target that is scraped seldom is not waited for longer than it takes.
func TestWarmupOfASlowTarget(t *testing.T) {
	w := newWarmingUp(t, "a:1")
	w.window = 10 * time.Second // two scrapes do not fit
	w.another = true
	require.Error(t, w.ready())
	w.scrape("a:1")
	require.Error(t, w.ready())
	w.scrape("a:1")
	require.NoError(t, w.ready())
}

func TestWarmupWithoutRates(t *testing.T) {
	w := newWarmingUp(t, "a:1")
	w.window = 0
	w.another = true
	require.Error(t, w.ready())
	w.scrape("a:1")
	require.NoError(t, w.ready())
}

func TestWarmupWithoutTargets(t *testing.T) {
	require.NoError(t, newWarmingUp(t).ready())
}
