package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"
)

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestRender(t *testing.T) {
	ago := func(s float64) time.Time { return testTime.Add(-time.Duration(s * float64(time.Second))) }
	rows := []row{
		{object: "services/app", metric: "http_requests", target: "100", asks: "3 replicas (has 2, may 2-10)", value: resource.MustParse("149600m"), at: ago(1.25), window: 20 * time.Second, load: 150, scales: true},
		{object: "pods/app-1", metric: "http_requests", value: resource.MustParse("50500m"), at: ago(3), window: 20 * time.Second, load: 50},
		{object: "deployments.apps/app", metric: "queue", target: "5", asks: "2", value: resource.MustParse("7"), at: ago(0), load: -1},
		{object: "pods/app-2", metric: "http_requests", err: errors.New("404: too few samples")},
		{object: "pods/app-3", metric: "http_requests", err: errors.New("404: too few samples")},
		{object: "services/other", metric: "x", target: "1", err: errors.New("404: no rule")},
		{object: "pods/app-4", metric: "http_requests", value: resource.MustParse("3"), at: ago(1), window: time.Minute, load: 0},
		{object: "pods/app-5", metric: "http_requests", value: resource.MustParse("3"), at: ago(1), window: time.Minute, load: 2, filling: true},
	}
	var trimmed []string
	for line := range strings.Lines(render(rows, testTime)) {
		trimmed = append(trimmed, strings.TrimRight(line, " \n"))
	}
	require.Equal(t, strings.TrimPrefix(`
OBJECT                 METRIC          VALUE    LOAD     OFF BY    TARGET   THE HPA ASKS FOR               AGE    WINDOW
services/app           http_requests   149.60   150.00   -0.3%     100      3 replicas (has 2, may 2-10)   1.2s   20s
pods/app-1             http_requests   50.50    50.00    +1.0%     -        -                              3.0s   20s
deployments.apps/app   queue           7.00     -        -         5        2                              0.0s   -
pods/app-2             http_requests   -        -        -         -        -                              -      -
pods/app-3             http_requests   -        -        -         -        -                              -      -
services/other         x               -        -        -         1        -                              -      -
pods/app-4             http_requests   3.00     0.00     -         -        -                              1.0s   1m0s
pods/app-5             http_requests   3.00     2.00     filling   -        -                              1.0s   1m0s
waiting for pods/app-2, pods/app-3 http_requests: 404: too few samples
waiting for services/other x: 404: no rule`, "\n"), strings.Join(trimmed, "\n"))
}

func TestScreenWithoutTerminal(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out}
	f := func(after time.Duration, served, final, shown bool) {
		t.Helper()
		out.Reset()
		s.draw("frame\n", served, final, testTime.Add(after))
		require.Equal(t, shown, out.String() == "\nframe\n", "%q", out.String())
	}
	f(0, false, false, true)
	f(time.Second, false, false, false)
	f(2*time.Second, true, false, true) // now there are values
	f(3*time.Second, true, false, false)
	f(13*time.Second, true, false, true)
	f(14*time.Second, true, true, true) // the last one
}

func TestScreenOnTerminal(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out, terminal: true}
	s.draw("one\ntwo\n", true, false, testTime)
	require.Equal(t, "\x1b[?7l\x1b[Jone\ntwo\n\x1b[?7h", out.String())
	out.Reset()
	s.draw("three\n", true, false, testTime)
	require.Equal(t, "\x1b[2A\r\x1b[?7l\x1b[Jthree\n\x1b[?7h", out.String())
	out.Reset()
	s.say("a note\n") // stays above what is drawn next
	s.draw("four\n", true, true, testTime)
	require.Equal(t, "a note\n\x1b[?7l\x1b[Jfour\n\x1b[?7h", out.String())
}

func TestFilesAreNoTerminals(t *testing.T) {
	t.Setenv("TERM", "xterm")
	file, err := os.CreateTemp(t.TempDir(), "out")
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	require.False(t, newScreen(file).terminal)
	null, err := os.Open(os.DevNull) // a device of characters
	require.NoError(t, err)
	defer func() { require.NoError(t, null.Close()) }()
	require.True(t, newScreen(null).terminal)
	t.Setenv("TERM", "dumb")
	require.False(t, newScreen(null).terminal)
}
