package scrape

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
)

// scrapedEvery sets the scrape interval.
func scrapedEvery(interval time.Duration) func(*config.ScrapeConfig) {
	return func(c *config.ScrapeConfig) {
		c.ScrapeInterval, c.ScrapeTimeout = model.Duration(interval), model.Duration(time.Second)
	}
}

// sourceOf returns the source of a gauge of the target with an instance.
func sourceOf(m *Manager, instance string) (Source, bool) {
	return m.Source(labels.FromStrings(model.MetricNameLabel, "a", model.InstanceLabel, instance, model.JobLabel, "j"))
}

// When a target comes, goes, or becomes ready or unready, the sources of the job's other targets show it, and these targets are scraped at once.
func TestChangesOfAJob(t *testing.T) {
	inBubble(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("a 1\n")) }, func(t *testing.T, _ *recorder, m *Manager) {
		cfg := jobConfig("j", scrapedEvery(time.Minute))
		apply := func(targets ...model.LabelSet) {
			t.Helper()
			require.NoError(t, m.Apply([]*config.ScrapeConfig{cfg}, groups("j", &targetgroup.Group{Source: "s", Targets: targets})))
			synctest.Wait()
		}
		one := model.LabelSet{model.AddressLabel: "one:80"}
		two := func(unready string) model.LabelSet {
			return model.LabelSet{model.AddressLabel: "two:80", unreadyLabel: model.LabelValue(unready)}
		}
		apply(one)
		time.Sleep(10 * time.Second)
		changes := 1
		for _, targets := range [][]model.LabelSet{{one, two("true")}, {one, two("")}, {one, two("true")}, {one}} {
			apply(targets...)
			at := time.Now()
			time.Sleep(5 * time.Second)
			source, ok := sourceOf(m, "one:80")
			changes++
			require.True(t, ok)
			require.Len(t, source.Target.Changes, changes)
			require.Equal(t, at, source.Target.Changes[changes-1].Local())
			require.False(t, source.Target.LastScrape.Before(at.Add(QuickGap)), "twice since")
		}
		gone, ok := sourceOf(m, "two:80")
		require.True(t, ok, "it is known for a while")
		require.False(t, gone.Target.Ended.IsZero())
		apply(one, two(""))
		time.Sleep(keepEnded)
		apply(one)
		back, ok := sourceOf(m, "two:80")
		require.True(t, ok)
		require.NotEqual(t, gone.Target.Ended, back.Target.Ended)
	})
}

// A target is identified by its URL and a series by what the target exposes, whatever labels relabelling gives them.
func TestSourcesOfOneURL(t *testing.T) {
	inBubble(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("a 1\n")) }, func(t *testing.T, _ *recorder, m *Manager) {
		cfg := jobConfig("j", scrapedEvery(time.Minute))
		var targets []model.LabelSet
		for _, instance := range []string{"x", "y"} {
			targets = append(targets, model.LabelSet{model.AddressLabel: "one:80", model.InstanceLabel: model.LabelValue(instance)})
		}
		require.NoError(t, m.Apply([]*config.ScrapeConfig{cfg}, groups("j", &targetgroup.Group{Source: "s", Targets: targets})))
		time.Sleep(10 * time.Second)
		x, ok := sourceOf(m, "x")
		require.True(t, ok)
		y, ok := sourceOf(m, "y")
		require.True(t, ok)
		require.Equal(t, x.Target.ID, y.Target.ID)
		require.Equal(t, x.Exposed, y.Exposed)
		require.NotEqual(t, x.Target.Rank, y.Target.Rank)
		_, ok = sourceOf(m, "z")
		require.False(t, ok)
	})
}

// A series is new itself if its target was scraped before without it. It is not if the target is new, was not
// reached for long, or if nobody read the name.
func TestSinceWhen(t *testing.T) {
	var body atomic.Value // "": down
	body.Store("b 1\n")
	inBubble(t, func(w http.ResponseWriter, _ *http.Request) {
		text, _ := body.Load().(string)
		if text == "" {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(text))
	}, func(t *testing.T, _ *recorder, m *Manager) {
		cfg := jobConfig("j", scrapedEvery(10*time.Second))
		group := &targetgroup.Group{Source: "s", Targets: []model.LabelSet{{model.AddressLabel: "one:80"}}}
		require.NoError(t, m.Apply([]*config.ScrapeConfig{cfg}, groups("j", group)))
		time.Sleep(time.Minute)
		b, ok := m.Source(labels.FromStrings(model.MetricNameLabel, "b", model.InstanceLabel, "one:80", model.JobLabel, "j"))
		require.True(t, ok)
		require.Equal(t, b.First, b.Since)

		body.Store("a 1\nb 1\n")
		time.Sleep(10 * time.Second)
		a, ok := sourceOf(m, "one:80")
		require.True(t, ok)
		require.Equal(t, b.First, a.Since, "new itself: its name has been collected since the target was first scraped")
		require.True(t, a.First.After(a.Since))

		body.Store("")
		time.Sleep(time.Minute)
		a, ok = sourceOf(m, "one:80")
		require.True(t, ok, "a target that fails may still have it")
		require.False(t, a.Target.FailingSince.IsZero())
		body.Store("b 1\n")
		time.Sleep(10 * time.Second)
		_, ok = sourceOf(m, "one:80")
		require.False(t, ok, "a scrape without it has succeeded")
	})
}
