package tsdb

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
)

// Series returns how many series are in memory, including those that ended within about the last block. It is 0 while there
// is no storage, and after Close.
func (db *DB) Series() int {
	return db.count(func(head *promtsdb.Head) uint64 { return head.NumSeries() })
}

// Ended returns how many of the series that Series counts have ended: their last sample is a stale marker.
func (db *DB) Ended() int {
	return db.count(func(head *promtsdb.Head) uint64 { return head.NumStaleSeries() })
}

// count counts something in memory; there is nothing while there is no storage.
func (db *DB) count(of func(*promtsdb.Head) uint64) int {
	e, err := db.enter()
	if err != nil {
		return 0
	}
	defer e.leave()
	return int(of(e.store.Head())) //nolint:gosec // Far below 2^63.
}

// RemoveEnded takes the series that have ended out of memory, before the block is full that would; with left, those
// for which it returns true as well. It writes their samples to the disk, where queries find them. A series that
// goes on meanwhile stays.
func (db *DB) RemoveEnded(ctx context.Context, left func(storage.SeriesRef) bool) error {
	e, err := db.enter()
	if err != nil {
		return err
	}
	defer e.leave()
	ctx, done := e.within(ctx)
	defer done()
	if err := e.store.CompactStaleHead(); err != nil {
		return fmt.Errorf("write the series that have ended to the disk: %w", err)
	}
	if left == nil {
		return nil
	}
	refs, err := e.refs(ctx, left)
	if err == nil {
		err = e.store.CompactSelectedSeries(refs)
	}
	if err != nil {
		return fmt.Errorf("write the series that nobody goes on with to the disk: %w", err)
	}
	return nil
}

// refs returns the references of the series in memory for which is returns true.
func (e *epoch) refs(ctx context.Context, is func(storage.SeriesRef) bool) (refs []storage.SeriesRef, err error) {
	reader, err := e.store.Head().Index()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	name, value := index.AllPostingsKey()
	all, err := reader.Postings(ctx, name, value)
	if err != nil {
		return nil, err
	}
	for all.Next() {
		if is(e.outer(all.At())) {
			refs = append(refs, all.At())
		}
	}
	return refs, all.Err()
}

// callback is Options.SeriesCallback's. While the storage is opened, series are taken as the log has them, whatever the
// limits.
type callback struct {
	promtsdb.SeriesLifecycleCallback
	epoch  *epoch
	opened atomic.Bool
}

// PreCreation implements promtsdb.SeriesLifecycleCallback.
func (c *callback) PreCreation(series labels.Labels) error {
	if !c.opened.Load() {
		return nil
	}
	return c.SeriesLifecycleCallback.PreCreation(series)
}

// PostDeletion implements promtsdb.SeriesLifecycleCallback.
func (c *callback) PostDeletion(deleted map[chunks.HeadSeriesRef]labels.Labels) {
	outer := make(map[chunks.HeadSeriesRef]labels.Labels, len(deleted))
	for ref, series := range deleted {
		outer[chunks.HeadSeriesRef(c.epoch.outer(storage.SeriesRef(ref)))] = series
	}
	c.SeriesLifecycleCallback.PostDeletion(outer)
}
