package main

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/bench/stranger/internal/instance"
	"github.com/promlet/promlet/bench/stranger/internal/twice"
)

func TestTwice(t *testing.T) { twice.Run(t, open) }

// Requests after the database is closed are answered with the reason.
func TestDatabaseClosedFirst(t *testing.T) {
	p, err := open(instance.Config{Dir: t.TempDir(), Number: 7, Registry: prometheus.NewRegistry()})
	require.NoError(t, err)
	require.NoError(t, p.db.Close())
	_, err = p.Ask(t.Context())
	require.ErrorContains(t, err, "503 Service Unavailable")
	require.NoError(t, p.Close())
}
