package tsdb

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/bench/skip"
)

// smallDisk mounts a file system of some bytes.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		skip.Test(t, "A full disk", "run as root with CAP_SYS_ADMIN, to mount a small one")
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	return dir
}

// fillDisk takes all room of a disk but some bytes, and returns what gives it back.
func fillDisk(t *testing.T, dir string, but int64) (free func()) {
	t.Helper()
	n, err := freeBytes(dir)
	require.NoError(t, err)
	path := filepath.Join(dir, "others")
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte{1}, int(max(0, n-but))), 0o600))
	return func() { require.NoError(t, os.Remove(path)) }
}

// presently makes now a time shortly after the first 200 steps of madeTime.
func presently(o *Options) {
	start := time.Now()
	o.Now = func() time.Time { return madeTime(200).Add(time.Since(start)) }
}

// commitNew commits a sample for now of some series whose labels are new, so that the log grows.
func commitNew(db *DB, n int) error {
	app := db.AppenderV2(context.Background())
	now := db.opts.Now()
	for range n {
		padding := make([]byte, 200)
		_, _ = rand.Read(padding)
		ls := labels.FromStrings("__name__", "new", "padding", fmt.Sprintf("%x", padding))
		if _, err := app.Append(0, ls, 0, now.UnixMilli(), 1, nil, nil, storage.AOptions{}); err != nil {
			return err
		}
	}
	return app.Commit()
}

// tendAndStore does what a program does each second, and returns whether samples are stored.
func tendAndStore(db *DB, n int) error {
	if reason := db.Tend(); reason != nil {
		if err := db.Renew(reason); err != nil {
			return err
		}
	}
	return errors.Join(db.Storing(), commitNew(db, n))
}

// The log alone fills the disk: the database begins anew, and stores what comes.
func TestDiskFullOfLog(t *testing.T) {
	dir := smallDisk(t, 8<<20)
	db := openIn(t, dir, presently)
	for round := range 3 {
		before := db.Damage()
		for db.Damage() == before { //nolint:errorlint // That very one.
			require.NoError(t, tendAndStore(db, 100), "round %d", round)
		}
		require.ErrorIs(t, db.Damage(), syscall.ENOSPC)
		require.NoDirExists(t, filepath.Join(dir, asideDir))
	}
}

// The disk fills up faster than anybody looks.
func TestDiskFullAtOnce(t *testing.T) {
	dir := smallDisk(t, 8<<20)
	db := openIn(t, dir, presently)
	require.Eventually(t, func() bool { return commitNew(db, 100) != nil }, time.Minute, time.Microsecond)
	require.ErrorIs(t, db.Storing(), syscall.ENOSPC)
	require.NoError(t, db.AppenderV2(t.Context()).Commit())
	require.ErrorIs(t, db.Storing(), syscall.ENOSPC, "no sample was stored since")
	require.NoError(t, tendAndStore(db, 1))
	require.NoError(t, db.Storing())
}

// What was set aside goes first, and then blocks, the oldest first. The log stays.
func TestDiskFullDropsTheOldestFirst(t *testing.T) {
	dir := smallDisk(t, 16<<20)
	var log journal
	db := openIn(t, dir, func(o *Options) {
		small(o)
		o.BlockSegmentSize = 64 << 10
		o.Logger = log.logger(slog.LevelInfo)
	})
	for step := range 200 {
		require.NoError(t, commitStep(db, "made", step, 0))
	}
	require.NoError(t, db.epoch.store.Compact(t.Context()))
	blocks := glob(t, dir, "01*")
	require.NotEmpty(t, blocks)
	aside := filepath.Join(dir, asideDir)
	require.NoError(t, os.Mkdir(aside, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(aside, "x"), make([]byte, 256<<10), 0o600))

	free := fillDisk(t, dir, minFree-100<<10)
	require.NoError(t, db.Tend())
	require.NoDirExists(t, aside)
	require.NoError(t, db.Storing())
	require.Equal(t, blocks, glob(t, dir, "01*"))
	free()

	free = fillDisk(t, dir, minFree-100<<10)
	require.NoError(t, db.Tend())
	require.ErrorIs(t, db.Storing(), syscall.ENOSPC)
	require.Eventually(t, func() bool { return len(glob(t, dir, "01*")) < len(blocks) }, 5*blockReload, 100*time.Millisecond)
	require.Contains(t, log.String(), "the oldest block is removed")
	require.Contains(t, log.String(), filepath.Base(blocks[0]))
	free()
	require.NoError(t, db.Tend())
	require.NoError(t, db.Storing())
	require.NoError(t, db.Damage())
	require.Equal(t, made, stored(t, db, "made", 0)[199])
}

// Others fill the disk: there is no storage until there is room again.
func TestDiskFullOfOthers(t *testing.T) {
	dir := smallDisk(t, 8<<20)
	db := openIn(t, dir, presently)
	for step := range 150 { // full chunks are to be written
		require.NoError(t, commitStep(db, "made", step, 0))
	}
	free := fillDisk(t, dir, 0)
	for range 3 {
		require.ErrorIs(t, tendAndStore(db, 1), syscall.ENOSPC)
		require.ErrorIs(t, db.Storing(), syscall.ENOSPC)
		require.ErrorIs(t, db.Unfit(), syscall.ENOSPC)
		require.ErrorContains(t, db.Storing(), "free some space")
	}
	free()
	require.NoError(t, tendAndStore(db, 1))
	require.NoError(t, db.Unfit())
}

// A full disk does not keep the database from being opened, whoever has filled it.
func TestOpenOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, 8<<20)
	data := filepath.Join(dir, "data")
	db := openIn(t, data, presently)
	for step := range 150 {
		require.NoError(t, commitStep(db, "made", step, 0))
	}
	require.Eventually(t, func() bool { return commitNew(db, 100) != nil }, time.Minute, time.Microsecond)
	require.NoError(t, db.Close())
	db = openIn(t, data, presently)
	require.NoError(t, db.Storing())
	require.NoError(t, tendAndStore(db, 1))

	free := fillDisk(t, dir, 0)
	require.NoError(t, db.Close())
	db = openIn(t, data, presently)
	require.ErrorIs(t, db.Storing(), syscall.ENOSPC)
	require.ErrorContains(t, db.Unfit(), "free some space")
	require.ErrorIs(t, tendAndStore(db, 1), syscall.ENOSPC)
	free()
	require.NoError(t, tendAndStore(db, 1))
	require.NoError(t, db.Unfit())
	require.NoError(t, db.Close())
}

// The log alone is larger than all samples may be.
func TestLogAboveRetentionBytes(t *testing.T) {
	dir := t.TempDir()
	db := openIn(t, dir, func(o *Options) { o.RetentionBytes = 256 << 10 })
	for db.epoch.store.Head().Size() <= 256<<10 {
		require.NoError(t, db.Tend())
		require.NoError(t, commitNew(db, 200))
	}
	reason := db.Tend()
	require.ErrorContains(t, reason, "the log of 0 MiB is larger")
	require.NoError(t, db.Renew(reason))
	require.NoError(t, db.Tend())
	require.NoDirExists(t, filepath.Join(dir, asideDir))
	require.NoError(t, commitNew(db, 1))
}

// Blocks beyond RetentionBytes are removed, the oldest first.
func TestBlocksBeyondRetentionBytes(t *testing.T) {
	dir := t.TempDir()
	db := openIn(t, dir, small, func(o *Options) { o.RetentionBytes = 1 << 20 })
	for step := range 8000 {
		require.NoError(t, commitStep(db, "made", step, 0))
		if step%100 == 0 { // the storage's own goroutine may be slower than the test, whose log would fill the room
			require.NoError(t, db.epoch.store.Compact(t.Context()))
		}
	}
	// The size itself is not looked at: of it the log takes most, which is cut in steps.
	require.Eventually(t, func() bool {
		blocks := db.epoch.store.Blocks()
		return len(blocks) > 0 && blocks[0].MinTime() > at(0).UnixMilli()
	}, time.Minute, 100*time.Millisecond)
	require.Equal(t, made, stored(t, db, "made", 0)[7999])
	require.Zero(t, stored(t, db, "made", 0)[0])
}

// HeldDir is removed before any samples.
func TestHeldLogIsRemoved(t *testing.T) {
	dir := t.TempDir()
	openIn(t, dir)
	require.NoError(t, os.MkdirAll(filepath.Join(HeldDir(dir), "log"), 0o700))
	removed, err := removeOldest(dir)
	require.NoError(t, err)
	require.Equal(t, asideDir, removed)
	require.NoDirExists(t, HeldDir(dir))
	require.DirExists(t, LogDir(dir))
}
