package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProcfs(t *testing.T) {
	m, err := parseMemory([]byte("Name:\tx\nVmHWM:\t     300 kB\nVmRSS:\t     200 kB\nRssAnon:\t     100 kB\nRssFile:\t 100 kB\n"))
	require.NoError(t, err)
	require.Equal(t, memory{resident: 200 << 10, anonymous: 100 << 10, highest: 300 << 10}, m)
	_, err = parseMemory([]byte("VmRSS:\t     200 kB\n"))
	require.ErrorContains(t, err, "there is none in")
	_, err = parseMemory([]byte("VmRSS:\t     many kB\n"))
	require.ErrorContains(t, err, "read memory: ")

	cpu, err := parseCPU([]byte("7 (a) name) S 1 2 3 4 5 6 7 8 9 10 150 50 1 2 20 0"))
	require.NoError(t, err)
	require.Equal(t, 2*time.Second, cpu)
	_, err = parseCPU([]byte("7 (name) S 1"))
	require.ErrorContains(t, err, "there is none in")
	_, err = parseCPU([]byte("7 (name) S 1 2 3 4 5 6 7 8 9 10 x 50"))
	require.ErrorContains(t, err, "read CPU time: ")
}

// A process reads its own use as others would.
func TestProcfsOfThisProcess(t *testing.T) {
	m, err := readMemory(os.Getpid())
	require.NoError(t, err)
	require.Greater(t, m.resident, 1e6)
	require.LessOrEqual(t, m.anonymous, m.resident)
	before, err := readCPU(os.Getpid())
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		for until := time.Now().Add(time.Millisecond); time.Now().Before(until); {
		}
		now, err := readCPU(os.Getpid())
		return err == nil && now > before
	}, time.Minute, time.Microsecond)
}

func TestCheck(t *testing.T) {
	f := func(name string, value, series float64, err error) error {
		p := &process{subject: &subject{name: name}, answers: answers{
			value:  func(context.Context) (float64, error) { return value, err },
			series: func(context.Context) (float64, error) { return series, nil },
		}}
		return p.check(t.Context(), &result{})
	}
	const all = targets * families * familySeries
	require.NoError(t, f(promletOnDemand, trueRate(), 2200, nil))
	require.NoError(t, f(promletAll, 1.01*trueRate(), all, nil))
	require.NoError(t, f(prometheusName, 0.99*trueRate(), all, nil))
	require.ErrorContains(t, f(promletOnDemand, 0.97*trueRate(), 2200, nil), "it answers")
	require.ErrorContains(t, f(promletOnDemand, trueRate(), all, nil), "it stores 200000 series")
	require.ErrorContains(t, f(prometheusName, trueRate(), all-1, nil), "it stores 199999 of 200000 series")
	require.ErrorContains(t, f(prometheusName, trueRate(), 0, nil), "it stores 0 of 200000 series")
	require.ErrorContains(t, f(prometheusName, 0, all, errors.New("not now")), "ask for the rate: not now")
}

// answering serves fixed answers by path, and gives its port.
func answering(t *testing.T, start func(*httptest.Server), byPath map[string]string) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := byPath[r.URL.Path]
		if !ok {
			http.Error(w, "not this", http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(text))
	}))
	start(s)
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	require.NoError(t, err)
	return port
}

func TestAsk(t *testing.T) {
	metrics := map[string]string{"/metrics": "# x\nprometheus_tsdb_head_series 42\n", "/-/ready": "", "/api/v1/query": `{"data":{"result":[{"value":[1,"10.5"]}]}}`}
	api := map[string]string{
		"/readyz": "ok",
		"/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/services/app/http_requests": `{"items":[{"value":"10500m"}]}`,
	}
	f := func(a answers) {
		require.NoError(t, a.ready(t.Context()))
		v, err := a.value(t.Context())
		require.NoError(t, err)
		require.InDelta(t, 10.5, v, 1e-9)
		n, err := a.series(t.Context())
		require.NoError(t, err)
		require.InDelta(t, 42, n, 0)
	}
	web := answering(t, (*httptest.Server).Start, metrics)
	f(askPrometheus([2]string{web, ""}))
	f(askPromlet([2]string{answering(t, (*httptest.Server).StartTLS, api), web}))

	nothing := [2]string{answering(t, (*httptest.Server).StartTLS, nil), answering(t, (*httptest.Server).Start, nil)}
	require.ErrorContains(t, askPromlet(nothing).ready(t.Context()), "404")
	_, err := askPromlet(nothing).value(t.Context())
	require.ErrorContains(t, err, "not this")
	empty := answering(t, (*httptest.Server).Start, map[string]string{"/metrics": "", "/api/v1/query": "{}"})
	_, err = askPrometheus([2]string{empty, ""}).value(t.Context())
	require.ErrorContains(t, err, "with 0 values")
	_, err = askPrometheus([2]string{empty, ""}).series(t.Context())
	require.ErrorContains(t, err, "how many series")
}

// A program is started with its files, and watched.
func TestStartAndWatch(t *testing.T) {
	s := &subject{
		name: "sleep", path: "sleep",
		prepare: func(string, []string, [2]string) ([]string, error) { return []string{"60"}, nil },
		answers: func([2]string) answers { return answers{} },
	}
	dir := filepath.Join(t.TempDir(), "sleep")
	p, err := s.start(t.Context(), dir, nil)
	require.NoError(t, err)
	defer p.Stop(stopGrace)
	_, err = s.start(t.Context(), dir, nil)
	require.ErrorIs(t, err, os.ErrExist)
	took, err := p.waitFor(t.Context(), func(context.Context) error { return nil })
	require.NoError(t, err)
	require.Positive(t, took)
	var use steady
	require.NoError(t, watch(t.Context(), []*process{p}, 2*time.Second, func(int) *steady { return &use }))
	require.Greater(t, use.resident, 1e5)
	require.GreaterOrEqual(t, use.highest, use.resident)
	require.Less(t, use.cpu, 0.5)
	p.Stop(stopGrace)
	require.Error(t, watch(t.Context(), []*process{p}, time.Second, func(int) *steady { return &use }))
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
