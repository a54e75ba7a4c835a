package scrape

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/config"
)

// inBubble runs the test on its own clock against a server with the handler.
func inBubble(t *testing.T, h http.HandlerFunc, test func(t *testing.T, r *recorder, m *Manager)) {
	onStage(t, h, func(t *testing.T, opts ...config_util.HTTPClientOption) {
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

// The timeout is for the whole scrape, and turns that pass meanwhile are not made
// up for.
func TestTimeoutAndMissedTurns(t *testing.T) {
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

// Parsing counts as well.
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

func TestMarkersAreOfTheMomentOfRemoval(t *testing.T) {
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

// The loop before may have been at work a moment ago.
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
		// Exactly at its turn, and once more for the second one.
		time.Sleep(20 * time.Second)
		time.Sleep(offset(loopsByAddress(m, "j")["target:80"].key, 10*time.Second, time.Now()))
		synctest.Wait()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		changed := jobConfig("j", every(10*time.Second), func(c *config.ScrapeConfig) { c.SampleLimit = 7 })
		require.NoError(t, m.Apply(one(changed), groups("j", g)))
		loopsByAddress(m, "j")["target:80"].hurry(0)
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
		`WARN msg="target is down" err="line 2: strconv.ParseFloat: parsing \"x123\": invalid syntax, in \"b x123\""`, "",
		`INFO msg="target is up again"`,
		`WARN msg="samples rejected" out_of_bounds=2`, "",
		"",
		`WARN msg="samples rejected" out_of_bounds=2`,
	}, lines)
}

func TestReasons(t *testing.T) {
	require.Equal(t, "abc", shorten("abc", 3))
	require.Equal(t, "...", shorten("abcd", 3))
	require.Equal(t, "ab...", shorten("ab\u00e9cdef", 6))
	require.Equal(t, "ab\u00e9...", shorten("ab\u00e9cdef", 7))
	require.Equal(t, "\xff\xff\xff\xff...", shorten(strings.Repeat("\xff", 20), 10))

	require.NoError(t, bounded(nil))
	require.ErrorIs(t, bounded(io.EOF), io.EOF)
	long := errors.New(strings.Repeat("x", 10_000))
	require.Len(t, bounded(long).Error(), maxReason)
	// A parser's error that holds a lot is let go of.
	pe := bounded(&parseError{line: 3, err: errors.New("short while parsing: " + strings.Repeat("x", 10_000))})
	require.EqualError(t, pe, "line 3: short")
	require.Nil(t, errors.Unwrap(pe))

	kind := func(s string) string { return reasonKind(errors.New(s)) }
	require.Equal(t, kind("read tcp 127.0.0.1:5678->10.0.0.1:80: reset"), kind("read tcp 127.0.0.1:1234->10.0.0.1:80: reset"))
	require.Equal(t, kind(`line 7: bad "x\"y" here`), kind(`line 12: bad "z" here`))
	require.NotEqual(t, kind("timed out"), kind("connection refused"))

	var pan *panicError
	require.ErrorAs(t, guarded(func() error { panic(strings.Repeat("x", 10_000)) }), &pan)
	require.Len(t, pan.Error(), maxReason)
	require.ErrorIs(t, guarded(func() error { return io.EOF }), io.EOF)
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

	// It outlives its family for a while.
	for range keepMetadata {
		l.scrape(time.Now())
		require.Equal(t, 2, tg.LengthMetadata())
	}
	l.scrape(time.Now())
	require.Zero(t, tg.LengthMetadata())
	require.Zero(t, tg.SizeMetadata())
}

func TestMetadataIsBounded(t *testing.T) {
	s := newMetadataStore()
	help := []byte(strings.Repeat("x", 1000))
	for i := range 5000 {
		name := []byte("family_" + itoa(i))
		s.setHelp(name, help)
		s.setType(name, model.MetricTypeCounter)
	}
	require.LessOrEqual(t, s.SizeMetadata(), maxMetadata)
	require.Greater(t, s.LengthMetadata(), 900)
	// Known families are still known, unknown ones have none.
	require.NotNil(t, s.setType([]byte("family_1"), model.MetricTypeGauge))
	require.Nil(t, s.setType([]byte("another_family"), model.MetricTypeGauge))
}
