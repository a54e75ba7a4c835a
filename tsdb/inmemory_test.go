package tsdb

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/stretchr/testify/require"
)

// counter counts series, and refuses new ones.
type counter struct {
	full    error
	count   atomic.Int64
	deleted atomic.Uint64 // the last reference
}

func (c *counter) PreCreation(labels.Labels) error { return c.full }
func (c *counter) PostCreation(labels.Labels)      { c.count.Add(1) }
func (c *counter) PostDeletion(gone map[chunks.HeadSeriesRef]labels.Labels) {
	c.count.Add(-int64(len(gone)))
	for ref := range gone {
		c.deleted.Store(uint64(ref))
	}
}

// Series that have ended leave memory. Queries find them all the same, also after a restart.
func TestRemoveEnded(t *testing.T) {
	dir := t.TempDir()
	var c *counter
	full := errors.New("full")
	counted := func(o *Options) {
		o.SeriesCallback = func() promtsdb.SeriesLifecycleCallback { c = &counter{full: c.fullNext()}; return c }
	}
	check := func(db *DB, inMemory int) {
		t.Helper()
		require.Equal(t, inMemory, db.Series())
		require.Equal(t, inMemory, int(c.count.Load()))
		got := map[string]float64{}
		for _, s := range instant(t, db, "x", at(10)) {
			got[s.Labels.Get("i")] = s.Value
		}
		require.Equal(t, map[string]float64{"ended": 2, "goes on": 2, "left": 2, "returns": 2}, got)
		require.Len(t, instant(t, db, "x", at(30)), 3)
	}
	db := openIn(t, dir, counted)
	load(t, db, 10*time.Second, `
		x{i="ended"} 1 2 stale
		x{i="returns"} 1 2 3
		x{i="goes on"} 1 2 3 4
		x{i="left"} 1 2 3
	`)
	require.Equal(t, 1, db.Ended())
	check(db, 4)
	require.NoError(t, db.RemoveEnded(context.Background(), nil))
	require.Zero(t, db.Ended())
	check(db, 3)
	is := map[string]bool{"left": true, "returns": true}
	require.NoError(t, db.RemoveEnded(context.Background(), func(ref storage.SeriesRef) bool { return is[labelOf(t, db, ref)] }))
	check(db, 1)
	add(t, db, `x{i="returns"}`, at(30), 4)
	check(db, 2)
	require.NoError(t, db.Close())
	require.ErrorIs(t, db.RemoveEnded(context.Background(), nil), ErrClosed)

	c.full = full
	db = openIn(t, dir, counted)
	require.NoError(t, db.Damage(), "a limit does not refuse what is stored")
	check(db, 2)
	_, err := db.AppenderV2(context.Background()).Append(0, labels.FromStrings("a", "b"), 0, at(40).UnixMilli(), 1, nil, nil, storage.AOptions{})
	require.ErrorIs(t, err, full)
}

// A storage that has begun anew has other references, also when it says what has left memory.
func TestRemoveEndedAfterRenewal(t *testing.T) {
	var c *counter
	db := openIn(t, t.TempDir(), func(o *Options) {
		o.SeriesCallback = func() promtsdb.SeriesLifecycleCallback { c = &counter{}; return c }
	})
	require.NoError(t, db.Renew(errors.New("test")))
	var ref storage.SeriesRef
	for i, v := range []float64{1, math.Float64frombits(value.StaleNaN)} {
		appender := db.AppenderV2(t.Context())
		var err error
		ref, err = appender.Append(ref, labels.FromStrings("__name__", "x"), 0, at(float64(i)).UnixMilli(), v, nil, nil, storage.AOptions{})
		require.NoError(t, err)
		require.NoError(t, appender.Commit())
	}
	require.NoError(t, db.RemoveEnded(t.Context(), nil))
	require.Zero(t, c.count.Load())
	require.Equal(t, uint64(ref), c.deleted.Load())
}

// fullNext is what the next counter answers.
func (c *counter) fullNext() error {
	if c == nil {
		return nil
	}
	return c.full
}

// labelOf returns the label i of a series in memory.
func labelOf(t *testing.T, db *DB, ref storage.SeriesRef) string {
	reader, err := db.epoch.store.Head().Index()
	require.NoError(t, err)
	defer func() { require.NoError(t, reader.Close()) }()
	var b labels.ScratchBuilder
	require.NoError(t, reader.Series(ref, &b, nil))
	return b.Labels().Get("i")
}
