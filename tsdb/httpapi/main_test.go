package httpapi

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/promlet/promlet/tsdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openDB opens a database in a new directory.
func openDB(t testing.TB, change ...func(*tsdb.Options)) *tsdb.DB {
	t.Helper()
	opts := tsdb.Options{Dir: t.TempDir()}
	for _, c := range change {
		c(&opts)
	}
	db, err := tsdb.Open(opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// load appends series in the notation of promqltest, one a line, with samples every ten seconds from start.
func load(t testing.TB, db *tsdb.DB, start time.Time, script string) {
	t.Helper()
	app := db.AppenderV2(t.Context())
	for line := range strings.Lines(script) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		series, values, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(strings.TrimSpace(line))
		require.NoError(t, err)
		for i, v := range values {
			at := start.Add(time.Duration(i) * 10 * time.Second).UnixMilli()
			_, err := app.Append(0, series, 0, at, v.Value, nil, v.Histogram, storage.AOptions{})
			require.NoError(t, err)
		}
	}
	require.NoError(t, app.Commit())
}

// serve gives the address of a server of the API.
func serve(t testing.TB, opts Options) string {
	t.Helper()
	handler, err := New(opts)
	require.NoError(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// answer is an answer of the API.
type answer struct {
	code      int
	header    http.Header
	Status    string          `json:"status"`
	Data      json.RawMessage `json:"data"`
	ErrorType string          `json:"errorType"`
	Error     string          `json:"error"`
	Warnings  []string        `json:"warnings"`
	Infos     []string        `json:"infos"`
}

func do(t testing.TB, request *http.Request) answer {
	t.Helper()
	response, err := http.DefaultTransport.RoundTrip(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	a := answer{code: response.StatusCode, header: response.Header}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		require.NoError(t, json.Unmarshal(body, &a), "%s", body)
	} else {
		a.Error = string(body)
	}
	return a
}

// get asks for a path below Prefix, with parameters one after the other: name, value.
func get(t testing.TB, server, path string, parameters ...string) answer {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, server+Prefix+path+"?"+form(parameters).Encode(), http.NoBody)
	require.NoError(t, err)
	return do(t, request)
}

func post(t testing.TB, server, path string, parameters ...string) answer {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, server+Prefix+path, strings.NewReader(form(parameters).Encode()))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return do(t, request)
}

func form(parameters []string) url.Values {
	values := url.Values{}
	for i := 0; i+1 < len(parameters); i += 2 {
		values.Add(parameters[i], parameters[i+1])
	}
	return values
}

// shape is the JSON with types in place of values.
func shape(t testing.TB, data json.RawMessage) any {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal(data, &v))
	return shapeOf(v)
}

func shapeOf(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			v[key] = shapeOf(value)
		}
		return v
	case []any:
		return "array"
	default:
		return fmt.Sprintf("%T", v)
	}
}
