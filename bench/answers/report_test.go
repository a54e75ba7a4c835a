package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPercentile(t *testing.T) {
	f := func(n, p int, want time.Duration) {
		t.Helper()
		var m measured
		for i := range n {
			m.latencies = append(m.latencies, time.Duration(i))
		}
		require.Equal(t, want, m.percentile(p))
	}
	f(0, 50, 0)
	f(1, 50, 0)
	f(1, 99, 0)
	f(2, 50, 1)
	f(100, 50, 50)
	f(100, 99, 99)
	f(1000, 99, 990)
}

func TestReport(t *testing.T) {
	f := func(latency time.Duration, cpu time.Duration) string {
		m := measured{
			took: time.Second, latencies: []time.Duration{latency, latency, latency, latency},
			cpu: cpu, allocations: 800, allocated: 8 << 10, size: 512, reviews: 3,
		}
		var out strings.Builder
		results := []*result{{name: "marked", measured: m, expected: true}, {name: "other", measured: m}}
		require.NoError(t, report(&out, results, []*result{{name: "autoscalers", measured: m}}, &bench{counting: counting, polling: polling}))
		return out.String()
	}
	text := f(time.Millisecond, 10*time.Millisecond)
	require.Regexp(t, `marked +4\.00 +1\.00 +1\.00 +2\.50 +200 +2\.00 +0\.50 +p50 < 2ms, p99 < 10ms`, text)
	require.Regexp(t, `other +4\.00 +1\.00 +1\.00 +2\.50 +200 +2\.00 +0\.50 +\n`, text)
	require.Regexp(t, `autoscalers +10\.0 +3\.00 +4\.00 +1\.00 +1\.00 +2\.50 +200 +2\.00 +CPU < 20`, text)
	require.True(t, strings.HasSuffix(text, "\nExpected: it holds.\n"))
	require.True(t, strings.HasSuffix(f(20*time.Millisecond, 30*time.Millisecond),
		"\nExpected: missed: marked: p50 20.0 ms; marked: p99 20.0 ms; autoscalers: CPU 30.0/1000.\n"))
}
