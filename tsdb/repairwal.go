package tsdb

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/tombstones"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

// The log is a directory of numbered segments, preceded by at most one checkpoint.N that stands for the
// segments up to N. Records do not cross segments, so a broken segment is cut off where it breaks
// and the ones after it stay: for autoscaling the newest samples matter most. (The storage's own repair
// deletes them. And over a broken checkpoint it deletes all segments but one, then refuses to start.)
//
// Keeping what comes after a gap has one trap. Samples refer to series by numbers that the log itself
// gave out; once the record that gave out a number is lost, the storage would give it out
// again, and the next replay would file the old samples under the new series. So whenever something is cut
// out, a record is put in that reserves all numbers that can have been given out: see reserveRefs.
const (
	checkpointPrefix = "checkpoint."

	// maxGap is how many missing segments are replaced by empty ones. The storage wants the numbers
	// without gaps; a larger gap is rather a stray file than a lost one.
	maxGap = 100

	// refMargin is how many numbers above the highest one seen may have been given out in what was lost.
	// There are 2^40 in all.
	refMargin = 1 << 24
)

// checkWAL makes the write-ahead log readable from end to end.
func (r *repairer) checkWAL() error {
	if _, err := os.Stat(r.path(walDir)); errors.Is(err, os.ErrNotExist) {
		r.noLog = true
		return nil
	}
	if err := r.clearStrays(walDir); err != nil {
		return err
	}
	first, err := r.checkCheckpoint()
	if err != nil {
		return err
	}
	if err := r.checkSegments(walDir, first); err != nil {
		return err
	}
	return r.reserveRefs()
}

// checkWBL moves the log of out-of-order samples aside if it cannot be read. This package writes none; a
// Prometheus that had the directory before may have.
func (r *repairer) checkWBL() error {
	segments, err := r.segments(wblDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for i, n := range segments {
		problem := error(nil)
		if n != segments[0]+i {
			problem = fmt.Errorf("segment %d is missing", segments[0]+i)
		} else if _, problem, err = r.scan(filepath.Join(wblDir, segmentName(n))); err != nil {
			return err
		}
		if problem != nil {
			_, err := r.move(wblDir, problem.Error(), "out-of-order samples written by another program")
			return err
		}
	}
	return nil
}

// clearStrays moves entries aside over which the storage would stumble: files and directories that have
// the name of the other, and numbers it would write differently.
func (r *repairer) clearStrays(dir string) error {
	entries, err := os.ReadDir(r.path(dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		badSegment := err == nil && (!e.Type().IsRegular() || segmentName(n) != e.Name())
		badCheckpoint := strings.HasPrefix(e.Name(), checkpointPrefix) && !e.IsDir()
		if badSegment || badCheckpoint {
			if _, err := r.move(filepath.Join(dir, e.Name()), "not a part of a log", "nothing that could be read"); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkCheckpoint mends the newest checkpoint and returns the number of the segment that follows it.
func (r *repairer) checkCheckpoint() (next int, err error) {
	segments, err := r.segments(walDir)
	if err != nil {
		return 0, err
	}
	dir, n, err := wlog.LastCheckpoint(r.path(walDir))
	if errors.Is(err, record.ErrNotFound) {
		if len(segments) == 0 || segments[0] == 0 {
			r.noLog = len(segments) == 0
			return 0, nil
		}
		// The log does not begin at its beginning, so there was a checkpoint.
		n = segments[0] - 1
		dir = wlog.CheckpointDir(r.path(walDir), n)
		if err := os.Mkdir(dir, 0o777); err != nil {
			return 0, err
		}
	} else if err != nil {
		return 0, err
	}
	rel := filepath.Join(walDir, filepath.Base(dir))
	if err := r.clearStrays(rel); err != nil {
		return 0, err
	}
	if err := r.checkSegments(rel, 0); err != nil {
		return 0, err
	}
	return n + 1, r.dropSuperseded(segments, n)
}

// dropSuperseded moves segments aside that a checkpoint stands for, if they would not connect to those
// that follow it. (Otherwise they are harmless: the storage skips them.)
func (r *repairer) dropSuperseded(segments []int, checkpoint int) error {
	after, _ := slices.BinarySearch(segments, checkpoint+1)
	old := segments[:after]
	if len(old) == 0 || old[len(old)-1] == checkpoint && old[0]+len(old)-1 == checkpoint {
		return nil
	}
	for _, n := range old {
		if _, err := r.move(filepath.Join(walDir, segmentName(n)), "older than the checkpoint", "nothing: the checkpoint stands for it"); err != nil {
			return err
		}
	}
	return nil
}

// checkSegments makes the segments of dir from number first on an unbroken, readable row. A checkpoint
// and a log after a checkpoint have at least one segment.
func (r *repairer) checkSegments(dir string, first int) error {
	segments, err := r.segments(dir)
	if err != nil {
		return err
	}
	begin, _ := slices.BinarySearch(segments, first)
	segments = segments[begin:]
	next := first
	for i, n := range segments {
		if n-next > maxGap {
			if err := r.moveSegments(dir, segments[i:], fmt.Sprintf("segments from %d on are missing", next)); err != nil {
				return err
			}
			break
		}
		if err := r.fillGap(dir, next, n); err != nil {
			return err
		}
		if err := r.checkSegment(filepath.Join(dir, segmentName(n))); err != nil {
			return err
		}
		next = n + 1
	}
	if next == first && (dir != walDir || first > 0) {
		return r.fillGap(dir, first, first+1)
	}
	return nil
}

// fillGap puts empty segments in the place of missing ones, up to and without end.
func (r *repairer) fillGap(dir string, begin, end int) error {
	for n := begin; n < end; n++ {
		rel := filepath.Join(dir, segmentName(n))
		if err := os.WriteFile(r.path(rel), nil, 0o666); err != nil {
			return err
		}
		r.report(Damage{Path: rel, Problem: "missing", Lost: "the series and samples it held"})
		r.mended = rel
	}
	return nil
}

func (r *repairer) moveSegments(dir string, segments []int, problem string) error {
	for _, n := range segments {
		if _, err := r.move(filepath.Join(dir, segmentName(n)), problem, "the series and samples it held"); err != nil {
			return err
		}
	}
	return nil
}

// checkSegment cuts a segment off where it breaks.
func (r *repairer) checkSegment(rel string) error {
	good, problem, err := r.scan(rel)
	if err != nil || problem == nil {
		return err
	}
	info, err := os.Stat(r.path(rel))
	if err != nil {
		return err
	}
	kept, err := r.move(rel, problem.Error(), fmt.Sprintf("its last %d bytes of %d", max(0, info.Size()-good), info.Size()))
	if err != nil {
		return err
	}
	r.mended = rel
	return copyHead(r.path(rel), r.path(kept), good)
}

// scan reads a segment as the storage will and returns how many bytes of it are good.
func (r *repairer) scan(rel string) (good int64, problem, err error) {
	segment, err := wlog.OpenReadSegment(r.path(rel))
	if err != nil {
		return 0, nil, err
	}
	reader := wlog.NewReader(wlog.NewSegmentBufReader(segment))
	dec := newRecordDecoder()
	for problem == nil && reader.Next() {
		if problem = dec.decode(reader.Record()); problem == nil {
			good = reader.Offset()
		}
	}
	if problem == nil {
		problem = reader.Err()
	}
	var corruption *wlog.CorruptionErr
	if errors.As(problem, &corruption) {
		problem = fmt.Errorf("at byte %d: %w", corruption.Offset, corruption.Err)
	}
	r.highestRef = max(r.highestRef, dec.highestRef)
	return good, problem, segment.Close()
}

// copyHead writes the first n bytes of src to dst and fills the last page up with zeros, which end it.
func copyHead(dst, src string, n int64) (err error) {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	zeros := make([]byte, (walPageSize-n%walPageSize)%walPageSize)
	return appendTo(dst, io.MultiReader(io.LimitReader(in, n), strings.NewReader(string(zeros))))
}

// appendTo appends to a file, made if it is not there, and waits for the disk.
func appendTo(path string, content io.Reader) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return errors.Join(err, out.Sync(), out.Close())
}

// reserveRefs puts a record into a mended file that keeps the storage from giving out the numbers of
// lost series again. A deletion does it: it names a series, and the storage counts on from the highest
// number named. It deletes nothing, as no series has that number.
func (r *repairer) reserveRefs() error {
	if r.mended == "" {
		return nil
	}
	// A name that the storage clears away should the process end here.
	scratch, err := os.MkdirTemp(r.dir, checkpointPrefix+"mending-*"+wlog.CheckpointTempFileSuffix)
	if err != nil {
		return err
	}
	page, err := reservation(scratch, r.highestRef+refMargin)
	if err == nil {
		err = appendTo(r.path(r.mended), strings.NewReader(string(page)))
	}
	return errors.Join(err, os.RemoveAll(scratch))
}

// reservation returns a page of log with that record.
func reservation(scratch string, ref uint64) ([]byte, error) {
	var enc record.Encoder
	rec := enc.Tombstones([]tombstones.Stone{{Ref: storage.SeriesRef(ref), Intervals: tombstones.Intervals{{Mint: 0, Maxt: 0}}}}, nil)
	log, err := wlog.NewSize(nil, nil, scratch, walPageSize, compression.None)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(log.Log(rec), log.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(scratch, segmentName(0)))
}

// segments lists the numbers of the segments in a directory in ascending order.
func (r *repairer) segments(dir string) ([]int, error) {
	entries, err := os.ReadDir(r.path(dir))
	if err != nil {
		return nil, err
	}
	var ns []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			ns = append(ns, n)
		}
	}
	slices.Sort(ns)
	return ns, nil
}

func segmentName(n int) string { return wlog.SegmentName("", n) }
