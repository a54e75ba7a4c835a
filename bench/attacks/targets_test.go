package attacks

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// wave is how long each attack lasts.
const wave = 8 * time.Second

// Targets send what takes memory before it is counted: headers, lines that do not end, beginnings of bodies, and names
// that nobody reads.
func TestTargets(t *testing.T) {
	s := start(t)
	const exposition = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n"
	header := "X-Long: " + strings.Repeat("a", 1000) + "\r\n"
	lines := strings.Repeat("# TYPE x gauge\nx{l=\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"} 1\n", 250<<10/64)
	for _, w := range []struct {
		name    string
		targets int
		body    []byte
	}{
		{"headers of 9.5 MB", 30, []byte("HTTP/1.1 200 OK\r\n" + strings.Repeat(header, 9_500_000/len(header)))},
		{"lines of 1 MB", 100, []byte(exposition + strings.Repeat("a", 1<<20))},
		{"250 KiB and then nothing", 700, []byte(exposition + lines)},
	} {
		addresses := s.listen(w.targets, sendingAndWaiting(w.body))
		s.deploy(app{namespace: tenant, name: "wave", addresses: addresses, endpoint: ", interval: 5s, scrapeTimeout: 5s"}, "http_requests", "x")
		s.endure(w.name, wave)
	}
	for job := range 16 {
		var b strings.Builder
		for n := range 19_000 {
			fmt.Fprintf(&b, "job_%02d_name_%05d_total 1\n", job, n)
		}
		s.deploy(app{namespace: tenant, name: fmt.Sprintf("names-%d", job), addresses: s.listen(1, exposing(func(int) string { return b.String() }))})
	}
	s.endure("16 jobs of 19,000 names", wave)
	s.end()
}

// sendingAndWaiting sends something in answer to a request, and keeps the connection open.
func sendingAndWaiting(what []byte) func(conn net.Conn, i int) {
	return func(conn net.Conn, _ int) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
			return
		}
		if _, err := io.Copy(conn, bytes.NewReader(what)); err == nil {
			_, _ = io.Copy(io.Discard, conn) // until promlet closes it
		}
	}
}
