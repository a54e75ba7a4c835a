package tsdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	promtsdb "github.com/prometheus/prometheus/tsdb"
)

// ErrRenewed is returned while the DB begins anew, and by queries that this cuts short. errors.Is reports that it is
// Prometheus's tsdb.ErrNotReady, as Prometheus's HTTP API expects.
var ErrRenewed error = unreadable("the database begins anew")

// epoch is the storage from Open, or Renew, until the next Renew or Close.
type epoch struct {
	number  uint64
	store   *promtsdb.DB
	metrics *prometheus.Registry
	stats   *promtsdb.DBStats

	ctx   context.Context // ends when the epoch does
	end   context.CancelFunc
	users sync.WaitGroup // queries and queriers
}

// seriesBits is the width of the storage's references of series. The number of the epoch is put above: a reference that
// is older must not lead to another series.
const seriesBits = 40

// enter returns the current epoch. The caller calls leave when it does not read it any more.
func (db *DB) enter() (*epoch, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	switch {
	case db.closed:
		return nil, ErrClosed
	case db.epoch == nil:
		return nil, ErrRenewed
	}
	db.epoch.users.Add(1)
	return db.epoch, nil
}

// outer is the storage's reference of a series as users of the DB know it.
func (e *epoch) outer(ref storage.SeriesRef) storage.SeriesRef {
	return ref | storage.SeriesRef(e.number<<seriesBits)
}

func (e *epoch) leave() { e.users.Done() }

// ended is the error of what the end of an epoch has cut short.
func (db *DB) ended() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return ErrClosed
	}
	return ErrRenewed
}

// endEpoch ends the current epoch, if there is one, and waits for those who read it.
func (db *DB) endEpoch() *epoch {
	db.mu.Lock()
	e := db.epoch
	db.epoch = nil
	if e != nil {
		e.end()
	}
	db.mu.Unlock()
	if e == nil {
		return nil
	}
	e.users.Wait()
	if db.opts.Registerer != nil {
		db.opts.Registerer.Unregister(e.metrics)
	}
	return e
}

// beginEpoch makes a storage the one that is read and written.
func (db *DB) beginEpoch(e *epoch) error {
	if db.opts.Registerer != nil {
		if err := db.opts.Registerer.Register(e.metrics); err != nil {
			return errors.Join(fmt.Errorf("register metrics: %w", err), e.store.Close())
		}
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.epochs++
	db.epoch = e
	return nil
}

// within returns a context that also ends with the epoch. The caller must call done to release it.
func (e *epoch) within(ctx context.Context) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(e.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// querier counts as a user of its epoch until it is closed.
type querier struct {
	storage.Querier
	db    *DB
	once  sync.Once
	epoch *epoch
}

// Select implements storage.Querier.
func (q *querier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	return &endingSet{SeriesSet: q.Querier.Select(ctx, sorted, hints, matchers...), querier: q}
}

// endingSet has no more series once the epoch has ended.
type endingSet struct {
	storage.SeriesSet
	querier *querier
}

// Next implements storage.SeriesSet.
func (s *endingSet) Next() bool { return s.querier.epoch.ctx.Err() == nil && s.SeriesSet.Next() }

// Err implements storage.SeriesSet.
func (s *endingSet) Err() error {
	if s.querier.epoch.ctx.Err() != nil {
		return s.querier.db.ended()
	}
	return s.SeriesSet.Err()
}

// Close implements storage.Querier.
func (q *querier) Close() error {
	err := q.Querier.Close()
	q.once.Do(q.epoch.leave)
	return err
}

// MaxSampleAge is how much older than the newest sample another may be. The storage refuses older ones.
func (db *DB) MaxSampleAge() time.Duration { return db.opts.BlockDuration / 2 }

// appender notes whether what is committed can be stored.
type appender struct {
	storage.AppenderV2
	db       *DB
	epoch    *epoch
	appended bool // a sample
}

// Append implements storage.AppenderV2.
func (a *appender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	if uint64(ref)>>seriesBits != a.epoch.number {
		ref = 0
	}
	ref, err := a.AppenderV2.Append(ref&(1<<seriesBits-1), ls, st, t, v, h, fh, opts)
	if ref != 0 {
		ref = a.epoch.outer(ref)
	}
	a.appended = a.appended || err == nil
	return ref, err
}

// Commit implements storage.AppenderV2.
func (a *appender) Commit() error {
	err := a.AppenderV2.Commit()
	switch {
	case err == nil:
		// Without samples nothing was written.
		if a.appended && a.db.unstored.Load() != nil {
			a.db.unstored.Store(nil)
		}
	case a.epoch.ctx.Err() == nil:
		a.db.unstored.Store(&err)
	}
	return err
}

// noAppender is the appender while there is no storage.
type noAppender struct{ err error }

func (n noAppender) Append(storage.SeriesRef, labels.Labels, int64, int64, float64, *histogram.Histogram, *histogram.FloatHistogram, storage.AppendV2Options) (storage.SeriesRef, error) {
	return 0, n.err
}

func (n noAppender) Commit() error { return n.err }
func (noAppender) Rollback() error { return nil }
