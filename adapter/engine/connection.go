package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/config"
)

// Connection says how to reach an engine.
type Connection struct {
	// URL is the engine's URL without /api/v1, such as http://prometheus:9090 or
	// https://mimir/prometheus. Required.
	URL string
	// HTTP has credentials, TLS, proxies and headers, as in Prometheus's configuration.
	HTTP config.HTTPClientConfig
	// Transport replaces HTTP if it is set.
	Transport http.RoundTripper
	// Verb is GET (also when empty) or POST.
	Verb string
	// UserAgent is the User-Agent header of requests; empty is Go's.
	UserAgent string
}

// Check returns an error if the connection is invalid. It does not connect.
func (c Connection) Check() error {
	made, err := newLink(c, newMetrics(), time.Now)
	if err == nil {
		made.client.CloseIdleConnections()
	}
	return err
}

const (
	// maxAnswer is the maximum size of an answer in bytes: some ten thousand results.
	maxAnswer = 4 << 20
	// maxList is the maximum size of a list of names, types or targets in bytes.
	maxList = 32 << 20
)

// newLink returns a connection ready for use.
func newLink(c Connection, m *metrics, now func() time.Time) (*link, error) {
	at, err := url.Parse(c.URL)
	if err != nil {
		return nil, errors.New("the engine's URL is malformed") // it may hold a password
	}
	if at.Scheme != "http" && at.Scheme != "https" || at.Host == "" {
		return nil, fmt.Errorf("the engine's URL %s: give one such as http://prometheus.monitoring.svc:9090", at.Redacted())
	}
	if c.Verb == "" {
		c.Verb = http.MethodGet
	}
	if c.Verb != http.MethodGet && c.Verb != http.MethodPost {
		return nil, fmt.Errorf("the verb %s of requests to the engine: give GET or POST", c.Verb)
	}
	client := &http.Client{Transport: c.Transport}
	if c.Transport == nil {
		if client, err = config.NewClientFromConfig(c.HTTP, "engine", config.WithUserAgent(c.UserAgent)); err != nil {
			return nil, fmt.Errorf("make a client for the engine: %w", err)
		}
	}
	client.Transport = &transport{next: client.Transport, metrics: m}
	caller, err := api.NewClient(api.Config{Address: c.URL, Client: client})
	if err != nil {
		return nil, fmt.Errorf("make a client for the engine: %w", err)
	}
	if c.Verb == http.MethodGet {
		caller = getter{caller}
	}
	name := url.URL{Scheme: at.Scheme, Host: at.Host, Path: at.Path}
	return &link{name: name.String(), api: v1.NewAPI(caller), client: client, breaker: &breaker{now: now}}, nil
}

// getter sends requests with GET that client_golang would send with POST.
type getter struct{ api.Client }

// Do implements api.Client.
func (g getter) Do(ctx context.Context, req *http.Request) (*http.Response, []byte, error) {
	if req.Method != http.MethodPost || req.Body == nil {
		return g.Client.Do(ctx, req)
	}
	form, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, nil, err
	}
	get := req.Clone(ctx)
	get.Method, get.Body, get.GetBody, get.ContentLength = http.MethodGet, nil, nil, 0
	get.URL.RawQuery = string(form) // it includes the URL's own parameters
	get.Header.Del("Content-Type")
	return g.Client.Do(ctx, get)
}

// errTransport is wrapped in all errors of the connection.
var errTransport = errors.New("transport")

// listKey marks the context of requests whose answers may be as large as maxList.
type listKey struct{}

// transport counts requests and limits the size of their answers.
type transport struct {
	next    http.RoundTripper
	metrics *metrics
}

// CloseIdleConnections is called by http.Client.
func (t *transport) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	start := time.Now()
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		t.metrics.asked(start, "error")
		return nil, fmt.Errorf("%w: %w", errTransport, err)
	}
	t.metrics.asked(start, strconv.Itoa(resp.StatusCode))
	most := int64(maxAnswer)
	if req.Context().Value(listKey{}) != nil {
		most = maxList
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: most}
	return resp, nil
}

// boundedBody returns errTooLarge after more than left bytes.
type boundedBody struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", errTransport, err)
	}
	return n, err
}
