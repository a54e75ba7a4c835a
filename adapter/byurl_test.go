package adapter

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/promlet/promlet/adapter/engine"
	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/bench/upstream"
)

// testEngine is an engine that tests write series to, and ask.
type testEngine struct {
	url, write string // the second takes remote writes
	flush      string // makes what was written visible; empty where it is at once
	stop       func()
	next       time.Time // the start of the next case's series
}

// caseGap is the time between the series of two cases: they share one engine, and no query looks back that far.
const caseGap = 40 * time.Minute

// startPrometheus starts a real Prometheus without samples.
func startPrometheus(t *testing.T) *testEngine {
	t.Helper()
	built, err := upstream.Build(t.Context(), "../bench/prometheus")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "prometheus.yml")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	url, stop, err := upstream.Start(t.Context(), built.Prometheus, file, t.TempDir(), "--web.enable-remote-write-receiver")
	require.NoError(t, err)
	stop = sync.OnceFunc(stop)
	t.Cleanup(stop)
	return &testEngine{url: url, write: url + "/api/v1/write", stop: stop, next: time.Now().Truncate(time.Minute).Add(-100 * caseGap)}
}

// startVictoriaMetrics starts a real VictoriaMetrics without samples. By default it does not answer with those of the
// last half minute.
func startVictoriaMetrics(t *testing.T) *testEngine {
	t.Helper()
	binary, err := upstream.BuildVictoriaMetrics(t.Context(), "../bench/victoriametrics")
	require.NoError(t, err)
	url, stop, err := upstream.StartVictoriaMetrics(t.Context(), binary, t.TempDir(), "-search.latencyOffset=0s", "-search.disableCache")
	require.NoError(t, err)
	stop = sync.OnceFunc(stop)
	t.Cleanup(stop)
	return &testEngine{url: url, write: url + "/api/v1/write", flush: url + "/internal/force_flush", stop: stop, next: time.Now().Truncate(time.Minute).Add(-100 * caseGap)}
}

// The rule files give the same answers if a real engine has the series.
func TestRuleFilesByURL(t *testing.T) {
	for name, start := range map[string]func(*testing.T) *testEngine{"Prometheus": startPrometheus, "VictoriaMetrics": startVictoriaMetrics} {
		t.Run(name, func(t *testing.T) { ruleFiles{t: t, engine: start(t)}.all() })
	}
}

// newFixtureByURL returns a fixture whose series are in an engine. Its time is later than that of the fixture before.
func newFixtureByURL(t *testing.T, e *testEngine, opts Options) *fixture {
	t.Helper()
	f := newObjects(t)
	f.start, f.now, f.remote = e.next, e.next, e
	e.next = e.next.Add(caseGap)
	var err error
	opts.Engine, err = engine.New(engine.Options{
		Connection: engine.Connection{URL: e.url, HTTP: config.DefaultHTTPClientConfig}, Now: func() time.Time { return f.now },
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, opts.Engine.Close()) })
	f.provide(opts)
	return f
}

// send writes series in promqltest's notation to the engine, as load appends them, and lists the series.
func (f *fixture) send(descriptions ...string) {
	f.t.Helper()
	p := parser.NewParser(parser.Options{})
	var request prompb.WriteRequest
	for _, description := range descriptions {
		series, values, err := p.ParseSeriesDesc(description)
		require.NoError(f.t, err, description)
		sent := prompb.TimeSeries{Labels: prompb.FromLabels(series, nil)}
		at := f.start
		for _, v := range values {
			if !v.Omitted {
				sent.Samples = append(sent.Samples, prompb.Sample{Timestamp: at.UnixMilli(), Value: v.Value})
			}
			if at.After(f.now) {
				f.now = at
			}
			at = at.Add(step)
		}
		request.Timeseries = append(request.Timeseries, sent)
	}
	data, err := request.Marshal()
	require.NoError(f.t, err)
	post, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.remote.write, bytes.NewReader(snappy.Encode(nil, data)))
	require.NoError(f.t, err)
	post.Header.Set("Content-Encoding", "snappy")
	post.Header.Set("Content-Type", "application/x-protobuf")
	post.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	answer, err := http.DefaultClient.Do(post)
	require.NoError(f.t, err)
	require.NoError(f.t, answer.Body.Close())
	require.Equal(f.t, http.StatusNoContent, answer.StatusCode)
	if f.remote.flush != "" {
		answer, err := http.Post(f.remote.flush, "", http.NoBody)
		require.NoError(f.t, err)
		require.NoError(f.t, answer.Body.Close())
	}
	require.NoError(f.t, f.engine.Relist(f.t.Context()))
}

// nameLabel is the series name among a result's labels: VictoriaMetrics keeps it in results of max_over_time and others.
var nameLabel = regexp.MustCompile(`__name__="[^"]*", `)

// requireSameValues compares answers: the same objects, with the same windows, and values that differ by a milli-unit at
// most.
func requireSameValues(t testing.TB, want, got, question string) {
	t.Helper()
	names := func(answer string) (names []string, values []resource.Quantity) {
		for _, item := range strings.Fields(nameLabel.ReplaceAllString(answer, "")) {
			at := strings.LastIndex(item, "=")
			value, window, ok := strings.Cut(item[at+1:], "@")
			quantity, err := resource.ParseQuantity(value)
			if at < 0 || !ok || err != nil {
				names = append(names, item)
				continue
			}
			names, values = append(names, item[:at]+"@"+window), append(values, quantity)
		}
		return names, values
	}
	wantNames, wantValues := names(want)
	gotNames, gotValues := names(got)
	require.Equal(t, wantNames, gotNames, "%s: %s", question, got)
	for i := range wantValues {
		require.InDelta(t, wantValues[i].AsApproximateFloat64(), gotValues[i].AsApproximateFloat64(), 0.001, "%s: %s, not %s", question, got, want)
	}
}

// If the engine has no value, the answer names the step that failed.
func TestExplainByURL(t *testing.T) {
	e := startPrometheus(t)
	rate := aRule("http_requests_total", func(r *rules.Rule) {
		r.Name.As = "rate"
		r.MetricsQuery = `sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)`
	})
	bad := aRule("http_requests_total", func(r *rules.Rule) {
		r.Name.As = "bad"
		r.MetricsQuery = `sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>) / on () group_right () <<.Series>> * on () <<.Series>>`
	})
	f := newFixtureByURL(t, e, Options{Rules: rules.Set{Custom: []rules.Rule{rate, bad}}})
	f.namespaces("default", "empty")
	f.pod("web-1", "web")
	f.pod("web-2", "web")
	f.pod("web-3", "web")
	require.Equal(t, "404: the server could not find the metric rate for pods web-1: no value yet: the series of "+e.url+" have not been listed yet", f.ask("default/pods/web-1/rate"))
	f.load(
		`http_requests_total{namespace="default",pod="web-1",code="200"} 0+150x16`,
		`http_requests_total{namespace="default",pod="web-2",code="200"} `+strings.Repeat("_ ", 16)+`7`,
	)
	reason := func(path, want string) {
		t.Helper()
		require.Contains(t, f.ask(path), want, path)
	}
	require.Equal(t, "web-1=10@120s", f.ask("default/pods/*/rate"))
	reason("default/pods/web-1/rat", "404: the server could not find the metric rat for pods web-1: no rule makes a metric called rat of the series of "+e.url+" (closest metric: rate)")
	reason("default/pods/web-2/rate", "the query of rules[0] returns nothing for it: a rate needs two samples within its range (at most 2m)")
	whole, err := f.Explainer.Explain(t.Context(), explain.Question{Metric: "rate", Namespace: "default", Name: "web-2", Object: podResource})
	require.NoError(t, err)
	require.Contains(t, whole.Reason, "the query of rules[0] needs two samples of http_requests_total within 2m", "who asks for an explanation gets the engine asked for more")
	reason("default/pods/web-3/rate", e.url+" has 2 series of http_requests_total in namespace default, but none names its pods in its label pod")
	reason("default/pods/web-1/rate??code=500", "its series of http_requests_total does not match the metric selector")
	reason("/namespaces/empty/rate", e.url+" has no current series of http_requests_total in namespace empty that rules[0] selects")
	reason("default/pods/web-1/bad", "500: Internal error occurred: metric bad for pods web-1: evaluate sum(http_requests_total{namespace=\"default\",pod=\"web-1\"}) by (pod) / on () group_right ()")
	reason("default/pods/web-1/bad", e.url+": execution: ")
	reason("default/pods/gone/rate", "there is no pod gone in namespace default")

	told, err := f.Explainer.Explain(t.Context(), explain.Question{Metric: "rate", Namespace: "default", Name: "web-1", Object: podResource})
	require.NoError(t, err)
	var steps []string
	for _, s := range told.Steps {
		steps = append(steps, string(s.Link)+" "+string(s.State)+" "+s.Text)
	}
	require.Equal(t, []string{
		"object ok pod web-1 exists",
		"rule ok made by rules[0] of http_requests_total",
		`query ok sum(rate(http_requests_total{namespace="default",pod="web-1"}[2m])) by (pod) returns 1 result from ` + e.url,
		"value ok 10, over 2m, evaluated 0s ago by " + e.url,
	}, steps)

	e.stop()
	reason("default/pods/web-1/rate", `503: metric rate for pods web-1: evaluate sum(rate(http_requests_total{namespace="default",pod="web-1"}[2m])) by (pod): `+e.url+": connection refused")
	require.NotEmpty(t, f.ListAllMetrics(), "the last list stays")
}
