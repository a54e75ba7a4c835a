package scrape

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/scrape/internal/reason"
)

// hostile is something that a target may serve and that must not affect others.
type hostile struct {
	name    string
	serve   http.HandlerFunc
	reason  string
	timeout time.Duration // 0 is long enough for all that ends by itself
}

// plain serves a body as text.
func plain(body string) http.HandlerFunc { return typed(textType, body) }

func typed(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
	}
}

// endless writes what chunk returns until the client is gone.
func endless(chunk func(i int) []byte, pause time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", textType)
		for i := 0; r.Context().Err() == nil; i++ {
			if _, err := w.Write(chunk(i)); err != nil {
				return
			}
			if pause > 0 {
				if err := http.NewResponseController(w).Flush(); err != nil {
					return
				}
				select {
				case <-r.Context().Done():
				case <-time.After(pause):
				}
			}
		}
	}
}

// raw takes the connection over and writes the answer itself.
func raw(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, answer)
		_ = conn.Close()
	}
}

// bomb is 4 GB of one line over and over, some 4 MB long.
func bomb() []byte {
	line := bytes.Repeat([]byte("a_metric_of_some_length{label=\"value\"} 1\n"), 25_000)
	var one, all bytes.Buffer
	z, err := gzip.NewWriterLevel(&one, gzip.BestCompression)
	if err != nil {
		panic(err)
	}
	if _, err := z.Write(line); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	// Members of a gzip file may simply follow each other.
	for range 4000 {
		all.Write(one.Bytes())
	}
	return all.Bytes()
}

func manyLabels(n int) string {
	var b strings.Builder
	b.WriteString("a 1\nb{")
	for i := range n {
		fmt.Fprintf(&b, "label_%d=\"x\",", i)
	}
	b.WriteString("} 1\n")
	return b.String()
}

func manySeries(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a{label_%d=\"x\"} 1\n", i)
	}
	return b.String()
}

// largeHistogram is one family whose field of a few MB becomes eight times that.
func largeHistogram() string {
	deltas := make([]byte, 4<<20)
	field := func(n uint64, b []byte) []byte {
		return append(binary.AppendUvarint(binary.AppendUvarint(nil, n<<3|2), uint64(len(b))), b...)
	}
	metric := field(7, field(13, deltas)) // Histogram.positive_delta
	family := slices.Concat(field(1, []byte("h")), []byte{3 << 3, 4}, field(4, metric))
	return string(binary.AppendUvarint(nil, uint64(len(family)))) + string(family)
}

func hostiles() []hostile {
	gzipBomb := bomb()
	return []hostile{
		{name: "garbage", serve: plain("a 1\n}}}what is this\nb 2\n"), reason: `line 2: expected a valid start token, got "}" ("INVALID"), in "}}}what is this"`},
		{name: "binary", serve: plain("\x7fELF\x02\x01\x01\x00\x00\x00" + strings.Repeat("\x00\x01\x02\xff", 1<<17)), reason: `line 1: expected a valid start token`},
		{name: "truncated gzip", serve: func(w http.ResponseWriter, _ *http.Request) {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, _ = io.WriteString(z, manySeries(1000))
			_ = z.Close()
			w.Header().Set("Content-Type", textType)
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(b.Bytes()[:b.Len()/2])
		}, reason: "truncated gzip, after "},
		{name: "gzip bomb", serve: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", textType)
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(gzipBomb)
		}, reason: "body_size_limit exceeded (limit: 33554432 bytes)"},
		{name: "endless body", serve: endless(func(int) []byte { return bytes.Repeat([]byte("a 1\n"), 10_000) }, 0), reason: "body_size_limit exceeded (limit: 33554432 bytes)"},
		{name: "hanging", serve: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, reason: "timed out after 1s without an answer", timeout: time.Second},
		{name: "slow drip", serve: endless(func(i int) []byte { return []byte(fmt.Sprintf("a%d 1\n", i)) }, 20*time.Millisecond), reason: "timed out after 1s with ", timeout: time.Second},
		{name: "500", serve: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "oops", http.StatusInternalServerError) }, reason: "server returned HTTP status 500 Internal Server Error"},
		{name: "redirect loop", serve: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/metrics", http.StatusFound) }, reason: "stopped after 10 redirects"},
		{name: "redirect to a long address", serve: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/"+strings.Repeat("x", 1<<14), http.StatusFound)
		}, reason: "connection refused"},
		{name: "huge single line", serve: plain(`a{b="` + strings.Repeat("x", 8<<20) + "\"} 1\n"), reason: "line 1: longer than 1048576 bytes: "},
		{name: "long line", serve: plain("c 1\n" + `a{b="` + strings.Repeat("x", 100_000) + "\"} 1\n"), reason: "label_value_length_limit exceeded (metric: a, label name: b, "},
		{name: "quotation without end", serve: plain("a 1\nb{x=\"" + strings.Repeat("y\n", 1<<20)), reason: "line 2: longer than 1048576 bytes: "},
		{name: "invalid UTF-8", serve: plain("a 1\n\nb{x=\"\xff\xfe\"} 1\n"), reason: `line 3: invalid UTF-8 label value: `},
		{name: "invalid UTF-8 in help", serve: plain("a 1\n# HELP b \xff\nb 1\n"), reason: `line 2: help text `},
		{name: "100,000 label names on a series", serve: plain(manyLabels(100_000)), reason: "line 2: longer than 1048576 bytes: "},
		{name: "10,000 label names on a series", serve: plain(manyLabels(10_000)), reason: "label_limit exceeded (metric: b, number of labels: 10001, limit: 256)"},
		{name: "300 label names on a series", serve: plain(manyLabels(300)), reason: "label_limit exceeded (metric: b, number of labels: 303, limit: 256)"},
		{name: "100,001 label names on as many series", serve: plain(manySeries(100_001)), reason: "sample_limit exceeded (limit: 100000)"},
		{name: "protobuf of nothing", serve: typed(pbType, string(make([]byte, 30<<20))), reason: "more than 1000 metric families in a row have no metrics"},
		{name: "protobuf of large histograms", serve: typed(pbType, largeHistogram()), reason: "metric family with a field of more than 1048576 bytes"},
		{name: "protobuf of garbage", serve: typed(pbType, "\xff\xff\xff\xff\xff\xff"), reason: "clientpb: "},
		{name: "length that is a lie", serve: raw("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\na 1\n"), reason: "connection closed after 4 bytes of the body: unexpected EOF"},
		{name: "no HTTP", serve: raw("I am not a web server\r\n\r\n"), reason: "malformed HTTP"},
		{name: "long status", serve: raw("HTTP/1.1 500 " + strings.Repeat("x", 1<<15) + "\r\n\r\n"), reason: "server returned HTTP status 500 xxx"},
		{name: "longer status", serve: raw("HTTP/1.1 500 " + strings.Repeat("x", 1<<19) + "\r\n\r\n"), reason: "response header longer than 65536 bytes"},
		{name: "headers without end", serve: raw("HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Y: "+strings.Repeat("z", 1000)+"\r\n", 20_000)), reason: "response header longer than 65536 bytes"},
		{name: "connection closed", serve: raw(""), reason: "EOF"},
		{name: "help as large as the body may be", serve: plain("# HELP a " + strings.Repeat("x", 20<<20) + "\na 1\n"), reason: "line 1: longer than"},
		{name: "OpenMetrics that hangs the search for start timestamps", serve: typed(omType, "# TYPE a counter\na_total 1\na_total{b=\"c\"} 2 # {x=\"y\n# EOF\n"), reason: "line 3: "},
	}
}

// All of them at once, and a healthy target beside them is scraped all the time.
func TestHostileTargets(t *testing.T) {
	all := hostiles()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())

	healthy := addressOf(serveBody(t, textType, "a 1\n"))
	cfgs := one(jobConfig("healthy", every(2*time.Second)))
	sets := groups("healthy", group(healthy))
	addresses := map[string]string{}
	for _, h := range append(all, hostile{name: "nothing listens"}) {
		address := closed.Addr().String()
		if h.serve != nil {
			address = addressOf(serve(t, h.serve))
		}
		addresses[h.name] = address
		cfg := jobConfig(h.name, every(2*soon))
		sets[h.name] = append(sets[h.name], soonTarget(t, cfg, address))
		if h.timeout != 0 {
			cfg = jobConfig(h.name, every(h.timeout))
		}
		cfgs = append(cfgs, cfg)
	}

	r := &recorder{next: newTSDB(t)}
	// With memory for all the large ones at once each fails for its own reason.
	m := newManager(t, r, func(o *Options) { o.ParseStartTimestamps, o.ScrapeMemory = true, 1<<30 })
	require.NoError(t, m.Apply(cfgs, sets))
	for _, h := range append(all, hostile{name: "nothing listens", reason: "connect: connection refused"}) {
		t.Run(h.name, func(t *testing.T) { h.check(t, m, r, addresses[h.name]) })
	}

	n := len(r.byInstance(healthy))
	eventually(t, func() bool { return len(r.byInstance(healthy)) >= n+6 }, "scrapes of the healthy target")
	for _, e := range r.byInstance(healthy) {
		if e.name() == "up" {
			require.EqualValues(t, 1, e.v)
		}
	}
}

func (h hostile) check(t *testing.T, m *Manager, r *recorder, address string) {
	tg := targetAt(t, m, h.name, address)
	require.Eventually(t, func() bool { return tg.LastError() != nil }, 2*soon, 5*time.Millisecond)
	require.ErrorContains(t, tg.LastError(), h.reason)
	require.LessOrEqual(t, len(tg.LastError().Error()), reason.Max)
	eventually(t, func() bool { return len(r.byInstance(address)) > 0 }, "a report")
	for _, e := range r.byInstance(address) {
		require.True(t, isReport(e.name()), e)
		if e.name() == "up" {
			require.Zero(t, e.v)
		}
	}
}

// A panic fails the scrape, and the next one works.
func TestPanicIsContained(t *testing.T) {
	s := serveBody(t, textType, "a 1\nb 1\n")
	log := &logBuffer{}
	panics := true
	r := &recorder{next: newTSDB(t)}
	r.refuse = func(s sample) error {
		if panics && s.name() == "b" && !s.stale() {
			panic("parser bug")
		}
		return nil
	}
	m := newManager(t, r, func(o *Options) { o.Logger = log.logger() })
	l := testLoop(t, m, jobConfig("j", slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s))})
	start := time.Now().Add(-time.Minute)
	l.scrape(start)
	require.EqualError(t, l.target.LastError(), "panic (a bug, please report it): parser bug")
	_, report := r.last(t)
	require.Zero(t, report["up"])
	require.Contains(t, log.String(), "hostile_test.go")

	panics = false
	l.scrape(start.Add(time.Second))
	require.NoError(t, l.target.LastError())
	body, report := r.last(t)
	require.Len(t, body, 2)
	require.EqualValues(t, 1, report["up"])
}

// A panic where nothing can be recorded ends neither the loop nor the process.
func TestPanicInTheReport(t *testing.T) {
	t.Parallel()
	s := serveBody(t, textType, "a 1\n")
	r := &recorder{}
	n := 0
	r.refuse = func(s sample) error {
		if s.name() == "up" {
			if n++; n <= 2 {
				panic("storage bug")
			}
		}
		return nil
	}
	m := newManager(t, r)
	require.NoError(t, m.Apply(one(jobConfig("j")), groups("j", group(addressOf(s)))))
	eventually(t, func() bool {
		return targetAt(t, m, "j", addressOf(s)).Health() == promscrape.HealthGood && len(r.all()) > 0
	}, "recovery")
}

func TestStorageErrors(t *testing.T) {
	s := serveBody(t, textType, "a 1\nb 1\n")
	broken := errors.New("disk full")
	for name, c := range map[string]struct {
		set    func(*recorder)
		reason string
	}{
		"append": {func(r *recorder) {
			r.refuse = func(s sample) error {
				if s.name() == "b" {
					return broken
				}
				return nil
			}
		}, `append "b": disk full`},
		"report": {func(r *recorder) {
			r.refuse = func(s sample) error {
				if s.name() == "up" {
					return broken
				}
				return nil
			}
		}, "append up: disk full"},
		"commit": {func(r *recorder) { r.failCommit = broken }, "commit the scrape: disk full"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{}
			c.set(r)
			l := testLoop(t, newManager(t, r), jobConfig("j", slow), model.LabelSet{model.AddressLabel: model.LabelValue(addressOf(s))})
			l.scrape(time.Now())
			require.ErrorIs(t, l.target.LastError(), broken)
			require.EqualError(t, l.target.LastError(), c.reason)
			require.Equal(t, promscrape.HealthBad, l.target.Health())
			r.mu.Lock()
			r.refuse, r.failCommit = nil, nil
			r.mu.Unlock()
			l.scrape(time.Now())
			require.NoError(t, l.target.LastError())
			body, _ := r.last(t)
			require.Len(t, body, 2)
		})
	}
}
