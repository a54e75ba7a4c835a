package scrape

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/config"
)

// inBubble runs the test in a bubble against a server with the handler.
func inBubble(t *testing.T, h http.HandlerFunc, test func(t *testing.T, r *recorder, m *Manager)) {
	inBubbleWith(t, h, func(t *testing.T, opts ...config_util.HTTPClientOption) {
		r := &recorder{}
		m := newManager(t, r, func(o *Options) { o.HTTPClientOptions = opts })
		defer m.Stop()
		test(t, r, m)
	})
}

func ups(r *recorder) (times []int64, values []float64) {
	for _, batch := range r.all() {
		for _, s := range batch {
			if s.name() == "up" {
				times, values = append(times, s.t), append(values, s.v)
			}
		}
	}
	return times, values
}

func TestIntervalAndTimeoutOfTheTarget(t *testing.T) {
	var header string
	h := func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds")
		plain("a 1\n")(w, r)
	}
	inBubble(t, h, func(t *testing.T, r *recorder, m *Manager) {
		g := group()
		g.Targets = []model.LabelSet{{model.AddressLabel: "target:80", "__scrape_interval__": "20s", "__scrape_timeout__": "3s"}}
		require.NoError(t, m.Apply(one(jobConfig("j", every(time.Hour))), groups("j", g)))
		time.Sleep(2 * time.Minute)
		times, _ := ups(r)
		require.Len(t, times, 2+6)
		require.Equal(t, "3", header)
	})
}

// The timeout is for the whole scrape. Scheduled times that pass meanwhile are not made up
// for.
func TestTimeoutAndMissedTimes(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	inBubble(t, hang, func(t *testing.T, r *recorder, m *Manager) {
		cfg := jobConfig("j", func(c *config.ScrapeConfig) {
			c.ScrapeInterval, c.ScrapeTimeout = model.Duration(20*time.Second), model.Duration(15*time.Second)
		})
		require.NoError(t, m.Apply(one(cfg), groups("j", group("target:80"))))
		time.Sleep(2 * time.Minute)
		times, values := ups(r)
		require.NotEmpty(t, times)
		for i, v := range values {
			require.Zero(t, v)
			if i > 2 {
				require.EqualValues(t, 20_000, times[i]-times[i-1])
			}
		}
		_, report := split(r.all()[0])
		require.EqualValues(t, 15, report["scrape_duration_seconds"])
		err := targetAt(t, m, "j", "target:80").LastError()
		require.EqualError(t, err, "timed out after 15s without an answer: context deadline exceeded")
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// The timeout covers parsing as well.
func TestTimeoutWhileParsing(t *testing.T) {
	inBubble(t, plain(manySeries(1000)), func(t *testing.T, r *recorder, m *Manager) {
		r.refuse = func(s sample) error {
			if s.name() == "a" {
				time.Sleep(20 * time.Millisecond)
			}
			return nil
		}
		require.NoError(t, m.Apply(one(jobConfig("j", every(10*time.Second))), groups("j", group("target:80"))))
		time.Sleep(25 * time.Second)
		require.EqualError(t, targetAt(t, m, "j", "target:80").LastError(),
			"timed out after 10s with 512 samples of the body parsed: context deadline exceeded")
	})
}

func TestMarkersHaveTheTimeOfRemoval(t *testing.T) {
	inBubble(t, plain("a 1\n"), func(t *testing.T, r *recorder, m *Manager) {
		require.NoError(t, m.Apply(one(jobConfig("j", every(10*time.Second))), groups("j", group("target:80"))))
		time.Sleep(33 * time.Second)
		require.NoError(t, m.Apply(nil, nil))
		all := r.all()
		require.Len(t, all[len(all)-1], 6)
		for _, s := range all[len(all)-1] {
			require.True(t, s.stale())
			require.Equal(t, time.Now().UnixMilli(), s.t)
		}
	})
}

// The replaced loop may have scraped a moment ago.
func TestNoTimestampTwice(t *testing.T) {
	l := &loop{last: 10_000}
	for at, want := range map[int64]int64{9_997: 9_997, 9_998: 10_001, 10_000: 10_001, 10_001: 10_001, 12_000: 12_000, 0: 0} {
		require.Equal(t, want, l.after(time.UnixMilli(at)).UnixMilli())
	}
}

func TestNewLoopInTheSameMillisecond(t *testing.T) {
	inBubble(t, plain("a 1\n"), func(t *testing.T, r *recorder, m *Manager) {
		g := group("target:80")
		require.NoError(t, m.Apply(one(jobConfig("j", every(10*time.Second))), groups("j", g)))
		// Exactly to its scheduled time, and one interval further.
		time.Sleep(20 * time.Second)
		time.Sleep(offset(loopsByAddress(m, "j")["target:80"].key, 10*time.Second, time.Now()))
		synctest.Wait()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		changed := jobConfig("j", every(10*time.Second), func(c *config.ScrapeConfig) { c.SampleLimit = 7 })
		require.NoError(t, m.Apply(one(changed), groups("j", g)))
		loopsByAddress(m, "j")["target:80"].scrapeSoon(0)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		times, _ := ups(r)
		times = times[len(times)-3:]
		require.EqualValues(t, 10_000, times[1]-times[0])
		require.EqualValues(t, 1, times[2]-times[1])
	})
}

func TestStateIsLoggedWhenItChanges(t *testing.T) {
	log := &logBuffer{}
	s := serveSequence(t, textType, "a 1\n", "a 1\n", "!", "!", "a 1\nb x123\n", "a 1\n\nc y456\n", "a 1\n", "a 1 1\na 2 1\n", "a 1 1\na 2 1\n", "a 1\n", "a 1 1\na 2 1\n")
	r := &recorder{next: newTSDB(t)}
	m := newManager(t, r, func(o *Options) { o.Logger = log.logger() })
	l := testLoop(t, m, jobConfig("j", slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s.Server))})
	start := time.Now().Add(-time.Minute)
	var lines []string
	for i := range 11 {
		before := log.String()
		l.scrape(start.Add(time.Duration(i) * time.Second))
		line := strings.TrimPrefix(log.String(), before)
		_, line, _ = strings.Cut(line, "level=")
		lines = append(lines, strings.TrimSuffix(line, " job=j target=http://"+addressOf(s.Server)+"/metrics\n"))
	}
	require.Equal(t, []string{
		"", "",
		`WARN msg="target is down" err="server returned HTTP status 500 Internal Server Error"`, "",
		`WARN msg="target is down" err="line 2: \"x123\" is not a number, in \"b x123\""`, "",
		`INFO msg="target is up again"`,
		`WARN msg="samples rejected" out_of_bounds=2`, "",
		"",
		`WARN msg="samples rejected" out_of_bounds=2`,
	}, lines)
}

func TestMetadata(t *testing.T) {
	s := serveSequence(t, omType, "# HELP a One.\n# TYPE a_s counter\n# UNIT a_s s\na_s_total 1\n# EOF\n", "b 1\n# EOF\n")
	l := testLoop(t, newManager(t, &recorder{}), jobConfig("j", slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s.Server))})
	l.scrape(time.Now())
	tg := l.target
	require.ElementsMatch(t, []promscrape.MetricMetadata{
		{MetricFamily: "a", Type: model.MetricTypeUnknown, Help: "One."},
		{MetricFamily: "a_s", Type: model.MetricTypeCounter, Unit: "s"},
	}, tg.ListMetadata())
	got, ok := tg.GetMetadata("a_s")
	require.True(t, ok)
	require.Equal(t, "s", got.Unit)
	require.Equal(t, 2, tg.LengthMetadata())
	require.Equal(t, len("a"+"unknown"+"One."+"a_s"+"counter"+"s"), tg.SizeMetadata())
	_, ok = tg.GetMetadata("c")
	require.False(t, ok)

	// Metadata outlives its family for a while.
	for range 10 {
		l.scrape(time.Now())
		require.Equal(t, 2, tg.LengthMetadata())
	}
	l.scrape(time.Now())
	require.Zero(t, tg.LengthMetadata())
	require.Zero(t, tg.SizeMetadata())
}

// A token endpoint that hangs fails the scrapes of its job by their timeout, and blocks
// nothing else.
func TestHangingTokenEndpoint(t *testing.T) {
	release := make(chan struct{})
	asked := make(chan struct{}, 100)
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-release
	}))
	t.Cleanup(hanging.Close)
	t.Cleanup(func() { close(release) })
	app := serveBody(t, textType, "a 1\n")
	m := newManager(t, &recorder{})
	cfg := jobConfig("j", func(c *config.ScrapeConfig) {
		c.HTTPClientConfig = config_util.HTTPClientConfig{
			OAuth2: &config_util.OAuth2{ClientID: "me", ClientSecret: "secret", TokenURL: hanging.URL},
		}
	})
	other := jobConfig("other", every(time.Hour))
	require.NoError(t, m.Apply([]*config.ScrapeConfig{cfg, other}, groups("j", group(addressOf(app)))))
	<-asked
	require.Eventually(t, func() bool {
		target := m.TargetsActive()["j"][0]
		return target.LastError() != nil && strings.Contains(target.LastError().Error(), "timed out")
	}, 20*time.Second, 10*time.Millisecond)

	within := func(what string, f func()) {
		done := make(chan struct{})
		go func() { defer close(done); f() }()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			require.Fail(t, what+" waits for the token endpoint")
		}
	}
	<-asked // a scrape is waiting
	within("Apply", func() { require.NoError(t, m.Apply([]*config.ScrapeConfig{other}, nil)) })
	within("Stop", m.Stop)
}

func TestTimestampsThatTheStorageRefusesAreKnown(t *testing.T) {
	s := serveSequence(t, textType, "a 1\n", "a 1 1\nb 2 1000\nc 1\n", "a 1\n")
	m := newManager(t, &recorder{next: newTSDB(t)})
	l := testLoop(t, m, jobConfig("j", slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s.Server))})
	known := func() (all []string) {
		for _, name := range []string{"a", "b", "c"} {
			if last := l.lastSamples.Load(); last != nil {
				if at, ok := last.outOfBounds[name]; ok {
					all = append(all, fmt.Sprintf("%s at %d", name, at))
				}
			}
		}
		return all
	}
	start := time.Now().Add(-time.Minute)
	l.scrape(start)
	require.Empty(t, known())
	l.scrape(start.Add(time.Second))
	require.Equal(t, []string{"a at 1", "b at 1000"}, known())
	l.scrape(start.Add(2 * time.Second))
	require.Empty(t, known())
}

// Workers that wait do what comes next; as many wait as there are seats, until end.
func TestWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkers(2)
		var done atomic.Int32
		at := make(chan struct{})
		for range 5 {
			go w.do(func() { <-at; done.Add(1) })
		}
		synctest.Wait()
		require.Empty(t, w.seats)
		close(at)
		synctest.Wait()
		require.EqualValues(t, 5, done.Load())
		require.Len(t, w.seats, 2)
		start := time.Now()
		w.do(func() {
			time.Sleep(time.Second)
			done.Add(1)
		})
		require.Zero(t, time.Since(start), "a worker that waited does it")
		synctest.Wait()
		require.Len(t, w.seats, 1)
		w.end()
		require.EqualValues(t, 6, done.Load())
		require.Empty(t, w.seats)
	})
}
