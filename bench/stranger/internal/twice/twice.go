// Package twice tests that programs which embed promlet can do so several times in one process.
package twice

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/promlet/promlet/bench/stranger/internal/instance"
)

// Run opens two instances with different data and asks both. Then it closes one of them, asks the other one, opens the
// first one again in the same directory on the same registry, and closes both. It does this for both orders of closing.
// In the end no goroutine is left.
func Run[I instance.Instance](t *testing.T, open func(instance.Config) (I, error)) {
	t.Helper()
	ignored := goleak.IgnoreCurrent() // of libraries, once for the process
	configs := []instance.Config{
		{Dir: t.TempDir(), Number: 7, Registry: prometheus.NewRegistry()},
		{Dir: t.TempDir(), Number: 12, Registry: prometheus.NewRegistry()},
	}
	for _, first := range []int{0, 1} {
		second := 1 - first
		var instances [2]I
		for i, config := range configs {
			instances[i] = start(t, open, config)
		}
		require.NoError(t, instances[first].Close())
		ask(t, instances[second], configs[second])
		instances[first] = start(t, open, configs[first])
		require.NoError(t, instances[second].Close())
		ask(t, instances[first], configs[first])
		require.NoError(t, instances[first].Close())
		for _, config := range configs {
			families, err := config.Registry.Gather()
			require.NoError(t, err)
			require.Empty(t, families, "metrics are left after Close")
		}
	}
	goleak.VerifyNone(t, ignored)
}

// DatabaseClosedFirst closes the database below a program, and requires an error that contains a text in place of an
// answer. The rest closes as usual.
func DatabaseClosedFirst[I instance.Instance](t *testing.T, open func(instance.Config) (I, error), closeDatabase func(I) error, text string) {
	t.Helper()
	opened, err := open(instance.Config{Dir: t.TempDir(), Number: 7, Registry: prometheus.NewRegistry()})
	require.NoError(t, err)
	require.NoError(t, closeDatabase(opened))
	_, err = opened.Ask(t.Context())
	require.ErrorContains(t, err, text)
	require.NoError(t, opened.Close())
}

func start[I instance.Instance](t *testing.T, open func(instance.Config) (I, error), config instance.Config) I {
	t.Helper()
	opened, err := open(config)
	require.NoError(t, err)
	ask(t, opened, config)
	return opened
}

func ask(t *testing.T, opened instance.Instance, config instance.Config) {
	t.Helper()
	number, err := opened.Ask(t.Context())
	require.NoError(t, err)
	require.InDelta(t, config.Number, number, 0)
}
