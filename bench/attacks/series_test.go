package attacks

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// longLabel is the length of the value of a label.
const longLabel = 15 << 10

// A tenant's HPA reads series with labels of 15 KiB, others with each scrape. They take neither the memory nor the place
// of another namespace's new pod, nor do they after a restart.
func TestSeries(t *testing.T) {
	s := start(t)
	var made atomic.Int64
	value := strings.Repeat("a", longLabel)
	s.deploy(app{namespace: tenant, name: "flood", addresses: s.listen(20, exposing(func(int) string {
		var b strings.Builder
		for range 200 {
			fmt.Fprintf(&b, "flood{l=\"%d-%s\"} 1\n", made.Add(1), value)
		}
		return b.String()
	}))}, "flood")
	s.endure("labels of 15 KiB", 10*time.Second)
	s.deploy(app{namespace: "shop", name: "late", addresses: s.listen(2, exposing(func(int) string { return "# TYPE depth gauge\ndepth 4\n" }))}, "depth")
	s.eventually("shop/services/late/depth", equal(8))
	s.kill()
	s.restart()
	s.endure("the restart", 5*time.Second)
	require.Greater(t, made.Load(), int64(memoryBound/longLabel), "the attack must be one")
	s.end()
}
