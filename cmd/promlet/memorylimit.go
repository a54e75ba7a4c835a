package main

import (
	"log/slog"
	"math"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// memoryShare is the part of the cgroup's limit that the Go runtime may use. The rest is
// for memory that it does not count, such as mapped blocks.
const memoryShare = 0.9

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
