package tsdb

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/oklog/ulid/v2"
	promtsdb "github.com/prometheus/prometheus/tsdb"
)

const (
	// minFree is how many bytes of a disk must be free. With none the storage does not fail but panics, as soon as it
	// writes chunks of its head.
	minFree = 4 << 20
	// urgentFree is so little that all samples are removed at once.
	urgentFree = minFree / 4

	// spareFile takes spareSize bytes of the disk, for the chunks that the storage writes when it is closed.
	spareFile = "spare"
	spareSize = 1 << 20

	// probeFile is written to find out whether anything can be. Its size is a few pages of the log.
	probeFile = "probe"
	probeSize = 4 * walPageSize
)

// openRoom opens the storage, and makes room for it where the disk is full: what was set aside goes first, then
// the oldest block, then all the rest. An error of a full disk means that others fill it.
func (db *DB) openRoom() error {
	open := func() error {
		if err := errors.Join(db.room(), makeSpare(db.opts.Dir)); err != nil {
			return err
		}
		return db.openData()
	}
	err := open()
	for isFull(err) {
		removed, removeErr := removeOldest(db.opts.Dir)
		if removed == "" || removeErr != nil {
			return errors.Join(err, removeErr)
		}
		db.opts.Logger.Warn("The disk is full: samples were removed", "dir", db.opts.Dir, "removed", removed)
		err = open()
	}
	return err
}

// room returns an error if the disk is full, or nearly so.
func (db *DB) room() error {
	free, err := freeBytes(db.opts.Dir)
	if err == nil && free < minFree {
		err = fmt.Errorf("%w: %d KiB are left", syscall.ENOSPC, free>>10)
	}
	if err == nil && isFull(db.Storing()) {
		err = probe(db.opts.Dir)
	}
	if isFull(err) {
		err = fmt.Errorf("data directory %q: %w: free some space there", db.opts.Dir, err)
		db.unstored.Store(&err)
		return err
	}
	if isFull(db.Storing()) {
		db.unstored.Store(nil)
	}
	db.crowded.Store(false)
	return nil
}

// freeBytes returns the free space of the disk that a directory is on.
func freeBytes(dir string) (int64, error) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		return 0, err
	}
	return int64(disk.Bavail) * int64(disk.Bsize), nil //nolint:gosec,unconvert // The types differ between systems.
}

// tight reports whether hardly anything more can be written.
func tight(dir string) bool {
	free, err := freeBytes(dir)
	return err != nil || free < minFree || probe(dir) != nil
}

// makeSpare makes the spare file.
func makeSpare(dir string) error {
	path := filepath.Join(dir, spareFile)
	if info, err := os.Stat(path); err == nil && info.Size() == spareSize {
		return nil
	}
	return os.WriteFile(path, make([]byte, spareSize), 0o600)
}

// closeStore closes a storage. If the disk is full, that takes the spare file's room.
func (db *DB) closeStore(store *promtsdb.DB) error {
	if free, err := freeBytes(db.opts.Dir); err == nil && free < minFree {
		if err := os.Remove(filepath.Join(db.opts.Dir, spareFile)); err != nil {
			db.opts.Logger.Debug("no room for the storage to be closed", "err", err)
		}
	}
	return store.Close()
}

// isFull reports whether an error is that of a full disk.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// emptyLog frees the room that the log takes, although it is open.
func emptyLog(dir string) error {
	segments, err := filepath.Glob(filepath.Join(dir, walDir, "[0-9]*"))
	for _, s := range segments {
		err = errors.Join(err, os.Truncate(s, 0))
	}
	return err
}

// probe writes and removes a file.
func probe(dir string) error {
	path := filepath.Join(dir, probeFile)
	return errors.Join(os.WriteFile(path, make([]byte, probeSize), 0o600), os.Remove(path))
}

// removeAside removes the samples that were set aside, and HeldDir. It reports whether there were any.
func removeAside(dir string) (removed bool, err error) {
	for _, name := range []string{asideDir, heldDir} {
		aside := filepath.Join(dir, name)
		if _, statErr := os.Stat(aside); statErr == nil {
			removed, err = true, errors.Join(err, os.RemoveAll(aside))
		}
	}
	return removed, err
}

// removeOldest removes what was set aside, or else the oldest block, or else all that the storage has. It returns the
// name of what it has removed, "" if there was nothing.
func removeOldest(dir string) (removed string, err error) {
	if removed, err := removeAside(dir); removed || err != nil {
		return asideDir, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries { // by name, so by time
		if isBlock(e.Name()) {
			return e.Name(), os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
	if !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return isStorage(e.Name()) }) {
		return "", nil
	}
	return walDir, removeStorage(dir)
}

// removeStorage removes all samples in the data directory.
func removeStorage(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if isStorage(e.Name()) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// blocksToDelete returns what the storage removes: blocks that are too old or too much, and the oldest one while the
// disk is full.
func (db *DB) blocksToDelete(store *promtsdb.DB, blocks []*promtsdb.Block) map[ulid.ULID]struct{} {
	if store == nil {
		return nil // it is being opened
	}
	remove := promtsdb.DefaultBlocksToDelete(store)(blocks)
	if !db.crowded.Load() || len(blocks) == 0 {
		return remove
	}
	oldest := slices.MinFunc(blocks, func(a, b *promtsdb.Block) int { return int(a.MinTime() - b.MinTime()) })
	remove[oldest.Meta().ULID] = struct{}{}
	db.opts.Logger.Warn("The disk is full: the oldest block is removed", "dir", db.opts.Dir, "block", oldest.Meta().ULID)
	return remove
}
