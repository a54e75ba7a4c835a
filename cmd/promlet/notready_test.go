package main

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// Callers without credentials are told how many targets are waited for, and no host.
func TestReadyzNamesNoTarget(t *testing.T) {
	w := newWarmingUp("db.tenant.svc:1")
	check := readyCheck(w.ready)
	for _, another := range []bool{false, true} {
		w.another = another
		w.clock = w.clock.Add(readinessTTL)
		require.ErrorContains(t, w.ready(), ", such as db.tenant.svc:1")
		require.ErrorContains(t, check.Check(nil), "1 of 1 targets have not been scraped")
		require.NotContains(t, check.Check(nil).Error(), "tenant")
	}
	w.fault = errors.New("waiting")
	require.Equal(t, w.fault, check.Check(nil))
	require.NoError(t, readyCheck(func() error { return nil }).Check(nil))
}
