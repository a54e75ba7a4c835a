package scrape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// flood is what many targets of one owner do at once.
type flood struct {
	name    string
	targets int
	serve   http.HandlerFunc
	reason  string // why they fail, before they time out; empty if they only hang
}

// thenSilence writes a text and then nothing until the client is gone.
func thenSilence(text string, mutate ...func(http.Header)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", textType)
		for _, m := range mutate {
			m(w.Header())
		}
		_, _ = io.WriteString(w, text)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// rawThenSilence writes the beginning of an answer itself.
func rawThenSilence(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, text)
		_, _ = conn.Read(make([]byte, 1))
	}
}

// rawLines answers with a header of the same line over and over.
func rawLines(line string, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
		for range n {
			if _, err := io.WriteString(conn, line); err != nil {
				return
			}
		}
	}
}

// manyHeaders are lines of a header, as short as they can be.
func manyHeaders(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%x:\r\n", 0x1000+i)
	}
	return b.String()
}

func floods() []flood {
	return []flood{
		{"headers of 9.5 MB", 30, rawLines("X-Y: "+strings.Repeat("z", 1000)+"\r\n", 9500), "response header longer than 65536 bytes"},
		{"headers that end nowhere", 200, rawThenSilence("HTTP/1.1 200 OK\r\n" + manyHeaders(7000)), ""},
		{"lines of 1 MB without end", 100, thenSilence("a{b=\"" + strings.Repeat("x", 1_000_000)), ""},
		{"250 KiB and then nothing", 300, thenSilence(strings.Repeat("a 1\n", 64_000)), ""},
		{"gzip and then nothing", 300, thenSilence("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", func(h http.Header) { h.Set("Content-Encoding", "gzip") }), ""},
	}
}

// targetsOf are targets behind one address.
func targetsOf(address string, n int) *targetgroup.Group {
	g := &targetgroup.Group{Source: address}
	for i := range n {
		g.Targets = append(g.Targets, model.LabelSet{model.AddressLabel: model.LabelValue(address), "__param_i": model.LabelValue(itoa(i))})
	}
	return g
}

// live is the memory that is in use.
func live() int64 { return heap() }

// ownerByJob is the Owner of jobs whose names begin with that of a namespace.
func ownerByJob(job string, _ model.LabelSet) string {
	namespace, _, _ := strings.Cut(job, "/")
	return namespace
}

// Targets that take all the memory they can get do not get more than there is, and targets
// of others are scraped all the while.
func TestFloods(t *testing.T) {
	const memory = 16 << 20
	for _, f := range floods() {
		t.Run(f.name, func(t *testing.T) {
			m := newManager(t, &recorder{}, onDemand, func(o *Options) { o.ScrapeMemory, o.Owner = memory, ownerByJob })
			bad, good := addressOf(serve(t, f.serve)), addressOf(serveBody(t, textType, manySeries(1000)))
			before := live()
			cfgs := []*config.ScrapeConfig{jobConfig("bad/j", every(10*time.Second)), jobConfig("good/j", every(3*time.Second))}
			require.NoError(t, m.Apply(cfgs, map[string][]*targetgroup.Group{
				"bad/j": {targetsOf(bad, f.targets)}, "good/j": {targetsOf(good, 3)},
			}))
			var peak, held int64
			scraped := map[time.Time]bool{} // successful scrapes of good targets
			for begun := time.Now(); time.Since(begun) < 7*time.Second; time.Sleep(200 * time.Millisecond) {
				peak, held = max(peak, live()-before), max(held, int64(testutil.ToFloat64(m.metrics.scrapeMemory)))
				for _, target := range m.TargetsActive()["good/j"] {
					require.NoError(t, target.LastError())
					scraped[target.LastScrape()] = true
				}
			}
			t.Logf("live at most %d KiB, charged %d KiB", peak>>10, held>>10)
			require.LessOrEqual(t, held, int64(memory))
			// Goroutines and connections, on both sides.
			require.Less(t, peak, int64(memory+f.targets*(100<<10)))
			require.GreaterOrEqual(t, len(scraped), 2*3)
			for _, target := range m.TargetsActive()["bad/j"] {
				if f.reason != "" {
					require.Eventually(t, func() bool { return target.LastError() != nil }, time.Minute, 100*time.Millisecond)
					require.EqualError(t, target.LastError(), f.reason)
				}
			}
			begun := time.Now()
			m.Stop()
			require.Less(t, time.Since(begun), 5*time.Second)
			require.Zero(t, testutil.ToFloat64(m.metrics.scrapeMemory))
		})
	}
}

// Names that nobody reads take no more than there is for them, and leave room for those of
// others that come later.
func TestNameFlood(t *testing.T) {
	const memory = 8 << 20
	m := newManager(t, &recorder{}, onDemand, func(o *Options) { o.NameMemory, o.Owner = memory, ownerByJob })
	names := func(prefix string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "# HELP %s_%d %s\n# TYPE %[1]s_%[2]d gauge\n%[1]s_%[2]d 1\n", prefix, i, strings.Repeat("h", 20))
		}
		return b.String()
	}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", textType)
		n := 10_000
		if strings.HasPrefix(r.URL.Query().Get("name"), "good") {
			n = 300
		}
		_, _ = io.WriteString(w, names(r.URL.Query().Get("name"), n))
	})
	var cfgs []*config.ScrapeConfig
	all := map[string][]*targetgroup.Group{}
	add := func(job, name string) {
		cfgs = append(cfgs, jobConfig(job, every(soon)))
		all[job] = []*targetgroup.Group{{Source: job, Targets: []model.LabelSet{{
			model.AddressLabel: model.LabelValue(addressOf(s)), "__param_name": model.LabelValue(name),
		}}}}
	}
	before := live()
	for i := range 16 {
		add(fmt.Sprintf("bad/%d", i), fmt.Sprintf("bad%d", i))
	}
	require.NoError(t, m.Apply(cfgs, all))
	up := func(jobs int) func() bool {
		return func() bool {
			good := 0
			m.eachLoop(func(l *loop) {
				if l.lastSamples.Load() != nil && l.target.LastError() == nil {
					good++
				}
			})
			return good == jobs
		}
	}
	eventually(t, up(16), "scraped")
	add("good/j", "good")
	require.NoError(t, m.Apply(cfgs, all))
	eventually(t, up(17), "scraped")
	require.Len(t, exposedOf(m, "good/j"), 300)
	require.LessOrEqual(t, testutil.ToFloat64(m.metrics.nameMemory), float64(memory))
	// What the bodies took is given back a little later.
	eventually(t, func() bool { return live()-before < 2*memory }, "little is held")

	// The demand is set while the flood lasts, and is left alone when there is no time.
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	err := m.SetDemand(ctx, Demand{Wanted: func(string) bool {
		asked++
		cancel()
		return false
	}})
	require.True(t, errors.Is(err, context.Canceled))
	require.Less(t, asked, 1000)
	require.NoError(t, m.SetDemand(t.Context(), wants("good_7")))
	eventually(t, func() bool {
		for _, metric := range exposedOf(m, "good/j") {
			if metric.Stored {
				return metric.Name == "good_7"
			}
		}
		return false
	}, "wanted")

	// Jobs that are gone hold nothing.
	require.NoError(t, m.Apply(cfgs[16:], map[string][]*targetgroup.Group{"good/j": all["good/j"]}))
	require.Less(t, testutil.ToFloat64(m.metrics.nameMemory), float64(1<<20))
	require.NoError(t, m.Apply(nil, nil))
	require.Zero(t, testutil.ToFloat64(m.metrics.nameMemory))
	runtime.KeepAlive(m)
}
