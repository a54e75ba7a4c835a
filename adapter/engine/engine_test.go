package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/config"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/tsdb"
)

const oneResult = `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"pod":"a"},"value":[100,"7.5"]}]}}`

// serving returns a server that answers all requests with f.
func serving(t *testing.T, f http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return server
}

func says(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body) // the client may have gone
	}
}

func newEngine(t *testing.T, url string, change ...func(*Options)) *Engine {
	t.Helper()
	opts := Options{Connection: Connection{URL: url, HTTP: config.DefaultHTTPClientConfig}, Timeout: 2 * time.Second}
	for _, f := range change {
		f(&opts)
	}
	e, err := New(opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

func instant(e *Engine, expr string) (tsdb.Vector, error) {
	return e.Instant(context.Background(), tsdb.Query{Expr: expr, At: time.Unix(100, 0)})
}

func TestResults(t *testing.T) {
	f := func(data, want string) {
		t.Helper()
		e := newEngine(t, serving(t, says(http.StatusOK, `{"status":"success","data":`+data+`}`)).URL)
		vector, err := instant(e, "x")
		if err != nil {
			require.Equal(t, want, err.Error())
			return
		}
		var shown []string
		for _, s := range vector {
			shown = append(shown, fmt.Sprintf("%s %v %d", s.Labels, s.Value, s.Last.Unix()))
		}
		require.Equal(t, want, strings.Join(shown, ", "))
	}
	f(`{"resultType":"vector","result":[{"metric":{"pod":"a","b":"c"},"value":[100,"7.5"]},{"metric":{},"value":[100,"NaN"]}]}`, `{b="c", pod="a"} 7.5 100, {} NaN 100`)
	f(`{"resultType":"vector","result":[]}`, "")
	f(`{"resultType":"vector","result":[null]}`, "evaluate x: "+malformed)
	f(`{"resultType":"vector","result":[{"metric":{"pod":"a"}}]}`, "evaluate x: "+malformed)
	f(`{"resultType":"scalar","result":[100,"+Inf"]}`, "{} +Inf 100")
	f(`{"resultType":"matrix","result":[]}`, "evaluate x: the result is not an instant vector but a matrix")
	f(`{"resultType":"vector","result":[{"metric":{},"histogram":[100,{"count":"1","sum":"2","buckets":[]}]}]}`,
		"evaluate x: {}: the result is a native histogram: take a number from it with histogram_quantile, histogram_avg or histogram_count")
}

// An error fails one answer. It has a short reason, and nothing that the engine sent.
func TestFaults(t *testing.T) {
	const secret = "s3cr3t"
	large := `{"status":"success","data":{"resultType":"vector","result":[` + strings.Repeat(`{"metric":{"a":"`+strings.Repeat("b", 1000)+`"},"value":[1,"1"]},`, 10_000)
	f := func(handler http.HandlerFunc, unavailable bool, want string) {
		t.Helper()
		server := serving(t, handler)
		at, err := url.Parse(server.URL)
		require.NoError(t, err)
		at.User = url.UserPassword("me", secret)
		e := newEngine(t, at.String())
		_, err = instant(e, "x")
		require.EqualError(t, err, "evaluate x: "+server.URL+": "+want)
		of, ok := errors.AsType[*Error](err)
		require.True(t, ok)
		require.Equal(t, unavailable, of.Unavailable)
		require.NotContains(t, of.detail, secret+"@")
	}
	f(says(http.StatusInternalServerError, "<html>"+secret), false, "it answers 500 Internal Server Error")
	f(says(http.StatusBadGateway, "<html>"+secret), true, "it answers 502 Bad Gateway")
	f(says(http.StatusServiceUnavailable, `{"status":"error","errorType":"timeout","error":"query timed out"}`), true, "timeout: query timed out")
	f(says(http.StatusTooManyRequests, secret), true, "it answers 429 Too Many Requests")
	f(says(http.StatusUnauthorized, secret), false, "it answers 401 Unauthorized: check the credentials")
	f(says(http.StatusRequestURITooLong, secret), false, "it answers 414 Request URI Too Long: give --prometheus-verb=POST")
	f(says(http.StatusUnprocessableEntity, `{"status":"error","errorType":"execution","error":"many-to-many matching"}`), false, "execution: many-to-many matching")
	f(says(http.StatusBadRequest, `{"status":"error","errorType":"bad_data","error":"`+strings.Repeat("x", 1000)+`"}`), false, "bad_data: "+strings.Repeat("x", maxReported-len("bad_data: "))+"…")
	f(says(http.StatusOK, "<html>"+secret), false, malformed)
	f(says(http.StatusOK, `{"status":"success","data":{"resultType":"vector","result":[{"met`), false, malformed)
	f(says(http.StatusOK, `{"status":"success","data":{"resultType":"vector","result":"`+secret+`"}}`), false, malformed)
	f(says(http.StatusOK, `{"status":"success","data":{"resultType":"`+secret+`","result":1}}`), false, malformed)
	f(says(http.StatusOK, ""), false, malformed)
	f(says(http.StatusNoContent, ""), false, malformed)
	f(says(http.StatusOK, large), false, "its answer is too large: change the query to return fewer results")
	f(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true, "the connection ended early")
	f(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"status":`) // the connection is cut
	}, true, "the connection ended early")
}

func TestConnectionFaults(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	_, err := instant(newEngine(t, closed.URL), "x")
	require.EqualError(t, err, "evaluate x: "+closed.URL+": connection refused")

	_, err = instant(newEngine(t, "http://name.invalid:9090"), "x")
	require.EqualError(t, err, "evaluate x: http://name.invalid:9090: its host name cannot be resolved")

	secure := httptest.NewTLSServer(says(http.StatusOK, oneResult))
	defer secure.Close()
	_, err = instant(newEngine(t, secure.URL), "x")
	require.EqualError(t, err, "evaluate x: "+secure.URL+": its certificate is not trusted")

	e := newEngine(t, secure.URL, func(o *Options) { o.Connection.Transport = secure.Client().Transport })
	vector, err := instant(e, "x")
	require.NoError(t, err)
	require.Len(t, vector, 1)
}

func TestSlowEngine(t *testing.T) {
	release := make(chan struct{})
	server := serving(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	e := newEngine(t, server.URL, func(o *Options) { o.Timeout = 50 * time.Millisecond })
	for range slowAnswers {
		_, err := instant(e, "x")
		require.EqualError(t, err, "evaluate x: "+server.URL+": no answer within 50ms")
	}
	// After that nobody waits.
	start := time.Now()
	_, err := instant(e, "y")
	require.ErrorContains(t, err, "no answer within 50ms; it has not answered for 0s and is tried again in 1s")
	require.Less(t, time.Since(start), 40*time.Millisecond)
}

// While an engine is down, requests pause. After the pause, which doubles, one request is allowed.
func TestBackoff(t *testing.T) {
	var up atomic.Bool
	var asked atomic.Int64
	server := serving(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if !up.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		says(http.StatusOK, oneResult)(w, r)
	})
	var now atomic.Int64
	e := newEngine(t, server.URL, func(o *Options) { o.Now = func() time.Time { return time.Unix(now.Load(), 0) } })
	for range 10 {
		_, err := instant(e, "x")
		require.ErrorContains(t, err, "it answers 502 Bad Gateway")
	}
	require.EqualValues(t, 1, asked.Load())
	require.Equal(t, []string{"queries: " + server.URL + " does not answer: it answers 502 Bad Gateway (for 0s)"}, e.Problems())
	now.Store(1)
	_, err := instant(e, "x")
	require.Error(t, err)
	require.EqualValues(t, 2, asked.Load())
	now.Store(2)
	_, err = instant(e, "x")
	require.ErrorContains(t, err, "it has not answered for 2s and is tried again in 1s")
	require.EqualValues(t, 2, asked.Load())
	for at := int64(3); at < 100; at++ { // a pause is never longer than the time between two requests of an HPA
		now.Store(at)
		_, _ = instant(e, "x") // it is down
	}
	up.Store(true)
	now.Add(int64(longestPause / time.Second))
	_, err = instant(e, "x")
	require.NoError(t, err)
	require.Empty(t, e.Problems())
	require.Positive(t, testutil.ToFloat64(e.metrics.requests.WithLabelValues("502")))
	require.InDelta(t, 1, testutil.ToFloat64(e.metrics.requests.WithLabelValues("200")), 0)
}

// Requests that fail together are one fault: the pause does not double with each.
func TestFaultsAtOnce(t *testing.T) {
	var asked atomic.Int64
	release := make(chan struct{})
	server := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		<-release
		w.WriteHeader(http.StatusBadGateway)
	})
	e := newEngine(t, server.URL, func(o *Options) { o.Now = func() time.Time { return time.Unix(100, 0) } })
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() { _, _ = instant(e, fmt.Sprint(i)) }) // they fail
	}
	require.Eventually(t, func() bool { return asked.Load() == 5 }, 5*time.Second, time.Millisecond)
	close(release)
	wg.Wait()
	_, err := instant(e, "x")
	require.ErrorContains(t, err, "tried again in 1s")
}

// A failed query does not stop the others.
func TestFaultsOfOneQuery(t *testing.T) {
	server := serving(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.FormValue("query") {
		case "bad":
			says(http.StatusInternalServerError, "")(w, r)
		case "expensive":
			says(http.StatusGatewayTimeout, "")(w, r)
		default:
			says(http.StatusOK, oneResult)(w, r)
		}
	})
	e := newEngine(t, server.URL)
	for range 5 {
		_, err := instant(e, "bad")
		require.Error(t, err)
		_, err = instant(e, "expensive")
		require.ErrorContains(t, err, "it answers 504 Gateway Timeout")
		_, err = instant(e, "good")
		require.NoError(t, err)
	}
	require.Empty(t, e.Problems())
}

// Equal queries at the same time are one request. A caller that gives up does not fail the others.
func TestEqualQuestionsAreAskedOnce(t *testing.T) {
	var asked atomic.Int64
	release := make(chan struct{})
	server := serving(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-release
		says(http.StatusOK, oneResult)(w, r)
	})
	e := newEngine(t, server.URL, func(o *Options) { o.Timeout = 10 * time.Second })
	impatient, giveUp := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := e.Instant(impatient, tsdb.Query{Expr: "x"})
		first <- err
	}()
	require.Eventually(t, func() bool { return asked.Load() == 1 }, 5*time.Second, time.Millisecond)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			vector, err := instant(e, "x")
			if err != nil || len(vector) != 1 {
				t.Errorf("%v %v", vector, err)
			}
		})
	}
	require.Eventually(t, func() bool {
		e.flights.mu.Lock()
		defer e.flights.mu.Unlock()
		return e.flights.byKey[flightKey{e.Name(), "x"}].waiting == 21
	}, 5*time.Second, time.Millisecond)
	giveUp()
	require.ErrorContains(t, <-first, "the request was cancelled")
	close(release)
	wg.Wait()
	require.EqualValues(t, 1, asked.Load())
}

// A query that nobody waits for any more is not sent. Otherwise callers that give up would keep all others waiting.
func TestAbandonedQuestions(t *testing.T) {
	var asked atomic.Int64
	release := make(chan struct{})
	server := serving(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		select {
		case <-release:
		case <-r.Context().Done():
		}
		says(http.StatusOK, oneResult)(w, r)
	})
	e := newEngine(t, server.URL, func(o *Options) { o.Timeout, o.MaxConcurrency = 10*time.Second, 1 })
	for i := range 20 {
		ctx, giveUp := context.WithTimeout(t.Context(), 10*time.Millisecond)
		_, err := e.Instant(ctx, tsdb.Query{Expr: fmt.Sprint(i)})
		giveUp()
		require.Error(t, err)
	}
	close(release)
	_, err := instant(e, "x")
	require.NoError(t, err)
	require.Empty(t, e.flights.byKey)
	require.Empty(t, e.Problems(), "it says nothing of the engine")
}

// Close cancels the queries under way, and makes room for another Engine on the registry.
func TestClose(t *testing.T) {
	registry := prometheus.NewRegistry()
	registered := func(o *Options) { o.Registerer = registry }
	begun, release := make(chan struct{}), make(chan struct{})
	server := serving(t, func(http.ResponseWriter, *http.Request) { close(begun); <-release })
	defer close(release)
	e := newEngine(t, server.URL, registered)
	failed := make(chan error)
	go func() {
		_, err := instant(e, "x")
		failed <- err
	}()
	<-begun
	require.NoError(t, e.Close())
	require.Error(t, <-failed)
	require.NoError(t, e.Close())
	_, err := instant(e, "x")
	require.ErrorIs(t, err, errClosed)
	families, err := registry.Gather()
	require.NoError(t, err)
	require.Empty(t, families)
	newEngine(t, server.URL, registered)
}

func TestRequests(t *testing.T) {
	var got atomic.Pointer[http.Request]
	server := serving(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm() // the test looks at the form
		got.Store(r)
		says(http.StatusOK, `{"status":"success","warnings":["partial","2"],"data":{"resultType":"vector","result":[]}}`)(w, r)
	})
	c := Connection{URL: server.URL + "/prometheus/", UserAgent: "promlet/test", HTTP: config.DefaultHTTPClientConfig}
	c.HTTP.Authorization = &config.Authorization{Type: "Bearer", Credentials: "token"}
	c.HTTP.HTTPHeaders = &config.Headers{Headers: map[string]config.Header{"X-Scope-OrgID": {Values: []string{"tenant"}}}}
	e := newEngine(t, server.URL, func(o *Options) { o.Connection = c })
	require.Equal(t, server.URL+"/prometheus/", e.Name())
	var warnings []string
	_, err := e.Instant(t.Context(), tsdb.Query{Expr: `up{a="b"}`, At: time.Unix(100, 0), Warned: func(w string) { warnings = append(warnings, w) }})
	require.NoError(t, err)
	require.Equal(t, []string{"partial", "2"}, warnings)
	r := got.Load()
	require.Equal(t, "GET /prometheus/api/v1/query", r.Method+" "+r.URL.Path)
	require.Equal(t, `up{a="b"} 100`, r.Form.Get("query")+" "+r.Form.Get("time"))
	require.Equal(t, []string{"Bearer token", "tenant", "promlet/test"}, []string{r.Header.Get("Authorization"), r.Header.Get("X-Scope-OrgID"), r.UserAgent()})

	c.Verb = http.MethodPost
	require.NoError(t, e.Connect(c))
	_, err = instant(e, "up")
	require.NoError(t, err)
	require.Equal(t, "POST", got.Load().Method)
	require.Equal(t, "up", got.Load().Form.Get("query"))
}

func TestConnectRefuses(t *testing.T) {
	f := func(c Connection, want string) {
		t.Helper()
		_, err := New(Options{Connection: c})
		require.EqualError(t, err, want)
	}
	f(Connection{URL: "prometheus:9090"}, "the engine's URL prometheus:9090: give one such as http://prometheus.monitoring.svc:9090")
	f(Connection{URL: "http://me:secret@a b"}, "the engine's URL is malformed")
	f(Connection{URL: "ftp://me:secret@a"}, "the engine's URL ftp://me:xxxxx@a: give one such as http://prometheus.monitoring.svc:9090")
	f(Connection{URL: "http://a", Verb: "PUT"}, "the verb PUT of requests to the engine: give GET or POST")
}
