package process

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheck(t *testing.T) {
	f := func(name string, value, series float64) error {
		return (&result{name: name, value: value, series: series}).check()
	}
	const all = targets * families * familySeries
	require.NoError(t, f(promletOnDemand, trueRate(), 2200))
	require.NoError(t, f(promletAll, 1.01*trueRate(), all))
	require.NoError(t, f(prometheusName, 0.99*trueRate(), all))
	require.ErrorContains(t, f(promletOnDemand, 0.97*trueRate(), 2200), "it answers")
	require.EqualError(t, f(promletOnDemand, trueRate(), all), "it stores 200000 of 200000 series")
	require.EqualError(t, f(prometheusName, trueRate(), all-1), "it stores 199999 of 200000 series")
	require.EqualError(t, f(prometheusName, trueRate(), 0), "it stores 0 of 200000 series")
}

func TestParse(t *testing.T) {
	f := func(parse func([]byte) (float64, error), text string, want float64, message string) {
		t.Helper()
		v, err := parse([]byte(text))
		if message != "" {
			require.EqualError(t, err, message)
			return
		}
		require.NoError(t, err)
		require.InDelta(t, want, v, 1e-9)
	}
	f(parsePromlet, `{"items":[{"value":"10500m"}]}`, 10.5, "")
	f(parsePromlet, `{}`, 0, "0 values")
	f(parsePrometheus, `{"data":{"result":[{"value":[1,"10.5"]}]}}`, 10.5, "")
	f(parsePrometheus, `{}`, 0, "0 values")
	f(parseSeries, "# x\nprometheus_tsdb_head_series 42\n", 42, "")
	f(parseSeries, "", 0, "the metrics have no number of series")
}

// A program is started with its files and ports, asked, and watched.
func TestStartAndWatch(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\nprintf '%s\\n' \"$@\"\nexec sleep 60\n"), 0o700))
	for _, s := range subjects(script, script) {
		expanded := strings.Join(s.args, " ") + s.ready + s.value + s.metrics
		require.Equal(t, s.name == promletOnDemand, strings.Contains(expanded, "--ingest=demand"))
		require.Equal(t, s.name == promletAll, strings.Contains(expanded, "--ingest=all"))
		dir := t.TempDir()
		p, err := s.start(t.Context(), dir, []string{"127.0.0.1:1001"})
		require.NoError(t, err)
		defer p.Stop(stopGrace)
		text, err := os.ReadFile(filepath.Join(dir, "config", s.file))
		require.NoError(t, err)
		require.Contains(t, string(text), "1001")
		took, err := p.waitFor(t.Context(), func(context.Context) error {
			log, err := os.ReadFile(filepath.Join(dir, "log"))
			if err == nil && strings.Count(string(log), "\n") < len(s.args) {
				return errors.New("not yet")
			}
			require.Contains(t, string(log), dir)
			require.NotContains(t, string(log), "$")
			return err
		})
		require.NoError(t, err)
		require.Positive(t, took)
		require.NotContains(t, p.expand(s.ready+s.value+s.metrics), "$")
		if s.name != prometheusName {
			continue
		}
		var use steady
		require.NoError(t, watch(t.Context(), []*program{p}, 2*time.Second, func(int) *steady { return &use }))
		require.Greater(t, use.resident, 1e5)
		require.Less(t, use.resident, 1e8)
		require.Positive(t, use.anonymous)
		require.LessOrEqual(t, use.anonymous, use.resident)
		require.GreaterOrEqual(t, use.highest, use.resident)
		require.Less(t, use.cpu, 0.5)
		p.Stop(stopGrace)
		require.Error(t, watch(t.Context(), []*program{p}, time.Second, func(int) *steady { return &use }))
	}
}

func TestNumber(t *testing.T) {
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.Error(w, "not this", http.StatusNotFound)
		}
	}))
	defer api.Close()
	p := &program{client: api.Client(), expand: func(path string) string { return api.URL + path }}
	_, err := p.number(t.Context(), "/metrics", parseSeries)
	require.EqualError(t, err, "read the answer at /metrics: the metrics have no number of series")
	_, err = p.number(t.Context(), "/readyz", parseSeries)
	require.ErrorContains(t, err, "/readyz: 404 Not Found: not this")
}

func TestReport(t *testing.T) {
	f := func(growth, cpu float64) string {
		of := func(name string, growth, cpu float64) *result {
			r := &result{name: name, ready: time.Second, first: 2 * time.Second, value: 11000, series: 1000}
			r.idle.resident, r.load.resident, r.load.cpu = 50<<20, (50+growth)*(1<<20), cpu
			return r
		}
		var out strings.Builder
		require.NoError(t, report(&out, []*result{of(promletOnDemand, growth, cpu), of(promletAll, 300, 0.05), of(prometheusName, 400, 0.1)}))
		return out.String()
	}
	text := f(40, 0.01)
	require.Regexp(t, `growth over idle: resident memory +MiB +40\.0 +300 +400 +0\.100 +0\.75 +<= 0\.10`, text)
	require.Regexp(t, `load: CPU +% of one +1\.00 +5\.00 +10\.0 +0\.100 +0\.50 +<= 0\.10`, text)
	require.True(t, strings.HasSuffix(text, "a tenth of its CPU: it holds.\n"))
	require.True(t, strings.HasSuffix(f(44, 0.02),
		": missed: growth over idle: resident memory: 0.110; load: CPU: 0.200.\n"))
}

func TestShipping(t *testing.T) {
	all, err := shippingSubjects(t.TempDir(), "http://engine", "promlet", "prometheus")
	require.NoError(t, err)
	for _, s := range all {
		text, err := s.config([]string{"127.0.0.1:1001"})
		require.NoError(t, err)
		require.Equal(t, s.name == prometheusName, strings.Contains(text, "remote_write: [{name: engine, url: \"http://engine\"}]"))
		require.Equal(t, s.name != prometheusName, strings.Contains(strings.Join(s.args, " "), "--config="))
	}
	v, err := parseCounter([]byte("# x\na{b=\"c d\"} 42\n"), "a")
	require.NoError(t, err)
	require.InDelta(t, 42, v, 0)
	_, err = parseCounter([]byte("a 42\n"), "a")
	require.EqualError(t, err, "there is no a")
	var out strings.Builder
	require.NoError(t, reportShipping(&out, []shipped{{promletOnDemand, 500, 100, 1}, {promletAll, 20000, 10000, 5}, {prometheusName, 20000, 10000, 5}}))
	require.Regexp(t, `shipped +samples/s +100 +10,?000.* +0\.0100`, out.String())
	require.True(t, strings.HasSuffix(out.String(), "that Prometheus ships: it holds.\n"))
}
