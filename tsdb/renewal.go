package tsdb

import (
	"errors"
	"fmt"
	"math"
	"syscall"
	"time"
)

// Unfit returns why what is stored cannot be right, or cannot be added to, until Renew; nil if neither is so. It is
// quick: whoever answers from the DB asks it each time.
func (db *DB) Unfit() error {
	if db.closing.Err() != nil {
		return ErrClosed
	}
	if step := db.clock.step(); step != 0 {
		return fmt.Errorf("%w by %s", ErrClockSet, step.Round(time.Millisecond))
	}
	e, err := db.enter()
	if err != nil {
		if cause := db.Storing(); cause != nil {
			err = cause
		}
		return err
	}
	defer e.leave()
	oldest, known := e.store.Head().AppendableMinValidTime()
	if now := db.opts.Now(); known && oldest > now.UnixMilli() {
		return fmt.Errorf("samples of now are refused: the newest one is of %s", time.UnixMilli(e.store.Head().MaxTime()).UTC().Format(time.RFC3339))
	}
	return nil
}

// Tend keeps the disk from filling up, and returns Unfit, or another reason to call Renew. It is to be called every
// second or so, by one goroutine, until it returns ErrClosed.
//
// While the disk is full it removes what was set aside, and then blocks, the oldest first. If that does not help, or the
// log alone is larger than Options.RetentionBytes, that is a reason to call Renew.
func (db *DB) Tend() error {
	e, err := db.enter()
	switch {
	case errors.Is(err, ErrRenewed) && db.room() != nil:
		return nil
	case err != nil:
		return err
	}
	defer e.leave()
	if err := db.Unfit(); err != nil {
		return err
	}
	size := e.store.Head().Size()
	if most := db.opts.RetentionBytes; size > most {
		return fmt.Errorf("%w: the log of %d MiB is larger than the %d MiB for all samples", syscall.EDQUOT, size>>20, most>>20)
	}
	full := db.room()
	if full == nil {
		return nil
	}
	if removed, err := removeAside(db.opts.Dir); err != nil || removed && db.room() == nil {
		return err
	}
	free, err := freeBytes(db.opts.Dir)
	if err == nil && free >= urgentFree && len(e.store.Blocks()) > 0 {
		db.crowded.Store(true) // the storage removes the oldest
		return nil
	}
	return full
}

// Storing returns why the samples that were last to be stored were not; nil if they were.
func (db *DB) Storing() error {
	if db.closing.Err() != nil {
		return ErrClosed
	}
	if err := db.unstored.Load(); err != nil {
		return *err
	}
	return nil
}

// Renew sets all samples aside, or removes them if the disk is full, and begins without any, at the clock as it is now.
// It ends running queries, and waits for them. No appender may be in use. Damage returns the reason from then on.
//
// If the disk stays full, it returns the error, as Storing and Unfit do, and the DB has no storage until Tend returns a
// reason to call Renew again.
func (db *DB) Renew(reason error) error {
	db.renewing.Lock()
	defer db.renewing.Unlock()
	if db.closing.Err() != nil {
		return ErrClosed
	}
	old := db.endEpoch()
	full := isFull(reason)
	if full && tight(db.opts.Dir) {
		// Closing writes to the log, too. This also empties what others hold of it.
		if err := emptyLog(db.opts.Dir); err != nil {
			db.opts.Logger.Debug("the log was not emptied", "err", err)
		}
	}
	if old != nil {
		if err := db.closeStore(old.store); err != nil {
			db.opts.Logger.Warn("The storage was not closed properly before it begins anew", "err", err)
		}
	}
	put := setAside
	if full {
		put = removeStorage
	}
	err := put(db.opts.Dir)
	if err == nil {
		db.opts.Logger.Warn("promlet begins anew, without the samples so far", "dir", db.opts.Dir, "reason", reason)
		db.setDamage(reason)
		db.clock.accept()
		_ = db.recordClock() // The reason is known.
		err = db.openRoom()
	}
	if err != nil {
		err = fmt.Errorf("begin anew in %q: %w", db.opts.Dir, err)
		db.unstored.Store(&err)
		return err
	}
	return nil
}

// Newest returns the time of the newest sample; the zero time if there is none, or no storage.
func (db *DB) Newest() time.Time {
	e, err := db.enter()
	if err != nil {
		return time.Time{}
	}
	defer e.leave()
	if newest := e.newest(); newest != math.MinInt64 {
		return time.UnixMilli(newest)
	}
	return time.Time{}
}

// newest returns the time of the newest sample, in milliseconds; math.MinInt64 if there is none.
func (e *epoch) newest() int64 {
	newest := e.store.Head().MaxTime()
	for _, b := range e.store.Blocks() {
		newest = max(newest, b.MaxTime()-1)
	}
	if newest == math.MaxInt64 {
		return math.MinInt64
	}
	return newest
}
