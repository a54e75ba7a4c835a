package httpapi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// These are the requests that Grafana's Prometheus data source makes with its defaults: its backend sends all by POST,
// but for those it knows to take GET only, and tries GET after a 405 or 400.
func TestGrafana(t *testing.T) {
	s := newScene(t)
	start, end := strconv.FormatInt(s.now.Add(-5*time.Minute).Unix(), 10), strconv.FormatInt(s.now.Unix(), 10)
	ask := func(method, path, body string) answer {
		t.Helper()
		address := s.server + path
		if method == http.MethodGet && body != "" {
			address += "?" + body
			body = ""
		}
		request, err := http.NewRequest(method, address, strings.NewReader(body))
		require.NoError(t, err)
		request.Header.Set("User-Agent", "Grafana/12.1.0")
		if method == http.MethodPost {
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return do(t, request) // The transport asks for compression.
	}
	ok := func(a answer, want string) {
		t.Helper()
		require.Equal(t, http.StatusOK, a.code, a.Error)
		require.Equal(t, "success", a.Status)
		require.JSONEq(t, want, string(a.Data))
	}

	// Save & test: a query, and what is there. POST is what it tries first.
	ok(ask(http.MethodPost, "/api/v1/query", "query=1%2B1&time=4"), `{"resultType":"scalar","result":[4,"2"]}`)
	require.Equal(t, http.StatusMethodNotAllowed, ask(http.MethodPost, "/api/v1/status/buildinfo", "").code)
	var build struct {
		Version  string            `json:"version"`
		Features map[string]string `json:"features"`
	}
	require.NoError(t, json.Unmarshal(ask(http.MethodGet, "/api/v1/status/buildinfo", "").Data, &build))
	require.Regexp(t, `^\d+\.\d+\.\d+(\+[0-9A-Za-z.-]+)?$`, build.Version, "it is compared as a semantic version")
	require.Empty(t, build.Features, "with features it is taken for Mimir")

	// The editor: names of metrics and their metadata, names and values of labels.
	all := "limit=40000&start=" + start + "&end=" + end
	ok(ask(http.MethodGet, "/api/v1/label/__name__/values", all), `["http_requests_total","queue_depth","up"]`)
	ok(ask(http.MethodGet, "/api/v1/label/__name__/values", all+"&match%5B%5D=%7B__name__%3D~%22.*queue.*%22%7D"), `["queue_depth"]`)
	ok(ask(http.MethodPost, "/api/v1/labels", all), `["__name__","instance","job"]`)
	ok(ask(http.MethodPost, "/api/v1/labels", all+"&match%5B%5D="+url.QueryEscape(`{__name__="up"}`)), `["__name__","instance","job"]`)
	ok(ask(http.MethodGet, "/api/v1/label/instance/values", all+"&match%5B%5D="+url.QueryEscape(`http_requests_total{job="app"}`)), `["a","b"]`)
	ok(ask(http.MethodGet, "/api/v1/metadata", "limit=40000"), `{"http_requests_total":[{"type":"counter","help":"Requests.","unit":""}]}`)
	ok(ask(http.MethodPost, "/api/v1/series", all+"&match%5B%5D="+url.QueryEscape(`up`)), `[{"__name__":"up","instance":"a","job":"app"}]`)
	ok(ask(http.MethodGet, "/api/v1/rules", ""), `{"groups":[]}`)

	// A panel: it aligns its range to the step.
	panel := ask(http.MethodPost, "/api/v1/query_range", "query="+url.QueryEscape(`sum(rate(http_requests_total[1m0s]))`)+"&start="+start+"&end="+end+"&step=15")
	require.Equal(t, http.StatusOK, panel.code, panel.Error)
	require.Contains(t, string(panel.Data), `"resultType":"matrix"`)
	require.Contains(t, string(panel.Data), `"3"`)
	ok(ask(http.MethodPost, "/api/v1/query_exemplars", "query=up&start="+start+".5&end="+end), `[]`)
	ok(ask(http.MethodGet, "/api/v1/parse_query", "query=1"), `{"type":"numberLiteral","val":"1"}`)
}
