package scrape

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/scrape/seriesroom"
)

// What a series costs is estimated well: labels, samples, and what is kept beside them.
func TestSeriesCost(t *testing.T) {
	const series, scrapes = 1000, 119 // a full chunk
	rnd := rand.New(rand.NewPCG(1, 2))
	f := func(size int, value func(i int) float64) {
		room := seriesroom.New(seriesroom.Limits{Series: 1e6})
		store := newTSDB(t, counted(room))
		m := newManager(t, store, func(o *Options) { o.SeriesRoom = room })
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", textType)
			for i := range series {
				_, _ = fmt.Fprintf(w, "requests_%d{path=\"/api/v1/%d\",x=\"%s\"} %v\n", i%40, i, strings.Repeat("x", size), value(i))
			}
		})
		before := heap()
		l := testLoop(t, m, jobConfig("j", slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s)), "namespace": "shop", "pod": "web-7c9d8f-abcde"})
		at := time.Now().Add(-time.Hour)
		for n := range scrapes {
			l.scrape(at.Add(time.Duration(n) * 15 * time.Second))
			require.NoError(t, l.target.LastError())
		}
		took, estimated := heap()-before, room.Status().Stored[seriesroom.Bytes]
		require.Greater(t, took, estimated/2, "%d bytes a series", took/series)
		require.Less(t, took, estimated+estimated/4, "%d bytes a series", took/series)
		runtime.KeepAlive(l)
	}
	n := 0
	f(50, func(i int) float64 { n++; return float64(i * n) })
	f(50, func(int) float64 { return rnd.NormFloat64() })
	f(2000, func(int) float64 { return rnd.NormFloat64() })
}
