package harness

import (
	"bytes"
	"compress/gzip"
	"context"
	"net"
	"net/http"
	"strings"
	"time"
)

// WriteMetrics answers a scrape as promhttp does: compressed if that is asked for, which
// it reports.
func WriteMetrics(w http.ResponseWriter, r *http.Request, plain, zipped []byte) (compressed bool) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	text := plain
	if compressed = strings.Contains(r.Header.Get("Accept-Encoding"), "gzip"); compressed {
		w.Header().Set("Content-Encoding", "gzip")
		text = zipped
	}
	_, _ = w.Write(text) // the client may be gone
	return compressed
}

// Zip compresses a text.
func Zip(text []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(text) // a buffer takes everything
	_ = z.Close()
	return b.Bytes()
}

// DialTo returns a dialer whose connections all lead to one address.
func DialTo(address string) func(ctx context.Context, network, _ string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

// Sleep waits, at most until ctx is done, whose error it then returns.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
