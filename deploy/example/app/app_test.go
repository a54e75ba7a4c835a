package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func get(t *testing.T, url, accept string) (int, string, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	req.Header.Set("Accept", accept)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(body)
}

func TestCountsOnlyTheApplication(t *testing.T) {
	server := httptest.NewServer(newHandler())
	defer server.Close()
	for _, path := range []string{"/", "/", "/some/page?x=1"} {
		code, _, body := get(t, server.URL+path, "")
		require.Equal(t, http.StatusOK, code)
		require.Equal(t, "hello\n", body)
	}
	code, _, body := get(t, server.URL+"/healthz", "")
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "ok\n", body)
	for range 2 {
		_, kind, body := get(t, server.URL+"/metrics", "")
		require.Contains(t, kind, "text/plain")
		require.Contains(t, body, "\nhttp_requests_total 3\n")
		require.Contains(t, body, "# TYPE http_requests_total counter\n")
		require.Contains(t, body, "\nhttp_requests_in_flight 0\n")
	}
	_, kind, body := get(t, server.URL+"/metrics", "application/openmetrics-text;version=1.0.0")
	require.Contains(t, kind, "application/openmetrics-text")
	require.Contains(t, body, "http_requests_total 3.0\n")
	require.Contains(t, body, "# EOF\n")
}

// blocking is a client's connection that takes nothing until it is let go.
type blocking struct {
	http.ResponseWriter
	entered, leave chan struct{}
}

func (b blocking) Write(p []byte) (int, error) {
	close(b.entered)
	<-b.leave
	return len(p), nil
}

func TestInFlight(t *testing.T) {
	handler := newHandler()
	slow := blocking{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() { handler.ServeHTTP(slow, httptest.NewRequest(http.MethodGet, "/", nil)) })
	<-slow.entered
	page := httptest.NewRecorder()
	handler.ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Contains(t, page.Body.String(), "\nhttp_requests_in_flight 1\n")
	close(slow.leave)
	wg.Wait()
}

// output can be written and read at the same time.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out output
	done := make(chan error)
	go func() { done <- run(ctx, []string{"--listen-address", "127.0.0.1:0"}, &out) }()
	address := regexp.MustCompile(`address=(\S+)`)
	require.Eventually(t, func() bool { return address.MatchString(out.String()) }, 10*time.Second, time.Millisecond)
	code, _, _ := get(t, "http://"+address.FindStringSubmatch(out.String())[1]+"/healthz", "")
	require.Equal(t, http.StatusOK, code)
	cancel()
	require.NoError(t, <-done)
}

func TestRunRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, taken.Close()) }()
	require.ErrorContains(t, run(t.Context(), []string{"--listen-address", taken.Addr().String()}, io.Discard), "--listen-address="+taken.Addr().String())
	require.ErrorContains(t, run(t.Context(), []string{"--nonsense"}, io.Discard), "nonsense")
	require.True(t, errors.Is(run(t.Context(), []string{"--help"}, io.Discard), flag.ErrHelp))
}
