package tsdb

import (
	"bytes"
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
// deletes them. And of a broken checkpoint it takes the segment's number for one of the log's, deletes all
// segments with higher ones, and then refuses to start.)
//
// Losing a part has one trap. Samples and head chunks refer to series by numbers that the log itself gave
// out; once the record that gave out a number is lost, the storage would give it out again, and
// the next replay would file old samples under a new series. (The storage's own repair falls into it.) So
// numbers that can have been given out are reserved: see reserveRefs.
const (
	checkpointPrefix = "checkpoint."

	// maxGap is how many missing segments are replaced by empty ones. The storage wants the numbers
	// without gaps; a larger gap is rather a stray file than a lost one.
	maxGap = 100

	// refMargin is how many numbers above the highest one seen may have been given out in what was lost.
	// There are 2^40 in all.
	refMargin = 1 << 24

	lostSegment = "the series and samples it held"
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
	return r.checkEmptyCheckpoint(first - 1)
}

// checkEmptyCheckpoint reports a checkpoint without content, which is well when there were no series, but not
// when the segments after it refer to some. One page of zeros makes the difference at the next start.
func (r *repairer) checkEmptyCheckpoint(n int) error {
	rel := filepath.Join(walDir, checkpointName(n), segmentName(0))
	info, err := os.Stat(r.path(rel))
	if errors.Is(err, os.ErrNotExist) || err == nil && (info.Size() > 0 || r.dec.unknown == 0 || r.cut) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := r.move(rel, "empty, though the log goes on with series it does not introduce", lostSegment); err != nil {
		return err
	}
	r.cut = true
	return appendTo(r.path(rel), zeros(walPageSize))
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
		problem := fmt.Errorf("segment %d is missing", segments[0]+i)
		if n == segments[0]+i {
			if _, problem, err = r.scan(filepath.Join(wblDir, segmentName(n))); err != nil {
				return err
			}
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

// fillGap puts segments of zeros in the place of missing ones, up to and without end.
func (r *repairer) fillGap(dir string, begin, end int) error {
	for n := begin; n < end; n++ {
		rel := filepath.Join(dir, segmentName(n))
		if err := appendTo(r.path(rel), zeros(walPageSize)); err != nil {
			return err
		}
		r.report(Damage{Path: rel, Problem: "missing", Lost: lostSegment})
		r.cut = true
	}
	return nil
}

func (r *repairer) moveSegments(dir string, segments []int, problem string) error {
	r.cut = true
	for _, n := range segments {
		if _, err := r.move(filepath.Join(dir, segmentName(n)), problem, lostSegment); err != nil {
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
	// Copied first, so that losing power now costs nothing more. The name is none that the storage looks at.
	head := r.path(rel) + ".mending"
	if err := os.RemoveAll(head); err != nil {
		return err
	}
	if err := copyHead(head, r.path(rel), good); err != nil {
		return err
	}
	if _, err := r.move(rel, problem.Error(), fmt.Sprintf("its last %d bytes of %d", max(0, info.Size()-good), info.Size())); err != nil {
		return err
	}
	r.cut = true
	return os.Rename(head, r.path(rel))
}

// scan reads a segment as the storage will and returns how many bytes of it are good.
func (r *repairer) scan(rel string) (good int64, problem, err error) {
	segment, err := wlog.OpenReadSegment(r.path(rel))
	if err != nil {
		return 0, nil, err
	}
	reader := wlog.NewReader(wlog.NewSegmentBufReader(segment))
	for problem == nil && reader.Next() {
		if problem = r.dec.decode(reader.Record()); problem == nil {
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
	return good, problem, segment.Close()
}

// copyHead writes the first n bytes of src to dst and fills the last page, at least one, up with zeros, which
// end it.
func copyHead(dst, src string, n int64) (err error) {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	pages := max(1, (n+walPageSize-1)/walPageSize)
	return appendTo(dst, io.MultiReader(io.LimitReader(in, n), zeros(pages*walPageSize-n)))
}

func zeros(n int64) io.Reader { return bytes.NewReader(make([]byte, n)) }

// appendTo appends to a file, made if it is not there, and waits for the disk.
func appendTo(path string, content io.Reader) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return errors.Join(err, out.Sync(), out.Close())
}

// reserveRefs adds a segment with a record that keeps the storage from giving out the numbers of lost series
// again. A deletion does it: it names a series, and the storage counts on from the highest number named.
// It deletes nothing, as no series has that number.
func (r *repairer) reserveRefs() error {
	if r.noLog || !r.cut && r.dec.used <= r.dec.given {
		return nil
	}
	segments, err := r.segments(walDir)
	if err != nil {
		return err
	}
	// A name that the storage clears away should the process end here.
	scratch, err := os.MkdirTemp(r.dir, checkpointPrefix+"mending-*"+wlog.CheckpointTempFileSuffix)
	if err != nil {
		return err
	}
	page, err := reservation(scratch, max(r.dec.given, r.dec.used)+refMargin)
	if err == nil {
		next := segments[len(segments)-1] + 1
		err = appendTo(r.path(filepath.Join(walDir, segmentName(next))), bytes.NewReader(page))
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

func segmentName(n int) string    { return wlog.SegmentName("", n) }
func checkpointName(n int) string { return filepath.Base(wlog.CheckpointDir("", n)) }
