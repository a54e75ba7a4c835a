package main

import (
	"log/slog"
	"math"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// memoryShare is what part of the cgroup's limit the Go runtime may use: the
// rest is for what it does not count, mapped blocks among it.
const memoryShare = 0.9

// limitMemory sets the Go runtime's memory limit from the cgroup's, unless
// GOMEMLIMIT is set, so that a container collects garbage before it is killed.
// Without a limit to be found promlet runs as well; the log says so.
func limitMemory(logger *slog.Logger) {
	limit, err := memlimit.Set(
		memlimit.WithRatio(memoryShare),
		memlimit.WithProvider(memlimit.FromCgroup),
	)
	switch {
	case err != nil:
		logger.Debug("no memory limit taken from the cgroup", "reason", err)
	case limit > 0 && limit < math.MaxInt64:
		logger.Info("memory limit taken from the cgroup", "bytes", limit)
	}
}
