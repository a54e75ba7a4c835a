package scraping

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/promlet/promlet/bench/internal/harness"
	"github.com/promlet/promlet/bench/internal/sink"
)

const (
	testdata = "../../../scrape/testdata"
	soon     = 30 * time.Second
)

// TestMain lets the test binary be the server that measurements start.
func TestMain(m *testing.M) {
	if harness.IsChild() {
		harness.Main(Command())
		return
	}
	goleak.VerifyTestMain(m)
}

func newTestBody(t *testing.T) *body {
	t.Helper()
	b, err := newBody(testdata, 100)
	require.NoError(t, err)
	return b
}

// testServer runs the server of a body within the test, and asks it as a measurement
// does.
func testServer(t *testing.T, b *body) func(line string) state {
	t.Helper()
	setup, err := json.Marshal(b.text)
	require.NoError(t, err)
	child, err := startServer(t.Context(), setup)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, child.Close()) })
	_, err = child.Answer("nonsense")
	require.EqualError(t, err, "unknown command")
	return func(line string) state {
		t.Helper()
		s, err := child.Answer(line)
		require.NoError(t, err)
		return s.(state)
	}
}

// Every case has the samples that it should have, and gets bodies compressed unless that
// is off.
func TestCasesAppendWhatTheyKeep(t *testing.T) {
	b := newTestBody(t)
	for _, c := range cases() {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			ask := testServer(t, b)
			s := ask(map[bool]string{false: askState, true: askPlain}[c.plain])
			const targets = 3
			to := &sink.Sink{}
			running, err := c.start(b, targets, s.Address, to)
			require.NoError(t, err)
			defer running.stop()
			perScrape := c.samples(b.series)
			require.Eventually(t, func() bool {
				commits, samples := to.Counts()
				return commits >= 3*targets && samples == commits*perScrape
			}, soon, time.Millisecond)
			require.NoError(t, (&bench{body: b, targets: targets}).check(running))
			require.ErrorContains(t, (&bench{body: b, targets: 4}).check(running), "3 targets instead of 4")
			asksForGzip := c.side == sidePrometheus || c.keeps != onePercentOnDemand
			require.Equal(t, asksForGzip && !c.plain, ask(askState).Zipped > 0)
		})
	}
}

func TestServerCompressesAndCloses(t *testing.T) {
	b := newTestBody(t)
	ask := testServer(t, b)
	s := ask(askState)
	client := &http.Client{Transport: &http.Transport{}} // it asks for compressed answers
	defer client.CloseIdleConnections()
	get := func() (zipped, closes bool) {
		resp, err := client.Get("http://" + s.Address + "/metrics")
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, b.text, text)
		return resp.Uncompressed, resp.Close
	}
	zipped, closes := get()
	require.True(t, zipped)
	require.False(t, closes)
	require.Equal(t, state{Address: s.Address, Begun: 1, Zipped: 1}, ask(askPlain))
	zipped, _ = get()
	require.False(t, zipped)
	require.Equal(t, state{Address: s.Address, Begun: 2, Zipped: 1}, ask(askClose))
	_, closes = get()
	require.True(t, closes)
}

// A measurement, with the server in a process of its own. Warming is long enough for
// Prometheus's first scrapes, not for promlet's quick second ones.
func TestMeasure(t *testing.T) {
	b := &bench{body: newTestBody(t), targets: 10, warming: 2 * interval, counting: 2 * interval}
	m, err := b.measure(t.Context(), kase{sidePrometheus, everything, false})
	require.NoError(t, err)
	require.InDelta(t, 20, m.scrapes, 2)
	require.Positive(t, m.cpu)
	require.Less(t, m.cpu, time.Second)
	require.Greater(t, m.allocations, 10.0)
	require.Greater(t, m.allocated, 1000.0)
	require.Greater(t, m.heap, 10_000.0, "100 series are held")
	require.True(t, m.zipped)
}

// What was not scraped as it should have been is not a figure.
func TestCountRefuses(t *testing.T) {
	b := &bench{body: newTestBody(t), targets: 1, counting: interval}
	err := b.count(t.Context(), kase{sidePromlet, everything, false}, &sink.Sink{}, &measured{})
	require.EqualError(t, err, "0 scrapes instead of 1")

	to := &sink.Sink{}
	committed := time.AfterFunc(interval/2, func() { _ = to.AppenderV2(t.Context()).Commit() })
	defer committed.Stop()
	err = b.count(t.Context(), kase{sidePromlet, onePercentOnDemand, false}, to, &measured{})
	require.EqualError(t, err, "0 samples in 1 scrapes instead of 1 in each")
}
