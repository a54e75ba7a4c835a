package answers

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/promlet/promlet/bench/internal/harness"
)

// TestMain lets the test binary be the server that measurements start.
func TestMain(m *testing.M) {
	if harness.IsChild() {
		harness.Main(Command())
		return
	}
	goleak.VerifyTestMain(m)
}

// newBench has a cluster until the test ends.
func newBench(t *testing.T) *bench {
	t.Helper()
	c, err := startCluster(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.stop()) })
	return &bench{counting: 500 * time.Millisecond, polling: time.Second, cluster: c}
}

// Every question that is measured has the answer that it must have.
func TestSubjects(t *testing.T) {
	b := newBench(t)
	for _, s := range subjects() {
		require.NoError(t, b.with(t.Context(), s.fleet, func(server *server) error {
			asking := newClients(server)
			defer asking.close()
			for _, q := range s.questions {
				a, tag, err := asking[0].verify(t.Context(), q)
				require.NoError(t, err, q.name)
				require.Equal(t, q.revalidates, tag != "", q.name)
				require.Equal(t, q.revalidates, len(a.text) == 0, q.name)
			}
			return nil
		}))
	}
}

// A measurement, with the server in a process of its own.
func TestMeasure(t *testing.T) {
	b := newBench(t)
	f := fleet{Namespaces: 1, Apps: 1, Pods: 3}
	require.NoError(t, b.with(t.Context(), f, func(server *server) error {
		m, err := measure(t.Context(), server, podsOf("default", "app-0", fleet{Pods: 3}), b.counting)
		require.NoError(t, err)
		require.Greater(t, len(m.latencies), clients)
		require.Positive(t, m.latencies[0])
		require.True(t, slices.IsSorted(m.latencies))
		require.Positive(t, m.used.CPU)
		require.Greater(t, m.per(float64(m.used.Allocations)), 100.0)
		require.Greater(t, m.per(float64(m.used.Allocated)), 1000.0)
		require.Greater(t, m.size, 100)
		_, err = measure(t.Context(), server, podsOf("default", "app-0", fleet{Pods: 4}), b.counting)
		require.EqualError(t, err, "check "+podsOf("default", "app-0", fleet{Pods: 4}).path+": 3 values instead of 4")
		_, err = measure(t.Context(), server, podsOf("default", "none", f), b.counting)
		require.ErrorContains(t, err, ": 404 Not Found instead of 200: ")
		return nil
	}))
}

// Each question has its turn, and what its caller may do is asked about.
func TestPoll(t *testing.T) {
	b := newBench(t)
	f := fleet{Namespaces: 2, Apps: 2, Pods: 2}
	questions := f.polls()
	var paths []string
	for _, q := range questions {
		paths = append(paths, strings.TrimPrefix(q.path, version+"/namespaces/"))
	}
	require.ElementsMatch(t, []string{
		"default/pods/*/http_requests?labelSelector=app%3Dapp-0", "default/services/app-1/http_requests",
		"team-1/pods/*/http_requests?labelSelector=app%3Dapp-0", "team-1/services/app-1/http_requests",
	}, paths)
	require.NoError(t, b.with(t.Context(), f, func(server *server) error {
		m, err := b.poll(t.Context(), server, questions, 200*time.Millisecond)
		require.NoError(t, err)
		require.Len(t, m.latencies, 20)
		require.GreaterOrEqual(t, b.cluster.reviews.Load(), int64(len(questions)))
		return nil
	}))
}

func TestCheckValues(t *testing.T) {
	const text = `{"kind":"MetricValueList","apiVersion":"custom.metrics.k8s.io/v1beta2","items":[{"describedObject":{"name":"a"},"value":"4"}]}`
	require.NoError(t, checkValues(1, 4)([]byte(text)))
	require.EqualError(t, checkValues(2, 4)([]byte(text)), "1 values instead of 2")
	require.EqualError(t, checkValues(1, 5)([]byte(text)), "a has 4 instead of 5")
	status, err := json.Marshal(map[string]any{"kind": "Status", "apiVersion": "v1", "code": http.StatusNotFound})
	require.NoError(t, err)
	require.EqualError(t, checkValues(1, 4)(status), "it is a *v1.Status")
	require.Error(t, checkValues(1, 4)([]byte("nonsense")))
}
