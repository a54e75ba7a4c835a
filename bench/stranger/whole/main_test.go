package main

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/bench/stranger/internal/instance"
	"github.com/promlet/promlet/bench/stranger/internal/queue"
	"github.com/promlet/promlet/bench/stranger/internal/twice"
)

func TestTwice(t *testing.T) { twice.Run(t, open) }

// Close ends what Run runs, the API server included.
func TestClosedWhileItRuns(t *testing.T) {
	p, err := open(instance.Config{Dir: t.TempDir(), Number: 7, Registry: prometheus.NewRegistry()})
	require.NoError(t, err)
	_, err = p.Ask(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.promlet.Close())
	_, err = queue.Depth(t.Context(), p.client, "https://"+p.server.Addr().String())
	require.ErrorContains(t, err, "connection refused")
	require.NoError(t, p.Close())
}
