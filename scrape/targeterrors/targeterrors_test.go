package targeterrors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"
)

func TestErrorsAreInTheReadersWords(t *testing.T) {
	f := func(err error, want string) {
		t.Helper()
		require.Equal(t, want, Plain(err))
		require.Equal(t, want, Plain(&url.Error{Op: "Get", URL: "http://10.0.0.1/metrics?token=secret", Err: err}))
	}
	ofType := func(of string) error {
		_, err := textparse.New(nil, of, labels.NewSymbolTable(), textparse.ParserOptions{})
		require.Error(t, err)
		return err
	}
	f(ofType("text/html"), `the Content-Type "text/html" is not a metrics format: correct the path or port, or set fallbackScrapeProtocol on its monitor`)
	f(ofType(";"), `the Content-Type ";" is not a metrics format: correct the path or port, or set fallbackScrapeProtocol on its monitor`)
	f(ofType(""), "the answer has no Content-Type: set fallbackScrapeProtocol on its monitor")
	f(errors.New("body_size_limit exceeded (limit: 33554432 bytes)"), "the body has 32 MiB or more: raise bodySizeLimit on its monitor, or expose fewer series")
	f(errors.New("body_size_limit exceeded (limit: 1000 bytes)"), "the body has 1000 bytes or more: raise bodySizeLimit on its monitor, or expose fewer series")
	f(ofType("application/openmetrics-text; version=2.0.0"), `the Content-Type "application/openmetrics-text; version=2.0.0" is not a metrics format: correct the path or port, or set fallbackScrapeProtocol on its monitor`)
	f(errors.New("sample_limit exceeded (limit: 5)"), "sampleLimit exceeded (limit: 5)")
	f(errors.New("label_value_length_limit exceeded (metric: m, length: 9, limit: 5)"), "labelValueLengthLimit exceeded (metric: m, length: 9, limit: 5)")
	f(errors.New("native_histogram_bucket_limit exceeded (number of buckets: 9, limit: 5)"), "nativeHistogramBucketLimit exceeded (number of buckets: 9, limit: 5)")
	f(fmt.Errorf("timed out after 10s without an answer: %w", context.DeadlineExceeded), "timed out after 10s without an answer")
	f(io.EOF, "the connection was closed without an answer")
	f(errors.New("dial tcp 10.0.0.1:80: connect: connection refused"), "dial tcp 10.0.0.1:80: connect: connection refused")
	require.Empty(t, Plain(nil))
	require.Equal(t, `the Content-Type "…" is not a metrics format: correct the path or port, or set fallbackScrapeProtocol on its monitor`, Public(ofType("text/html; secret")))
}

// The errors that Go's own client and server give.
func TestErrorsOfGosClient(t *testing.T) {
	get := func(address string) error {
		t.Helper()
		resp, err := http.Get(address)
		if err == nil {
			require.NoError(t, resp.Body.Close())
		}
		return err
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	require.Equal(t, "it answers in HTTP, not HTTPS: set scheme: http on its monitor", Public(get("https://"+plain.Listener.Addr().String())))
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	require.Equal(t, "tls: failed to verify certificate: x509: certificate signed by unknown authority: set tlsConfig on its monitor", Public(get(secure.URL)))
}
