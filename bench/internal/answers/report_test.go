package answers

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/bench/internal/harness"
)

func TestReport(t *testing.T) {
	f := func(latency time.Duration, cpu time.Duration) string {
		m := measured{
			took: time.Second, latencies: []time.Duration{latency, latency, latency, latency},
			used: harness.Usage{CPU: cpu, Allocations: 800, Allocated: 8 << 10}, size: 512, reviews: 3,
		}
		var out strings.Builder
		results := []*result{{name: "marked", measured: m, expected: true}, {name: "other", measured: m}}
		require.NoError(t, report(&out, results, []*result{{name: "autoscalers", measured: m}}, &bench{}))
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
