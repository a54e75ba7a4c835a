package connlimit

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a TLS server behind a Listener, which trusts who sends a token.
func serve(t *testing.T) (*Listener, *httptest.Server) {
	srv := httptest.NewUnstartedServer(nil)
	limited := New(srv.Listener)
	srv.Listener = limited
	srv.EnableHTTP2 = true
	srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		limited.Trust(r.RemoteAddr)
		_, _ = io.Copy(w, r.Body)
	})
	srv.Config.MaxHeaderBytes = 64 << 20
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return limited, srv
}

func (l *Listener) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.strangers)
}

func ask(t *testing.T, srv *httptest.Server, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer x")
	resp, err := srv.Client().Do(req)
	require.NoError(t, err)
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return string(got)
}

// Strangers that hold connections keep nobody out, and are cut off when there are more.
func TestStrangersAreCutOff(t *testing.T) {
	for _, limits := range []struct{ all, perSource int }{{5, 100}, {100, 5}} {
		limited, srv := serve(t)
		limited.mu.Lock()
		limited.max, limited.perSource = limits.all, limits.perSource
		limited.mu.Unlock()
		require.Equal(t, "first", ask(t, srv, "first"))
		conns := make([]net.Conn, 30)
		for i := range conns {
			var err error
			conns[i], err = new(net.Dialer).DialContext(t.Context(), "tcp", srv.Listener.Addr().String())
			require.NoError(t, err)
			defer func() { require.NoError(t, conns[i].Close()) }()
		}
		require.Equal(t, "again", ask(t, srv, "again"), "who is trusted keeps its connection")
		another := srv.Client().Transport.(*http.Transport).Clone() //nolint:forcetypeassert // httptest's.
		defer another.CloseIdleConnections()
		srv.Client().Transport = another
		require.Equal(t, "new", ask(t, srv, "new"), "and who comes later is served")
		require.Eventually(t, func() bool { return limited.count() <= 5 }, 10*time.Second, 10*time.Millisecond)
		cut := 0
		for _, c := range conns[:25] {
			require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
			if _, err := c.Read(make([]byte, 1)); errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
				cut++
			}
		}
		require.Equal(t, 25, cut)
	}
}

// A stranger cannot have the server hold large headers; who is trusted may send what it likes.
func TestStrangersSendLittle(t *testing.T) {
	limited, srv := serve(t)
	config := srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone() //nolint:forcetypeassert // httptest's.
	config.NextProtos = []string{"http/1.1"}
	conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }() // It is broken.
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: ")
	require.NoError(t, err)
	sent := 0
	for err == nil && sent < 16<<20 {
		_, err = conn.Write(make([]byte, 1<<12))
		sent += 1 << 12
	}
	require.Error(t, err, "of 16 MiB")
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)

	ask(t, srv, "")
	large := strings.Repeat("x", 4*maxUnheard)
	require.Equal(t, large, ask(t, srv, large))
	require.Zero(t, limited.count())
}
