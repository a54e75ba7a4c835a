package main

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A measurement, with the server in a process of its own. Warming is long enough for
// Prometheus's first scrapes, not for promlet's quick second ones.
func TestMeasure(t *testing.T) {
	b := &bench{
		body: newTestBody(t), targets: 10, testdata: testdata, profiles: t.TempDir(),
		warming: 2 * interval, counting: 2 * interval,
	}
	m, err := b.measure(t.Context(), kase{sidePrometheus, everything, false})
	require.NoError(t, err)
	require.InDelta(t, 20, m.scrapes, 2)
	require.Positive(t, m.cpu)
	require.Less(t, m.cpu, time.Second)
	require.Greater(t, m.allocations, 10.0)
	require.Greater(t, m.allocated, 1000.0)
	require.Greater(t, m.heap, 10_000.0, "100 series are held")
	require.True(t, m.zipped)
	profile, err := os.Stat(b.profiles + "/prometheus-all-100.cpu.pprof")
	require.NoError(t, err)
	require.Positive(t, profile.Size())
}

// What was not scraped as it should have been is not a figure.
func TestCountRefuses(t *testing.T) {
	b := &bench{body: newTestBody(t), targets: 1, counting: interval}
	err := b.count(t.Context(), kase{sidePromlet, everything, false}, &sink{}, &measured{})
	require.EqualError(t, err, "0 scrapes instead of 1")

	to := &sink{}
	committed := time.AfterFunc(interval/2, func() { _ = to.AppenderV2(t.Context()).Commit() })
	defer committed.Stop()
	err = b.count(t.Context(), kase{sidePromlet, onePercentOnDemand, false}, to, &measured{})
	require.EqualError(t, err, "0 samples in 1 scrapes instead of 6 in each")
}
