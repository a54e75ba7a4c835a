package body

import (
	"context"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/prometheus/prometheus/config"

	"github.com/promlet/promlet/scrape/internal/budget"
)

// fetcherFor makes the Fetcher of a job.
func fetcherFor(t *testing.T, p gauged, mutate ...func(*config.ScrapeConfig)) *Fetcher {
	c := config.DefaultScrapeConfig
	c.JobName, c.HTTPClientConfig = "j", config_util.DefaultHTTPClientConfig
	c.ScrapeProtocols, c.MetricNameValidationScheme, c.MetricNameEscapingScheme = config.DefaultScrapeProtocols, model.UTF8Validation, model.AllowUTF8
	for _, m := range mutate {
		m(&c)
	}
	f, err := NewFetcher(&c, Options{Pools: p.Pools})
	require.NoError(t, err)
	t.Cleanup(f.CloseIdleConnections)
	return f
}

// trusting makes the job trust a server.
func trusting(s *httptest.Server) func(*config.ScrapeConfig) {
	return func(c *config.ScrapeConfig) {
		c.HTTPClientConfig.TLSConfig.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	}
}

func fetch(t *testing.T, f *Fetcher, target string) (Answer, error) {
	return f.Fetch(t.Context(), "o", target, time.Minute, 0, nil)
}

// headersOf answers with a header of about size bytes, and with a large body.
func headersOf(size int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", textType)
		for left := size; left > 0; left -= 1000 {
			w.Header().Add("X-Padding", strings.Repeat("x", min(left, 1000)-1))
		}
		_, _ = io.WriteString(w, strings.Repeat("a 1\n", 500_000))
	}
}

// A header counts with each request anew, and what comes after it is not a header.
func TestHeadersAreBounded(t *testing.T) {
	for _, start := range []func(http.Handler) *httptest.Server{httptest.NewServer, httptest.NewTLSServer} {
		p := testPools(32 << 20)
		for _, c := range []struct {
			size int
			ok   bool
		}{{0, true}, {4000, true}, {30_000, true}, {80_000, false}, {9_500_000, false}} {
			s := start(headersOf(c.size))
			f := fetcherFor(t, p, func(j *config.ScrapeConfig) {
				if s.TLS != nil {
					trusting(s)(j)
				}
			})
			for range 5 {
				got, err := fetch(t, f, s.URL)
				if c.ok {
					require.NoError(t, err)
					require.Len(t, got.Bytes(), 2_000_000)
				} else {
					require.EqualError(t, err, "response header longer than 65536 bytes")
				}
				got.Release()
				require.Zero(t, testutil.ToFloat64(p.gauge))
			}
			f.CloseIdleConnections()
			s.Close()
		}
	}
}

// Each redirect may have a header of its own, but all of them are kept until the end.
func TestHeadersOfRedirects(t *testing.T) {
	p := testPools(32 << 20)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Padding", strings.Repeat("x", 40_000))
		if r.URL.Path != "/aaaaa" {
			http.Redirect(w, r, r.URL.Path+"a", http.StatusFound)
			return
		}
		require.Greater(t, testutil.ToFloat64(p.gauge), float64(5*40_000))
		headersOf(0)(w, r)
	}))
	defer s.Close()
	got, err := fetch(t, fetcherFor(t, p), s.URL+"/")
	require.NoError(t, err)
	require.Len(t, got.Bytes(), 2_000_000)
	got.Release()
	require.Zero(t, testutil.ToFloat64(p.gauge))
}

// flooding accepts connections and writes to them: the first text, and then the other
// without end.
func flooding(t *testing.T, first, text string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.WriteString(c, first)
				for range 10_000 {
					if _, err := io.WriteString(c, text); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// What comes before the header is bounded as well: the answers of proxies, and of what
// speaks no TLS.
func TestBeforeTheHeader(t *testing.T) {
	p := testPools(32 << 20)
	proxy := flooding(t, "HTTP/1.1 200 OK\r\n", strings.Repeat("X-Y: z\r\n", 500))
	f := fetcherFor(t, p, func(c *config.ScrapeConfig) {
		c.HTTPClientConfig.ProxyURL = config_util.URL{URL: &url.URL{Scheme: "http", Host: proxy}}
	})
	got, err := fetch(t, f, "https://example.com/metrics")
	require.EqualError(t, err, "response header longer than 65536 bytes")
	got.Release()

	// A handshake message of 200 KiB that never ends.
	record := append([]byte{22, 3, 3, 64, 0}, make([]byte, 16<<10)...)
	copy(record[5:], []byte{2, 3, 0, 0})
	got, err = fetch(t, fetcherFor(t, p), "https://"+flooding(t, "", string(record)))
	require.Error(t, err)
	got.Release()
	require.Zero(t, testutil.ToFloat64(p.gauge))
}

// A header that finds no memory waits, and fails with the reason.
func TestHeaderWithoutMemory(t *testing.T) {
	p := testPools(1 << 20)
	s := httptest.NewServer(headersOf(20_000))
	defer s.Close()
	f := fetcherFor(t, p)
	held := p.memory.Loan("o")
	require.NoError(t, held.Try(300_000))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	got, err := f.Fetch(ctx, "o", s.URL, time.Second, 0, nil)
	require.ErrorIs(t, err, budget.ErrBusy)
	require.EqualError(t, err, "timed out after 1s: memory for scrapes is in use: context deadline exceeded")
	got.Release()
	held.End()
	require.Zero(t, testutil.ToFloat64(p.gauge))
}

// Scrapes of a job with credentials go on at the same time. The race detector watches.
func TestRequestsHaveTheirOwnHeaders(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" || r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds") != "60" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(server.Close)
	f := fetcherFor(t, testPools(32<<20), func(c *config.ScrapeConfig) {
		c.HTTPClientConfig.Authorization = &config_util.Authorization{Type: "Bearer", Credentials: "secret"}
	})
	errs := make(chan error)
	for range 20 {
		go func() {
			got, err := fetch(t, f, server.URL)
			got.Release()
			errs <- err
		}()
	}
	for range 20 {
		require.NoError(t, <-errs)
	}
}
