package scrape

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
)

// On demand, a synthetic series is stored only while somebody reads it. When one becomes
// wanted, all targets are scraped at once, those that are down as well.
func TestReportsOnDemand(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Host, "down") {
			w.WriteHeader(http.StatusTeapot)
		}
		plain("a 1\n")(w, r)
	}
	inBubble(t, h, func(t *testing.T, r *recorder, m *Manager) {
		m.opts.OnDemand = true
		before := m.CatalogVersion()
		require.NoError(t, m.Apply(one(jobConfig("j", every(time.Hour))), groups("j", group("target:80", "down:80"))))
		require.NotEqual(t, before, m.CatalogVersion())
		time.Sleep(time.Minute)
		require.Empty(t, slices.Concat(r.all()...))
		metrics, version := m.Catalog()
		up := Metric{Job: "j", Name: "up", LabelNames: []string{"instance", "job"}, Series: 2}
		up.Metadata = metadata.Metadata{Type: model.MetricTypeGauge, Unit: "targets", Help: "1 if the last scrape of the target succeeded, else 0."}
		require.Contains(t, metrics, up)
		require.Len(t, metrics, 1+extraReports)
		require.True(t, m.Collecting("up"), "nobody has wanted it")
		require.False(t, m.Collecting("scrape_timeout_seconds"), "without extra_scrape_metrics")

		// demand returns what is stored within seconds of a demand.
		demand := func(names ...string) (stored []string) {
			start, n := time.Now().UnixMilli(), len(r.all())
			require.NoError(t, m.SetDemand(t.Context(), Demand{Wanted: func(name string) bool { return slices.Contains(names, name) }}))
			time.Sleep(10 * time.Second)
			for _, s := range slices.Concat(r.all()[n:]...) {
				require.Less(t, s.t-start, 2*QuickGap.Milliseconds())
				v := fmt.Sprint(s.v)
				if s.stale() {
					v = "stale"
				}
				stored = append(stored, s.name()+" "+s.lset.Get("instance")+" "+v)
			}
			return sorted(stored)
		}
		require.Equal(t, []string{"up down:80 0", "up down:80 0", "up target:80 1", "up target:80 1"}, demand("up"))
		require.False(t, m.Collecting("up"))
		source, known := m.Source(r.all()[len(r.all())-1][0].lset)
		require.True(t, known)
		require.WithinDuration(t, time.Now(), source.First, 10*time.Second)
		metrics, _ = m.Catalog()
		up.Stored = true
		require.Contains(t, metrics, up)

		require.Equal(t, []string{"a target:80 1", "a target:80 1"}, demand("up", "a")[:2])
		require.Equal(t, []string{
			"scrape_series_added down:80 0", "scrape_series_added down:80 0", "scrape_series_added target:80 0", "scrape_series_added target:80 0",
			"up down:80 stale", "up target:80 stale",
		}, slices.DeleteFunc(demand("scrape_series_added"), func(s string) bool { return strings.HasPrefix(s, "a ") }))
		_, known = m.Source(labels.FromStrings("__name__", "up", "instance", "target:80", "job", "j"))
		require.False(t, known)
		require.Equal(t, version, m.CatalogVersion())

		require.NoError(t, m.Apply(one(jobConfig("j", every(time.Hour))), groups("j", group())))
		require.NotEqual(t, version, m.CatalogVersion())
		metrics, _ = m.Catalog()
		require.Empty(t, metrics)
	})
}

// Beside samples with timestamps of their own up is stored although nobody reads it.
func TestUpBesideTimestamps(t *testing.T) {
	stamp := time.Now().Add(-time.Minute).UnixMilli()
	s := serveSequence(t, textType, fmt.Sprintf("a 1 %d\n", stamp), fmt.Sprintf("b 1 %d\na 1 %d\n", stamp, stamp+1), "a 1\n", "a 1\n")
	r := &recorder{}
	m := newManager(t, r, onDemand)
	require.NoError(t, m.SetDemand(t.Context(), Demand{Wanted: func(name string) bool { return name == "a" }}))
	l := testLoop(t, m, jobConfig("j", slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s.Server))})
	start := time.Now()
	for i, want := range []string{"a up 1", "a up 1", "a up stale", "a"} {
		l.scrape(start.Add(time.Duration(i) * time.Second))
		batches := r.all()
		got := "a"
		for _, s := range batches[len(batches)-1] {
			if s.name() != "a" {
				got += " " + s.name() + " " + strings.ReplaceAll(fmt.Sprint(s.v), "NaN", "stale")
			}
		}
		require.Equal(t, want, got, "scrape %d", i)
	}
}
