package remotewrite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

// heldLog is a directory of hard links that keep the segments of a write-ahead log after the storage has removed them.
//
// It has a directory for each log of the storage, called a generation. The storage starts a new log when it sets its
// samples aside. A generation has a checkpoint with the labels of series, and the segments after it.
type heldLog struct {
	wal string // the storage's log
	dir string
}

// markerFile is a file in the storage's log with the name of its generation. The storage moves it with the log.
const markerFile = "remote-write"

// hold links new segments of the log. It must run more often than the storage removes segments, which it keeps for
// minutes.
func (l heldLog) hold() error {
	generation, err := l.current()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the storage starts a new log
	}
	if err != nil {
		return err
	}
	first, last, err := wlog.Segments(l.wal)
	if err != nil || last < 0 {
		return err
	}
	_, held, err := wlog.Segments(filepath.Join(l.dir, generation))
	if err != nil {
		return err
	}
	if held >= 0 && first > held+1 {
		// The storage removed segments that were not linked.
		if err := os.RemoveAll(filepath.Join(l.dir, generation)); err != nil {
			return err
		}
		held = -1
	}
	if held < 0 {
		checkpoint, n, err := wlog.LastCheckpoint(l.wal)
		switch {
		case errors.Is(err, record.ErrNotFound):
		case err != nil:
			return err
		default:
			if err := l.link(checkpoint, generation); err != nil {
				return err
			}
			first = max(first, n+1)
		}
		held = first - 1
	}
	if err := os.MkdirAll(filepath.Join(l.dir, generation), 0o777); err != nil {
		return err
	}
	for n := max(first, held+1); n <= last; n++ {
		to := wlog.SegmentName(filepath.Join(l.dir, generation), n)
		if err := os.Link(wlog.SegmentName(l.wal, n), to); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// current returns the generation of the storage's log. It creates one if the log has none.
func (l heldLog) current() (string, error) {
	marker := filepath.Join(l.wal, markerFile)
	b, err := os.ReadFile(marker)
	generation := string(b)
	if err == nil && generation != "" && filepath.IsLocal(generation) {
		return generation, os.MkdirAll(filepath.Join(l.dir, generation), 0o777)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if _, err := os.Stat(l.wal); err != nil {
		return "", err
	}
	// Names are in order of time, also if the clock was set back.
	generation = time.Now().UTC().Format("20060102T150405.000")
	if all, err := l.generations(); err != nil {
		return "", err
	} else if len(all) > 0 && generation <= all[len(all)-1] {
		generation = all[len(all)-1] + "a"
	}
	if err := os.MkdirAll(filepath.Join(l.dir, generation), 0o777); err != nil {
		return "", err
	}
	return generation, os.WriteFile(marker, []byte(generation), 0o600)
}

// generations returns the held generations, the oldest first.
func (l heldLog) generations() ([]string, error) {
	entries, err := os.ReadDir(l.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all, err
}

// link copies a checkpoint into a generation with hard links.
func (l heldLog) link(checkpoint, generation string) error {
	next := filepath.Join(l.dir, generation, "next")
	if err := errors.Join(os.RemoveAll(next), os.MkdirAll(next, 0o777)); err != nil {
		return err
	}
	files, err := os.ReadDir(checkpoint)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.Link(filepath.Join(checkpoint, f.Name()), filepath.Join(next, f.Name())); err != nil {
			return err
		}
	}
	to := filepath.Join(l.dir, generation, filepath.Base(checkpoint))
	if err := os.Rename(next, to); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	return nil
}

// release removes segments that precede a position and are no longer in the storage's log.
func (l heldLog) release(sent position) error {
	all, err := l.generations()
	if err != nil {
		return err
	}
	for _, generation := range all {
		if generation < sent.Generation {
			if err := os.RemoveAll(filepath.Join(l.dir, generation)); err != nil {
				return err
			}
		}
	}
	current, err := l.current()
	if err != nil || current != sent.Generation {
		return err
	}
	checkpoint, n, err := wlog.LastCheckpoint(l.wal)
	if errors.Is(err, record.ErrNotFound) || err == nil && sent.Segment <= n {
		return nil
	}
	if err != nil {
		return err
	}
	return l.rebase(checkpoint, n, filepath.Join(l.dir, current))
}

// releaseAll removes all segments that the storage no longer has.
func (l heldLog) releaseAll() error {
	generation, err := l.current()
	if err != nil {
		return err
	}
	begin := position{Generation: generation}
	switch _, n, err := wlog.LastCheckpoint(l.wal); {
	case err == nil:
		begin.Segment = n + 1
	case !errors.Is(err, record.ErrNotFound):
		return err
	}
	return l.release(begin)
}

// rebase replaces the checkpoint of a generation with the storage's last one, and removes the segments before it.
func (l heldLog) rebase(checkpoint string, n int, generation string) error {
	if _, held, err := wlog.LastCheckpoint(generation); err == nil && held >= n {
		return nil
	}
	if err := l.link(checkpoint, filepath.Base(generation)); err != nil {
		return err
	}
	if err := wlog.DeleteCheckpoints(generation, n); err != nil {
		return err
	}
	first, last, err := wlog.Segments(generation)
	if err != nil {
		return err
	}
	for ; first >= 0 && first <= min(n, last); first++ {
		if err := os.Remove(wlog.SegmentName(generation, first)); err != nil {
			return err
		}
	}
	return nil
}

// alone returns the size of the files that only this log has, and the age of the oldest segment among them.
func (l heldLog) alone(now time.Time) (bytes int64, age time.Duration, err error) {
	err = filepath.WalkDir(l.dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		of, ok := info.Sys().(*syscall.Stat_t)
		if !ok || of.Nlink > 1 {
			return nil
		}
		bytes += info.Size()
		if !strings.Contains(path, "checkpoint.") {
			age = max(age, now.Sub(info.ModTime()))
		}
		return nil
	})
	return bytes, age, err
}

// first returns the oldest held position.
func (l heldLog) first() (position, error) {
	all, err := l.generations()
	if err != nil {
		return position{}, err
	}
	for _, generation := range all {
		first, last, err := wlog.Segments(filepath.Join(l.dir, generation))
		if err != nil {
			return position{}, err
		}
		if last >= 0 {
			return position{Generation: generation, Segment: first}, nil
		}
	}
	return position{}, fmt.Errorf("the held log: %w", fs.ErrNotExist)
}

// end returns the position after the last stored record.
func (l heldLog) end() (position, error) {
	generation, err := l.current()
	if err != nil {
		return position{}, err
	}
	_, last, err := wlog.Segments(filepath.Join(l.dir, generation))
	if err != nil {
		return position{}, err
	}
	if last < 0 {
		return position{Generation: generation}, nil
	}
	segment, err := wlog.OpenReadSegment(wlog.SegmentName(filepath.Join(l.dir, generation), last))
	if err != nil {
		return position{}, err
	}
	p := position{Generation: generation, Segment: last}
	for r := wlog.NewReader(wlog.NewSegmentBufReader(segment)); r.Next(); {
		p.Record++
	}
	return p, segment.Close()
}

// exists returns an error if the segment of a position is no longer held.
func (l heldLog) exists(at position) error {
	all, err := l.generations()
	if err != nil {
		return err
	}
	for _, generation := range all {
		if generation == at.Generation {
			first, last, err := wlog.Segments(filepath.Join(l.dir, generation))
			if err == nil && (last < 0 || at.Segment < first) {
				err = fmt.Errorf("segment %d: %w", at.Segment, fs.ErrNotExist)
			}
			return err
		}
	}
	return fmt.Errorf("log %s: %w", at.Generation, fs.ErrNotExist)
}

// follows returns the start of the segment after a position's: the next one of its generation, or the first one of the
// next generation. It returns false if there is none yet. The position's segment no longer grows if there is one.
func (l heldLog) follows(at position) (position, bool, error) {
	if err := l.exists(at); err != nil {
		return position{}, false, err
	}
	if _, err := os.Stat(wlog.SegmentName(filepath.Join(l.dir, at.Generation), at.Segment+1)); err == nil {
		return position{Generation: at.Generation, Segment: at.Segment + 1}, true, nil
	}
	all, err := l.generations()
	if err != nil {
		return position{}, false, err
	}
	for _, generation := range all {
		if generation <= at.Generation {
			continue
		}
		if first, last, err := wlog.Segments(filepath.Join(l.dir, generation)); err == nil && last >= 0 {
			return position{Generation: generation, Segment: first}, true, nil
		}
	}
	return position{}, false, nil
}
