package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/tsdb"
)

// serveQueries returns the address of a server of Queries. A header of the request names its caller.
func serveQueries(t *testing.T, opts Options) string {
	t.Helper()
	api, err := New(opts)
	require.NoError(t, err)
	queries := api.Queries(func(r *http.Request) string { return r.Header.Get("Caller") })
	server := httptest.NewServer(queries)
	t.Cleanup(func() {
		server.Close()
		require.Empty(t, queries.(*queriesHandler).callers, "callers without a request under way are removed")
	})
	return server.URL
}

// as requests a path below Prefix as a caller.
func as(t *testing.T, caller, server, path string) answer {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, server+Prefix+path, http.NoBody)
	require.NoError(t, err)
	request.Header.Set("Caller", caller)
	return do(t, request)
}

func TestQueriesShowNoTargetsAndFlags(t *testing.T) {
	server := serveQueries(t, Options{DB: openDB(t)})
	for _, path := range []string{
		"/query?query=1", "/query_range?query=1&start=1&end=2&step=1", "/query_exemplars?query=up&start=1&end=2", "/format_query?query=1", "/parse_query?query=1",
		"/series?match[]=up", "/labels", "/label/job/values", "/label/__name__/values", "/metadata", "/rules", "/alerts", "/status/buildinfo",
	} {
		a := as(t, "", server, path)
		require.Equal(t, http.StatusOK, a.code, "%s: %s", path, a.Error)
	}
	for _, path := range []string{
		"/targets", "/targets/metadata", "/targets/relabel_steps", "/scrape_pools", "/scrape_pools/config", "/alertmanagers", "/features",
		"/status/config", "/status/flags", "/status/runtimeinfo", "/status/tsdb", "/status/tsdb/blocks", "/status/self_metrics", "/status/walreplay",
		"/notifications", "/notifications/live", "/search/metric_names", "/nothing", "/", "", "/label/../targets", "/query/../status/config", "/label/x/values/",
	} {
		a := get(t, server, path)
		require.Equal(t, http.StatusNotFound, a.code, path)
		require.Equal(t, "not_found", a.ErrorType, path)
		require.Contains(t, a.Error, "on the web port", path)
	}
	require.Contains(t, post(t, server, "/write").Error, "samples are scraped, not received")
	require.Contains(t, post(t, server, "/admin/tsdb/snapshot").Error, "on the web port")
	require.Equal(t, http.StatusNotFound, get(t, server, "/label/..%2f..%2fstatus/config").code)
}

// A caller with too many requests does not make others wait.
func TestCallersHaveTurnsOfTheirOwn(t *testing.T) {
	db := openDB(t, func(o *tsdb.Options) { o.MaxConcurrency, o.QueryTimeout = 8, time.Second })
	began, goOn := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	server := serveQueries(t, Options{DB: db, Selected: func(matchers []*labels.Matcher) func(bool) error {
		if matchers[len(matchers)-1].Value == "slow" {
			began <- struct{}{}
			<-goOn
		}
		return nil
	}})
	t.Cleanup(release)                 // before the server's, which waits for the requests
	as(t, "greedy", server, "/labels") // what the first request makes does not count
	var waiting sync.WaitGroup
	codes := make(chan int, maxOfCaller)
	for range maxOfCaller {
		waiting.Go(func() { codes <- as(t, "greedy", server, "/query?query=slow").code })
	}
	<-began
	for range 10 {
		require.Equal(t, http.StatusOK, as(t, "modest", server, "/query?query=up").code)
	}
	// Requests that wait too long get an error.
	for range maxOfCaller - 1 {
		require.Equal(t, http.StatusServiceUnavailable, <-codes)
	}
	release()
	waiting.Wait()
	require.Equal(t, http.StatusOK, as(t, "greedy", server, "/labels").code)
}

func TestCallersAreBounded(t *testing.T) {
	q := &queriesHandler{each: 1, callers: map[string]*querying{}}
	var greedy *querying
	for range maxOfCaller {
		var ok bool
		greedy, ok = q.enter("greedy")
		require.True(t, ok)
	}
	_, refused := q.enter("greedy")
	require.False(t, refused)
	for range maxOfCaller {
		q.leave("greedy", greedy)
	}
	entered := map[string]*querying{}
	for i := range maxOfCallers {
		caller, ok := q.enter(strconv.Itoa(i))
		require.True(t, ok)
		entered[strconv.Itoa(i)] = caller
	}
	_, ok := q.enter("one more")
	require.False(t, ok)
	for name, caller := range entered {
		q.leave(name, caller)
	}
	require.Zero(t, q.total)
	require.Empty(t, q.callers)
}
