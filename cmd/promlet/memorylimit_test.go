package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Memory is returned once, as soon as promlet is ready, and not at all if it ends before.
func TestReturnMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, freed := time.Now(), 0
		ready := func() error {
			if time.Since(start) < 5*time.Second {
				return errors.New("not ready")
			}
			return nil
		}
		free := func() { freed++ }
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		require.NoError(t, returnMemory(ctx, ready, free))
		require.Zero(t, freed)
		require.NoError(t, returnMemory(t.Context(), ready, free))
		require.Equal(t, 1, freed)
		require.Equal(t, 5*time.Second, time.Since(start))
	})
}
