package scrape

import (
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/timestamp"
)

// running waits until the target has been scraped n times.
func running(t *testing.T, r *recorder, address string, n int) {
	t.Helper()
	eventually(t, func() bool {
		ups := 0
		for _, s := range r.byInstance(address) {
			if s.name() == "up" {
				ups++
			}
		}
		return ups >= n
	}, "scrapes of "+address)
}

var reportNames = []string{
	`{__name__="scrape_duration_seconds"} stale`, `{__name__="scrape_samples_post_metric_relabeling"} stale`,
	`{__name__="scrape_samples_scraped"} stale`, `{__name__="scrape_series_added"} stale`, `{__name__="up"} stale`,
}

func TestRemovedTargetGoesStale(t *testing.T) {
	t.Parallel()
	s := serveBody(t, textType, "a 1\nb 1\n")
	other := serveBody(t, textType, "a 1\n")
	r := &recorder{next: newTSDB(t)}
	m := newManager(t, r)
	cfg := jobConfig("j")
	stays := group(addressOf(other))
	require.NoError(t, m.Apply([]*config.ScrapeConfig{cfg}, groups("j", group(addressOf(s)), stays)))
	running(t, r, addressOf(s), 2)
	running(t, r, addressOf(other), 1)

	require.NoError(t, m.Apply([]*config.ScrapeConfig{cfg}, groups("j", stays)))
	// They are there when Apply returns.
	samples := r.byInstance(addressOf(s))
	end := samples[len(samples)-7:]
	require.Equal(t, append([]string{`{__name__="a"} stale`, `{__name__="b"} stale`}, reportNames...), sorted(values(end)))
	for _, e := range end {
		require.NoError(t, e.err)
		require.Greater(t, e.t, samples[len(samples)-8].t)
		require.InDelta(t, time.Now().UnixMilli(), e.t, float64(soon.Milliseconds()))
	}
	for _, e := range r.byInstance(addressOf(other)) {
		require.False(t, e.stale())
	}
	require.Len(t, m.TargetsActive()["j"], 1)

	// Removing the job does the same.
	require.NoError(t, m.Apply(nil, nil))
	samples = r.byInstance(addressOf(other))
	require.Equal(t, append([]string{`{__name__="a"} stale`}, reportNames...), sorted(values(samples[len(samples)-6:])))
	require.Empty(t, m.TargetsActive())
}

func TestRemovedTargetWithTimestampsOfItsOwn(t *testing.T) {
	for track, want := range map[bool][]string{
		false: {`{__name__="b"} stale`},
		true:  {`{__name__="a"} stale`, `{__name__="b"} stale`},
	} {
		now := time.Now()
		s := serveBody(t, textType, "a 1 "+itoa(now.Add(-time.Second).UnixMilli())+"\nb 1\n")
		r, l := scrapeOnce(t, s, jobConfig("j", slow, func(c *config.ScrapeConfig) { c.TrackTimestampsStaleness = track }))
		l.end()
		body, _ := r.last(t)
		require.Equal(t, want, sorted(values(body)))
	}
}

// A marker in the millisecond of the last sample would be refused.
func TestMarkersComeAfterTheLastSample(t *testing.T) {
	s := serveBody(t, textType, "a 1\n")
	r := &recorder{next: newTSDB(t)}
	l := testLoop(t, newManager(t, r), jobConfig("j", slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s))})
	at := time.Now().Add(2 * time.Second)
	l.scrape(at)
	l.end()
	for _, e := range r.all()[1] {
		require.NoError(t, e.err)
		require.Equal(t, timestamp.FromTime(at)+1, e.t)
	}
	require.Len(t, r.all()[1], 6)
}

// A target that was never scraped leaves nothing.
func TestRemovedBeforeTheFirstScrape(t *testing.T) {
	r := &recorder{}
	m := newManager(t, r)
	cfg := jobConfig("j", every(time.Hour))
	require.NoError(t, m.Apply([]*config.ScrapeConfig{cfg}, groups("j", group("127.0.0.1:1"))))
	require.NoError(t, m.Apply(nil, nil))
	for _, batch := range r.all() {
		require.Empty(t, batch)
	}
}

func TestStopLeavesSeriesAsTheyAre(t *testing.T) {
	t.Parallel()
	s := serveBody(t, textType, "a 1\n")
	r := &recorder{}
	m := newManager(t, r)
	require.NoError(t, m.Apply([]*config.ScrapeConfig{jobConfig("j")}, groups("j", group(addressOf(s)))))
	running(t, r, addressOf(s), 2)
	m.Stop()
	n := len(r.all())
	for _, e := range r.byInstance(addressOf(s)) {
		require.False(t, e.stale(), e)
	}
	m.Stop()
	require.ErrorIs(t, m.Apply(nil, nil), ErrStopped)
	require.Empty(t, m.TargetsActive())
	require.Len(t, r.all(), n)
}

// hanging serves nothing until the test ends, and says when it is asked.
func hanging(t *testing.T) (address string, asked chan struct{}) {
	asked = make(chan struct{}, 100)
	release := make(chan struct{})
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(release) }) // Before the server is closed.
	return addressOf(s), asked
}

func TestScrapeInFlightIsCutShort(t *testing.T) {
	for name, end := range map[string]func(*Manager) error{
		"stop":   func(m *Manager) error { m.Stop(); return nil },
		"remove": func(m *Manager) error { return m.Apply(nil, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, asked := hanging(t)
			r := &recorder{}
			m := newManager(t, r)
			cfg := jobConfig("j", every(time.Hour))
			require.NoError(t, m.Apply([]*config.ScrapeConfig{cfg}, groups("j", soonTarget(t, cfg, address))))
			<-asked
			tg := targetAt(t, m, "j", address)
			ended := make(chan error)
			go func() { ended <- end(m) }()
			select {
			case err := <-ended:
				require.NoError(t, err)
			case <-time.After(soon):
				require.Fail(t, "it waits for the target")
			}
			require.Empty(t, r.byInstance(address))
			require.NoError(t, tg.LastError())
		})
	}
}

// A series that the storage has dropped and made again under another reference
// is the same series.
func TestNewReferenceIsNoNewSeries(t *testing.T) {
	s := serveBody(t, textType, "a 1\n")
	r := &recorder{}
	l := testLoop(t, newManager(t, r), jobConfig("j", slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s))})
	for i := range 3 {
		// The recorder does as a storage would that knows no reference any more.
		r.epoch = itoa(i)
		for again := range 2 {
			l.scrape(time.Now())
			body, report := r.last(t)
			require.Equal(t, []string{`{__name__="a"} 1`}, values(body))
			require.Equal(t, i+again == 0, report["scrape_series_added"] == 1)
			if again == 1 {
				require.Equal(t, r.refOf(body[0].lset), body[0].ref)
			}
		}
	}
}
