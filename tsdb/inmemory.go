package tsdb

import (
	"fmt"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"
	promtsdb "github.com/prometheus/prometheus/tsdb"
)

// Series returns how many series are held in memory, those that ended within the last block or so among them.
func (db *DB) Series() int { return int(db.store.Head().NumSeries()) } //nolint:gosec // Far below 2^63.

// Ended returns how many of them have ended: their last sample is a stale marker.
func (db *DB) Ended() int { return int(db.store.Head().NumStaleSeries()) } //nolint:gosec // Far below 2^63.

// RemoveEnded takes the series that have ended out of memory, before the block is full that would. It writes their
// samples to the disk, where queries find them. A series whose stale marker is not committed yet, or that
// goes on meanwhile, stays.
func (db *DB) RemoveEnded() error {
	if err := db.begin(); err != nil {
		return err
	}
	defer db.running.Done()
	if err := db.store.CompactStaleHead(); err != nil {
		return fmt.Errorf("write the series that have ended to the disk: %w", err)
	}
	return nil
}

// opening takes series as the log has them while the storage is opened, whatever the limits.
type opening struct {
	promtsdb.SeriesLifecycleCallback
	done atomic.Bool
}

// PreCreation implements promtsdb.SeriesLifecycleCallback.
func (o *opening) PreCreation(series labels.Labels) error {
	if !o.done.Load() {
		return nil
	}
	return o.SeriesLifecycleCallback.PreCreation(series)
}
