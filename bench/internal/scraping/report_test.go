package scraping

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReport(t *testing.T) {
	f := func(allCPU, demandHeap float64) string {
		r := &result{body: &body{series: 1000, text: make([]byte, 2048), kept: []string{"a", "b"}}, targets: 7, of: map[kase]measured{}}
		for _, c := range cases() {
			m := measured{scrapes: 28, cpu: time.Millisecond, allocations: 200, allocated: 2048, heap: 100 << 10, stacks: 1024, zipped: true}
			switch {
			case c.side == sidePromlet && c.keeps == everything:
				m.cpu, m.heap, m.zipped = time.Duration(allCPU*float64(time.Millisecond)), 70<<10, c.plain
			case c.side == sidePromlet && c.keeps == onePercentOnDemand:
				m.cpu, m.heap = 100*time.Microsecond, demandHeap*(100<<10)
			}
			r.of[c] = m
		}
		var out strings.Builder
		require.NoError(t, report(&out, []*result{r}, 4*time.Second))
		return out.String()
	}
	text := f(1, 0.05)
	require.Regexp(t, `everything kept: CPU per scrape +µs +1,000 +1,000 +1\.00 +<= 1\.00`, text)
	require.Regexp(t, `1 % kept: CPU per scrape +µs +100 +1,000 +0\.10 +<= 0\.15`, text)
	require.Regexp(t, `1 % kept: heap held per target +KiB +5\.00 +100 +0\.05 +<= 0\.05`, text)
	require.Regexp(t, `relabelling too: allocations per scrape +200 +200 +1\.00`, text)
	require.Contains(t, text, "(promlet-all of 1,000 series did not):")
	require.Contains(t, text, "1,000 series, 2.00 KiB, 1 % is 2 names; 7 targets, 28 scrapes counted.")
	require.True(t, strings.HasSuffix(text, ": it holds.\n"))

	require.True(t, strings.HasSuffix(f(1.2, 0.06),
		": missed: everything kept: CPU per scrape (1,000 series): 1.200; 1 % kept: heap held per target (1,000 series): 0.060.\n"))
}
