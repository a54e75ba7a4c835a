package tsdb

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

// The names inside a data directory that this package deals with.
const (
	lockFile  = "lock"
	walDir    = "wal"
	chunksDir = "chunks_head"

	// asideDir keeps damaged data to look into. It keeps only the last, so that a node that loses power
	// every night does not fill its disk.
	asideDir = "corrupt"

	// heldDir is the name of HeldDir.
	heldDir = "unsent"
)

// LogDir returns the directory of the write-ahead log in a data directory.
func LogDir(dir string) string { return filepath.Join(dir, walDir) }

// HeldDir returns the directory inside a data directory where other packages may keep links to segments of the write-ahead
// log after the storage has removed them. When the disk is full, the DB removes it, like the samples that were set aside.
func HeldDir(dir string) string { return filepath.Join(dir, heldDir) }

// checkData returns what is damaged in a data directory, except at the end of the log.
func checkData(dir string) error {
	if err := checkBlocks(dir); err != nil {
		return err
	}
	return checkLog(filepath.Join(dir, walDir))
}

// checkBlocks opens all blocks. The storage does not start with some broken ones, and leaves goroutines behind; it
// skips others, and logs an error about them each minute.
func checkBlocks(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || !isBlock(e.Name()) {
			continue
		}
		block, err := promtsdb.OpenBlock(nil, filepath.Join(dir, e.Name()), nil, nil)
		if err != nil {
			return fmt.Errorf("block %s: %w", e.Name(), err)
		}
		if err := block.Close(); err != nil {
			return err
		}
	}
	return nil
}

// checkLog returns what is damaged in the write-ahead log in a directory, except at its end. There a killed process
// leaves a torn record, which the storage cuts off. The storage has no good answer to the rest: it deletes the
// log after the damage, takes a segment of the checkpoint for one of the log's, or writes segments that
// the next start does not read, because the checkpoint has a higher number.
//
// Like the storage, checkLog reads the last checkpoint, and the segments from the next number on.
func checkLog(dir string) error {
	_, last, err := wlog.Segments(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	checkpoint, n, err := wlog.LastCheckpoint(dir)
	next := n + 1
	switch {
	case errors.Is(err, record.ErrNotFound):
		next = 0
	case err != nil:
		return err
	case last < next:
		return fmt.Errorf("the log ends at segment %d, before the end of %s", last, filepath.Base(checkpoint))
	default:
		segments, err := wlog.NewSegmentsReader(checkpoint)
		if err != nil {
			return err
		}
		if _, err := readLog(segments); err != nil {
			return err
		}
	}
	var torn error
	for ; next <= last; next++ {
		segment, err := wlog.OpenReadSegment(wlog.SegmentName(dir, next))
		if err != nil {
			return err
		}
		records, err := readLog(wlog.NewSegmentBufReader(segment))
		if torn != nil && records > 0 {
			return torn // and this is not the end of the log
		}
		if err != nil {
			torn = err
		}
	}
	return nil
}

// readLog reads segments up to the first error, and closes them.
func readLog(segments io.ReadCloser) (records int, err error) {
	r := wlog.NewReader(segments)
	for r.Next() {
		records++
	}
	return records, errors.Join(r.Err(), segments.Close())
}

// setAside moves all samples in the data directory into asideDir, and removes those that an earlier start moved there.
// Other files stay.
func setAside(dir string) error {
	aside := filepath.Join(dir, asideDir)
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	if err := os.Mkdir(aside, 0o777); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !isStorage(e.Name()) {
			continue
		}
		if err := os.Rename(filepath.Join(dir, e.Name()), filepath.Join(aside, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// isStorage reports whether a name in the data directory is the storage's: a log, head chunks or a block.
func isStorage(name string) bool {
	return name == walDir || name == wlog.WblDirName || name == chunksDir || isBlock(name)
}

func isBlock(name string) bool {
	_, err := ulid.ParseStrict(name)
	return err == nil
}

const (
	// startsFile holds the times of starts that did not come to Settled, in milliseconds.
	startsFile = "starts.json"
	// maxStarts is the start, of those within startsWithin that did not come to Settled, that does without the
	// samples: reading them may be what kills the process.
	maxStarts    = 3
	startsWithin = 10 * time.Minute
)

// errStarts is the reason to set samples aside with which no start has succeeded.
var errStarts = fmt.Errorf("started %d times within %s without getting ready", maxStarts, startsWithin)

// countStart notes a start, and returns errStarts if it is one too many.
func (db *DB) countStart() error {
	if !db.opts.CountStarts {
		return nil
	}
	path := filepath.Join(db.opts.Dir, startsFile)
	now := db.opts.Now()
	var starts []int64
	if b, err := os.ReadFile(path); err == nil {
		_ = json.Unmarshal(b, &starts) // what is damaged counts nothing
	}
	starts = slices.DeleteFunc(starts, func(ms int64) bool { return now.Sub(time.UnixMilli(ms)).Abs() > startsWithin })
	var reason error
	if len(starts)+1 >= maxStarts {
		starts, reason = nil, errStarts
	}
	b, err := json.Marshal(append(starts, now.UnixMilli()))
	if err == nil {
		err = os.WriteFile(path, b, 0o666) //nolint:gosec // As the storage's files.
	}
	if err != nil {
		db.opts.Logger.Debug("the start was not counted", "err", err)
	}
	return reason
}

// Settled notes that the start has succeeded: the caller has read, stored and answered.
func (db *DB) Settled() error {
	if db.closing.Err() != nil {
		return ErrClosed
	}
	return db.settle()
}

func (db *DB) settle() error {
	if !db.opts.CountStarts {
		return nil
	}
	if err := os.Remove(filepath.Join(db.opts.Dir, startsFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("note a successful start: %w", err)
	}
	return nil
}
