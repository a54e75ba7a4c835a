package tsdb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/promql"
)

// ErrBusy is returned by Instant, and by queries of Engine, when Options.MaxConcurrency queries were
// running and none ended in time.
var ErrBusy = errors.New("too many queries at once")

// slots lets a fixed number of queries run at a time. It stands in for the query log file that
// Prometheus uses to the same end.
type slots struct {
	free chan struct{}
	wait time.Duration
}

var _ promql.QueryTracker = (*slots)(nil)

func newSlots(n int, wait time.Duration) *slots {
	return &slots{free: make(chan struct{}, n), wait: wait}
}

// GetMaxConcurrent returns the number of queries that may run at once.
func (s *slots) GetMaxConcurrent() int { return cap(s.free) }

// Insert waits for a slot. The engine calls it once to parse and once to evaluate a query, and only
// the second call has a deadline of the engine's: hence its own.
func (s *slots) Insert(ctx context.Context, _ string) (int, error) {
	select {
	case s.free <- struct{}{}:
		return 0, nil
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	select {
	case s.free <- struct{}{}:
		return 0, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %d are running, none ended while this one waited: %w", ErrBusy, cap(s.free), ctx.Err())
	}
}

// Delete gives the slot back.
func (s *slots) Delete(int) { <-s.free }

// Close has nothing to close.
func (s *slots) Close() error { return nil }

// heavySamples is how many samples a query may read beside others. Those that read more take turns: together they would
// fill the memory. Each sample costs 40 bytes, here and in the engine.
const heavySamples = 100_000

// turn is had by one query at a time.
type turn chan struct{}

// take waits for the turn; it reports whether it has come before ctx ended.
func (t turn) take(ctx context.Context) bool {
	select {
	case t <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (t turn) giveBack() { <-t }
