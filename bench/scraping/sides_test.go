package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const soon = 30 * time.Second

// testServer runs the server of a body within the test, and asks it as a measurement
// does.
func testServer(t *testing.T, b *body) func(line string) state {
	t.Helper()
	in, lines := io.Pipe()
	answers, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := serve(in, out, testdata, b.series)
		out.CloseWithError(err)
		done <- err
	}()
	t.Cleanup(func() {
		require.NoError(t, lines.Close())
		require.NoError(t, <-done)
	})
	read := bufio.NewReader(answers)
	return func(line string) (s state) {
		t.Helper()
		_, err := io.WriteString(lines, line+"\n")
		require.NoError(t, err)
		text, err := read.ReadBytes('\n')
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &s))
		return s
	}
}

func newTestBody(t *testing.T) *body {
	t.Helper()
	b, err := newBody(testdata, 100)
	require.NoError(t, err)
	return b
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
			to := &sink{}
			running, err := c.start(b, targets, s.Address, to)
			require.NoError(t, err)
			defer running.stop()
			perScrape := int64(b.series + reports)
			if c.keeps != everything {
				perScrape = 1 + reports
			}
			require.Eventually(t, func() bool {
				commits, samples := to.counts()
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
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	get := func(encoding string) (text []byte, closes bool) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Address+"/metrics", nil)
		require.NoError(t, err)
		req.Header.Set("Accept-Encoding", encoding)
		resp, err := client.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		var from io.Reader = resp.Body
		if resp.Header.Get("Content-Encoding") == "gzip" {
			from, err = gzip.NewReader(resp.Body)
			require.NoError(t, err)
		}
		text, err = io.ReadAll(from)
		require.NoError(t, err)
		return text, resp.Close
	}
	text, closes := get("gzip")
	require.True(t, bytes.Equal(b.text, text))
	require.False(t, closes)
	require.Equal(t, state{Address: s.Address, Begun: 1, Zipped: 1}, ask(askState))
	get("identity")
	require.Equal(t, state{Address: s.Address, Begun: 2, Zipped: 1}, ask(askPlain))
	text, _ = get("gzip")
	require.True(t, bytes.Equal(b.text, text))
	require.Equal(t, state{Address: s.Address, Begun: 3, Zipped: 1}, ask(askClose))
	_, closes = get("gzip")
	require.True(t, closes)
}

func TestServerRefuses(t *testing.T) {
	require.ErrorContains(t, serve(bytes.NewBufferString("nonsense\n"), io.Discard, testdata, 100), "nonsense: unknown command")
	require.ErrorContains(t, serve(&bytes.Buffer{}, io.Discard, t.TempDir(), 100), nodeExporter)
}
