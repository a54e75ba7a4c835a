package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/tsdb"
)

// maxDifferent is how many differences are shown.
const maxDifferent = 20

// sides are promlet's API and a Prometheus on the same samples.
type sides struct {
	promlet, prometheus string
	different           int
}

// same asks both sides the same and compares their answers.
func (s *sides) same(t *testing.T, ask func(testing.TB, string, string, ...string) answer, path string, parameters ...string) (ours answer) {
	t.Helper()
	ours, theirs := ask(t, s.promlet, path, parameters...), ask(t, s.prometheus, path, parameters...)
	ordered := strings.Contains(strings.Join(parameters, " "), "sort") || strings.Contains(strings.Join(parameters, " "), "topk")
	if got, want := canonical(t, ours, ordered), canonical(t, theirs, ordered); got != want {
		if s.different++; s.different > maxDifferent {
			t.FailNow()
		}
		t.Errorf("%s %q\npromlet:    %s\nprometheus: %s", path, parameters, clip(got), clip(want))
	}
	return ours
}

// canonical is the same for answers that are. Annotations have no order, and vectors none that is not asked for.
func canonical(t *testing.T, a answer, ordered bool) string {
	slices.Sort(a.Warnings)
	slices.Sort(a.Infos)
	data := string(a.Data)
	if !ordered && strings.HasPrefix(data, `{"resultType":"vector"`) {
		var vector struct {
			Result []json.RawMessage `json:"result"`
		}
		require.NoError(t, json.Unmarshal(a.Data, &vector))
		slices.SortFunc(vector.Result, func(a, b json.RawMessage) int { return bytes.Compare(a, b) })
		data = fmt.Sprintf("vector %s", vector.Result)
	}
	return fmt.Sprintf("%d %s %s %s warnings %q infos %q data %s", a.code, a.Status, a.ErrorType, a.Error, a.Warnings, a.Infos, data)
}

func clip(s string) string { return s[:min(len(s), 2000)] }

// Prometheus answers every query of its own tests, and every other request, as promlet does.
func TestAnswersAsPrometheus(t *testing.T) {
	prometheus, _ := binaries(t)
	theirs, ours := t.TempDir(), t.TempDir()
	queries := recordScripts(t, theirs)
	require.Greater(t, len(queries), 5000, "Prometheus has some three thousand, and asks most in several ways")
	require.NoError(t, os.CopyFS(ours, os.DirFS(theirs)))
	db := openDB(t, func(o *tsdb.Options) { o.Dir, o.Retention = ours, 100*365*24*time.Hour })
	s := &sides{promlet: serve(t, Options{DB: db}), prometheus: prometheusOn(t, prometheus, theirs)}

	t.Run("queries", func(t *testing.T) { s.compareQueries(t, queries) })
	t.Run("series and labels", func(t *testing.T) { s.compareSeries(t, queries) })
	t.Run("statistics", func(t *testing.T) { s.compareStatistics(t, queries) })
	t.Run("bad requests", func(t *testing.T) { s.compareErrors(t) })
	t.Run("expressions", func(t *testing.T) { s.compareExpressions(t) })
	t.Run("what there is nothing of", func(t *testing.T) { s.compareNothing(t) })
}

func (s *sides) compareQueries(t *testing.T, queries []query) {
	values, errors, notes := 0, 0, 0
	for i, q := range queries {
		ask := get
		if i%2 == 1 {
			ask = post
		}
		path, parameters := q.request()
		a := s.same(t, ask, path, parameters...)
		switch {
		case a.code != http.StatusOK:
			errors++
		case !strings.Contains(string(a.Data), `"result":[]`):
			values++
		}
		notes += len(a.Warnings) + len(a.Infos)
	}
	t.Logf("%d queries: %d with values, %d refused, %d annotations", len(queries), values, errors, notes)
	require.Greater(t, values, len(queries)/3)
	require.Positive(t, errors)
	require.Positive(t, notes)
}

func (q query) request() (path string, parameters []string) {
	if q.step == 0 {
		return "/query", []string{"query", q.expr, "time", seconds(q.start)}
	}
	return "/query_range", []string{"query", q.expr, "start", seconds(q.start), "end", seconds(q.end), "step", strconv.FormatFloat(q.step.Seconds(), 'f', -1, 64)}
}

func seconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}

// compareSeries asks for what the first selectors of some queries select.
func (s *sides) compareSeries(t *testing.T, queries []query) {
	latest := seconds(slices.MaxFunc(queries, func(a, b query) int { return a.start.Compare(b.start) }).start)
	selectors := []string{`http_requests_total`, `{job="api-server"}`, `{__name__=~".+"}`, `{__name__=~"http.*",instance!="0"}`, `no_such_metric`, `{le="0.1"}`, `{"my.dotted.name"}`}
	for _, path := range []string{"/series", "/labels", "/label/job/values", "/label/__name__/values", "/label/U__my_2e_dotted_2e_label/values", "/label/no_such_label/values"} {
		asks := []func(testing.TB, string, string, ...string) answer{get, post}
		if strings.HasPrefix(path, "/label/") {
			asks = asks[:1]
		}
		for _, ask := range asks {
			s.same(t, ask, path)
			for _, selector := range selectors {
				for _, more := range [][]string{nil, {"limit", "3"}, {"start", "3700000", "end", "4000000.5"}, {"end", latest}, {"match[]", "up"}, {"match[]", `{job=~"a.*"}`}} {
					s.same(t, ask, path, append([]string{"match[]", selector}, more...)...)
				}
			}
			s.same(t, ask, path, "match[]", "up", "start", "2024-02-30T00:00:00Z")
			s.same(t, ask, path, "match[]", "up", "end", "x")
			s.same(t, ask, path, "match[]", "up", "limit", "-1")
			s.same(t, ask, path, "match[]", "{")
			s.same(t, ask, path, "match[]", `{job=~".*"}`)
		}
	}
	require.NotEqual(t, "[]", string(s.same(t, get, "/series", "match[]", "http_requests").Data))
	s.same(t, get, "/label/no%20label\xff/values")
	s.same(t, post, "/label/job/values")
}

// compareStatistics compares what Statistics tell that does not depend on time.
func (s *sides) compareStatistics(t *testing.T, queries []query) {
	for i, q := range queries {
		if i%50 != 0 {
			continue
		}
		path, parameters := q.request()
		for _, stats := range []string{"true", "all", "yes"} {
			asked := slices.Concat(parameters, []string{"stats", stats})
			ours, theirs := get(t, s.promlet, path, asked...), get(t, s.prometheus, path, asked...)
			require.Equal(t, theirs.code, ours.code)
			if theirs.code != http.StatusOK {
				continue
			}
			slices.Sort(theirs.Warnings)
			slices.Sort(ours.Warnings)
			require.Equal(t, theirs.Warnings, ours.Warnings)
			require.Equal(t, shape(t, theirs.Data), shape(t, ours.Data), "%s %q", path, asked)
		}
	}
}

func (s *sides) compareErrors(t *testing.T) {
	for _, ask := range []func(testing.TB, string, string, ...string) answer{get, post} {
		for _, path := range []string{"/query", "/query_range", "/query_exemplars"} {
			good := []string{"query", "up", "time", "1", "start", "0", "end", "100", "step", "10"}
			for i := 0; i < len(good); i += 2 {
				for _, bad := range []string{"", "x", "-1", "0", "NaN", "Inf", "1e30", "up[", "{}", `{job=~".*"}`, "1d", "2001-01-01T00:00:00Z", "\xff"} {
					if bad == "" && good[i] == "time" && path == "/query" {
						continue // is now
					}
					changed := slices.Clone(good)
					changed[i+1] = bad
					s.same(t, ask, path, changed...)
				}
				s.same(t, ask, path, slices.Delete(slices.Clone(good), i, i+2)[:6]...)
			}
			for _, more := range [][]string{
				{"limit", "0"}, {"limit", "1"}, {"limit", "x"}, {"timeout", "x"}, {"timeout", "1h"}, {"timeout", ""},
				{"lookback_delta", "1s"}, {"lookback_delta", "x"},
			} {
				s.same(t, ask, path, append(slices.Clone(good), more...)...)
			}
		}
		s.same(t, ask, "/query_range", "query", "up", "start", "0", "end", "11001", "step", "1")
		s.same(t, ask, "/query_range", "query", "up", "start", "1", "end", "0", "step", "1")
		s.same(t, ask, "/query_range", "query", "vector(1)", "start", "0", "end", "1000000", "step", "1000", "limit", "0")
		// More samples than one query may hold.
		// Ours says why, too.
		heavy := []string{"query", "count_over_time(vector(1)[20d:1s])", "start", "3600000", "end", "3600010", "step", "1"}
		ours, theirs := ask(t, s.promlet, "/query_range", heavy...), ask(t, s.prometheus, "/query_range", heavy...)
		require.Equal(t, []any{theirs.code, theirs.ErrorType}, []any{ours.code, ours.ErrorType})
		require.Equal(t, theirs.Error+": the subquery [20d:1s] takes 1728011 steps, more than 1000000: make its step longer or its range shorter", ours.Error)
	}
	for _, path := range []string{"/", "/nonsense", "/query/x", "/label", "/admin/tsdb/snapshot", "/search/metric_names"} {
		s.same(t, get, path)
		s.same(t, post, path)
	}
}

func (s *sides) compareExpressions(t *testing.T) {
	for _, expr := range []string{
		"", "1", "up", "sum by(job) (rate(http_requests_total{job=~\"a|b\",x!=\"y\"}[5m] offset 1h)) / on(job) group_left(z) max_over_time(x[1h:5m] @ end())",
		"sum(", "rate(x)", "{\"a.b\", c=\"d\"}", "\"text\"", "limitk(1, up)", "mad_over_time(x[1m])", "rate(x[5m + 1m])", "x[1m] anchored", "a + fill(0) b",
		strings.Repeat("(", 20) + "1" + strings.Repeat(")", 20), strings.Repeat("1 + ", 100) + "1", "-" + strings.Repeat("-", 100) + "1",
	} {
		for _, ask := range []func(testing.TB, string, string, ...string) answer{get, post} {
			s.same(t, ask, "/format_query", "query", expr)
			s.same(t, ask, "/parse_query", "query", expr)
		}
	}
}

// compareNothing asks for what neither side has any of.
func (s *sides) compareNothing(t *testing.T) {
	for _, path := range []string{"/rules", "/alerts", "/alertmanagers", "/metadata", "/targets/metadata", "/scrape_pools", "/scrape_pools/config", "/targets", "/targets/relabel_steps", "/notifications"} {
		s.same(t, get, path)
	}
	s.same(t, get, "/rules", "type", "x")
	s.same(t, get, "/rules", "type", "alert", "match[]", "{")
	s.same(t, get, "/metadata", "limit", "x")
	s.same(t, get, "/metadata", "limit_per_metric", "1")
	s.same(t, get, "/targets/metadata", "match_target", "{")
	s.same(t, get, "/scrape_pools/config", "scrapePool", "")
	s.same(t, get, "/status/tsdb", "limit", "0")
	s.same(t, get, "/status/tsdb", "limit", strconv.Itoa(math.MaxInt32))
	s.same(t, get, "/query_exemplars", "query", "up", "start", "0", "end", "1")
	s.same(t, get, "/status/tsdb/blocks")
	for _, path := range []string{"/status/runtimeinfo", "/status/buildinfo", "/status/tsdb", "/status/walreplay", "/status/config"} {
		ours, theirs := get(t, s.promlet, path), get(t, s.prometheus, path)
		require.Equal(t, http.StatusOK, ours.code, path)
		require.Equal(t, shape(t, theirs.Data), shape(t, ours.Data), path)
	}
}
