package main

import (
	"context"
	"log/slog"
	"math"
	"runtime/debug"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// memoryShare is the part of the cgroup's limit that the Go runtime may use. The rest is
// for memory that it does not count, such as mapped blocks.
const memoryShare = 0.9

// The parts of that for series, for scrapes under way, and for the names that targets
// expose. The rest is for what is answered and watched, and for garbage.
const (
	seriesShare = 0.4
	scrapeShare = 0.25
	namesShare  = 0.15
)

// partOfMemory returns a part of the Go runtime's memory limit, in bytes; 0 without a limit.
func partOfMemory(share float64) int64 {
	limit := debug.SetMemoryLimit(-1) // which only reads it
	if limit == math.MaxInt64 {
		return 0
	}
	return int64(float64(limit) * share)
}

// limitMemory sets the Go runtime's memory limit from the cgroup's, unless
// GOMEMLIMIT is set, so that a container collects garbage before it is killed.
// Without a limit promlet runs, too.
func limitMemory(logger *slog.Logger) {
	limit, err := memlimit.Set(
		memlimit.WithRatio(memoryShare),
		memlimit.WithProvider(memlimit.FromCgroup),
	)
	switch {
	case err != nil:
		logger.Debug("no memory limit in the cgroup", "reason", err)
	case limit > 0 && limit < math.MaxInt64:
		logger.Info("memory limit set from the cgroup", "bytes", limit)
	}
}

// returnMemory waits until ready returns nil, and then calls free, which gives memory that is not
// used any more back to the system. The first lists of a large cluster and the first scrapes of
// all targets leave garbage of several times what they keep, which the runtime would hold for
// minutes. It returns nil.
func returnMemory(ctx context.Context, ready func() error, free func()) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for ready() != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
	free()
	return nil
}
