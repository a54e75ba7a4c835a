package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/tsdb"
)

func TestOptionsThatAreWrong(t *testing.T) {
	_, err := New(Options{})
	require.EqualError(t, err, "httpapi: Options.DB is nil")
	_, err = New(Options{DB: openDB(t), ListenAddress: "nine"})
	require.ErrorContains(t, err, "httpapi: Options.ListenAddress: address nine: missing port")
}

// Only the database is required.
func TestDefaults(t *testing.T) {
	server := serve(t, Options{DB: openDB(t)})
	for _, path := range []string{"/targets", "/metadata", "/scrape_pools", "/status/config", "/status/flags", "/status/runtimeinfo", "/status/buildinfo", "/status/tsdb", "/status/self_metrics", "/features", "/rules"} {
		a := get(t, server, path)
		require.Equal(t, http.StatusOK, a.code, "%s: %s", path, a.Error)
	}
	require.Contains(t, string(get(t, server, "/features").Data), `"negative_offset":true`)
}

// Without metrics of the program, or with some that are not those of the database, the numbers of the database are right.
func TestStatusOfTheDatabase(t *testing.T) {
	own := prometheus.NewRegistry()
	own.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "own"}))
	for _, gatherer := range []prometheus.Gatherer{nil, own} {
		db := openDB(t)
		server := serve(t, Options{DB: db, Gatherer: gatherer})
		head := func() string {
			var status struct {
				HeadStats struct{ ChunkCount, MinTime, MaxTime int64 }
			}
			require.NoError(t, json.Unmarshal(get(t, server, "/status/tsdb").Data, &status))
			return fmt.Sprint(status.HeadStats)
		}
		require.Equal(t, "{0 0 0}", head())
		app := db.AppenderV2(t.Context())
		at := time.Now().UnixMilli()
		_, err := app.Append(0, labels.FromStrings("__name__", "up"), 0, at, 1, nil, nil, storage.AOptions{})
		require.NoError(t, err)
		require.NoError(t, app.Commit())
		require.Equal(t, fmt.Sprintf("{1 %[1]d %[1]d}", at), head())
		metrics := string(get(t, server, "/status/self_metrics").Data)
		require.Equal(t, gatherer != nil, strings.Contains(metrics, `"own"`), metrics)
		require.Contains(t, metrics, "prometheus_engine_queries")
	}
}

func TestAPIVersionIsThatOfTheModule(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", "github.com/prometheus/prometheus").Output()
	require.NoError(t, err)
	// 3.15.0 is v0.315.0 as a module.
	major, rest, _ := strings.Cut(APIVersion, ".")
	require.Equal(t, strings.TrimSpace(string(out)), "v0."+major+rest)
}

// The selectors of a request are told of, each once, and what there is to say is under infos.
func TestSelected(t *testing.T) {
	var selected []string
	s := newScene(t, func(o *Options) {
		o.Selected = func(matchers []*labels.Matcher) func(bool) error {
			var text []string
			for _, m := range matchers {
				text = append(text, m.String())
			}
			selected = append(selected, strings.Join(text, ","))
			if strings.Contains(text[0], "quiet") {
				return nil
			}
			return func(found bool) error {
				if found {
					return nil
				}
				return errors.New(text[len(text)-1] + " finds nothing")
			}
		}
	})
	f := func(a answer, data, infos string, want ...string) {
		t.Helper()
		require.Equal(t, http.StatusOK, a.code, a.Error)
		require.Contains(t, string(a.Data), data)
		require.Equal(t, infos, strings.Join(a.Infos, "; "))
		require.Empty(t, a.Warnings)
		require.Equal(t, want, selected)
		selected = nil
	}
	now := []string{"time", seconds(s.now)}
	query := func(expr string) answer { return get(t, s.server, "/query", append(now, "query", expr)...) }
	f(query(`up`), `"instance":"a"`, "", `__name__="up"`)
	f(query(`sum(rate(queue_depth{job="x"}[1m])) or up`), `"instance":"a"`, `PromQL info: __name__="queue_depth" finds nothing`,
		`job="x",__name__="queue_depth"`, `__name__="up"`)
	f(query(`quiet`), `"result":[]`, "", `__name__="quiet"`)
	f(query(`1`), `"1"`, "")
	f(post(t, s.server, "/query_range", "query", "x", "start", seconds(s.now), "end", seconds(s.now), "step", "1"), `[]`, `PromQL info: __name__="x" finds nothing`, `__name__="x"`)
	f(get(t, s.server, "/series", "match[]", "x"), `[]`, `PromQL info: __name__="x" finds nothing`, `__name__="x"`)
	f(get(t, s.server, "/series", "match[]", "x", "match[]", "http_requests_total"), `"instance":"b"`, `PromQL info: __name__="x" finds nothing`, `__name__="x"`, `__name__="http_requests_total"`)
	f(get(t, s.server, "/labels", "match[]", "x"), `[]`, `PromQL info: __name__="x" finds nothing`, `__name__="x"`)
	f(get(t, s.server, "/label/job/values", "match[]", "x"), `[]`, `PromQL info: __name__="x" finds nothing`, `__name__="x"`)
	f(get(t, s.server, "/label/job/values", "match[]", "up"), `["app"]`, "", `__name__="up"`)

	// Whoever looks for something reads nothing.
	f(get(t, s.server, "/labels"), `"instance"`, "")
	f(get(t, s.server, "/label/job/values"), `["app"]`, "")
	f(get(t, s.server, "/label/__name__/values", "match[]", `{__name__=~"q.*"}`), `["queue_depth"]`, "")
	f(get(t, s.server, "/label/__name__/values", "match[]", `{job="app"}`), `["http_requests_total","up"]`, "")
	f(get(t, s.server, "/label/__name__/values", "match[]", `{job="x",__name__=~"q.*"}`), `[]`, "")
	f(get(t, s.server, "/parse_query", "query", "up"), `"up"`, "")
}

func TestWhatIsNotServed(t *testing.T) {
	server := serve(t, Options{DB: openDB(t)})
	for path, why := range map[string]string{
		"/read": "remote reading is not served", "/write": "samples are scraped, not received",
		"/otlp/v1/metrics": "samples are scraped", "/openapi.yaml": "see its documentation",
	} {
		a := post(t, server, path)
		require.Equal(t, http.StatusNotFound, a.code, path)
		require.Equal(t, "error", a.Status)
		require.Contains(t, a.Error, why)
	}
	require.Equal(t, http.StatusNoContent, get(t, server, "/notifications/live").code)
}

// No page of another origin may read answers, nor ask beforehand whether it may.
func TestOtherOrigins(t *testing.T) {
	server := serve(t, Options{DB: openDB(t)})
	for _, method := range []string{http.MethodGet, http.MethodOptions} {
		for _, origin := range []string{"https://example.com", "null", ""} {
			request, err := http.NewRequest(method, server+Prefix+"/query?query=1", http.NoBody)
			require.NoError(t, err)
			request.Header.Set("Origin", origin)
			request.Header.Set("Access-Control-Request-Method", http.MethodGet)
			a := do(t, request)
			require.Less(t, a.code, 300)
			require.Empty(t, a.header.Get("Access-Control-Allow-Origin"))
		}
	}
}

func TestBodiesAreBounded(t *testing.T) {
	server := serve(t, Options{DB: openDB(t)})
	a := post(t, server, "/query", "query", `"`+strings.Repeat("x", maxBody)+`"`)
	require.Equal(t, http.StatusRequestEntityTooLarge, a.code)
	require.Contains(t, a.Error, "the body has more than 2097152 bytes")
	long := post(t, server, "/query", "query", `up{pod=~"`+strings.Repeat("pod-abcdef-12345|", 10_000)+`x"}`)
	require.Equal(t, http.StatusOK, long.code, long.Error)
}

// What nests deeper than a stack may grow is refused before it is parsed.
func TestExpressionsAreBounded(t *testing.T) {
	server := serve(t, Options{DB: openDB(t)})
	for _, expr := range []string{
		strings.Repeat("(", 200_000) + "1" + strings.Repeat(")", 200_000), strings.Repeat("-", 500_000) + "up",
		strings.Repeat("1+", 200_000) + "1", strings.Repeat("abs(", 200_000), strings.Repeat("(", 10_000) + "1" + strings.Repeat(")", 10_000),
		strings.Repeat("-", 1000) + "up", `{a="` + strings.Repeat("x", 600_000) + `"}`, strings.Repeat("sum(", 2000) + "up" + strings.Repeat(")", 2000),
	} {
		for _, path := range []string{"/query", "/format_query", "/parse_query", "/query_exemplars"} {
			a := post(t, server, path, "query", expr, "time", "1")
			require.Equal(t, http.StatusBadRequest, a.code, "%s %.20s", path, expr)
			require.Contains(t, a.Error, "the expression ")
		}
	}
}

func TestSelectorsAreBounded(t *testing.T) {
	server := serve(t, Options{DB: openDB(t)})
	matching := func(n int) (parameters []string) {
		for i := range n {
			parameters = append(parameters, "match[]", fmt.Sprintf(`{a="%d"}`, i))
		}
		return parameters
	}
	for _, ask := range []func(testing.TB, string, string, ...string) answer{get, post} {
		for _, path := range []string{"/series", "/labels"} {
			require.Equal(t, http.StatusOK, ask(t, server, path, matching(maxSelectors)...).code)
			a := ask(t, server, path, matching(maxSelectors+1)...)
			require.Equal(t, http.StatusBadRequest, a.code)
			require.Equal(t, "101 selectors in match[], more than 100: ask in parts", a.Error)
		}
	}
	require.Equal(t, http.StatusBadRequest, post(t, server, "/series", matching(50_000)...).code)
}

func TestTurnsAreBounded(t *testing.T) {
	db := openDB(t, func(o *tsdb.Options) { o.MaxConcurrency, o.QueryTimeout = 2, time.Second })
	began, goOn := make(chan struct{}), make(chan struct{})
	server := serve(t, Options{DB: db, Selected: func([]*labels.Matcher) func(bool) error {
		began <- struct{}{}
		<-goOn
		return nil
	}})
	get(t, server, "/rules") // what the first request makes does not count
	first := make(chan answer)
	go func() { first <- get(t, server, "/series", "match[]", "up") }()
	<-began
	a := get(t, server, "/rules")
	require.Equal(t, http.StatusServiceUnavailable, a.code)
	require.Equal(t, "timeout", a.ErrorType)
	require.Contains(t, a.Error, "too many requests at once: 1 are worked on")
	// Others that ask the engine have the rest of its turns.
	_, err := db.Instant(t.Context(), tsdb.Query{Expr: "1", At: time.Now()})
	require.NoError(t, err)
	close(goOn)
	require.Equal(t, http.StatusOK, (<-first).code)
	require.Equal(t, http.StatusOK, get(t, server, "/rules").code)
}

// Who sends the body slowly keeps nobody waiting.
func TestSlowBodiesTakeNoTurn(t *testing.T) {
	db := openDB(t, func(o *tsdb.Options) { o.MaxConcurrency, o.QueryTimeout = 2, time.Second })
	server := serve(t, Options{DB: db})
	get(t, server, "/rules") // what the first request makes does not count
	body, send := io.Pipe()
	t.Cleanup(func() { _ = send.Close() }) // before the server's, which waits for the request
	request, err := http.NewRequest(http.MethodPost, server+Prefix+"/query", body)
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	slow := make(chan answer)
	go func() { slow <- do(t, request) }()
	_, err = io.WriteString(send, "query=") // is taken when the request is on its way
	require.NoError(t, err)
	for range 20 {
		a := get(t, server, "/rules")
		require.Equal(t, http.StatusOK, a.code, a.Error)
		time.Sleep(10 * time.Millisecond)
	}
	_, err = io.WriteString(send, "1")
	require.NoError(t, err)
	require.NoError(t, send.Close())
	require.Equal(t, http.StatusOK, (<-slow).code)
}

// Close ends what is being answered and waits for it.
func TestClosedDatabase(t *testing.T) {
	db, err := tsdb.Open(tsdb.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	began := make(chan struct{})
	server := serve(t, Options{DB: db, Selected: func([]*labels.Matcher) func(bool) error {
		close(began)
		return nil
	}})
	slow := make(chan answer)
	go func() {
		slow <- get(t, server, "/query", "query", `count_over_time((vector(1) or x)[900000s:1s]) + count_over_time(vector(2)[900000s:1s])`, "time", "1e9")
	}()
	<-began
	require.NoError(t, db.Close())
	a := <-slow
	require.Equal(t, http.StatusServiceUnavailable, a.code, a.Error)
	a = get(t, server, "/query", "query", "1")
	require.Equal(t, http.StatusServiceUnavailable, a.code)
	require.Equal(t, tsdb.ErrClosed.Error(), a.Error)
}
