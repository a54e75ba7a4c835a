package tsdb

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/stretchr/testify/require"
)

// fixtureSteps is how many steps the undamaged directory holds: 40 minutes, so several blocks.
const fixtureSteps = 480

// fixture makes a data directory that has everything: blocks, a checkpoint, segments after it, and files
// of head chunks.
func fixture(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	db := openIn(t, dir, small)
	db.store.DisableCompactions() // by itself, for here they come at fixed steps
	for step := range fixtureSteps {
		for i, kind := range []string{"made", "ballast", "more_ballast"} {
			require.NoError(t, commitStep(db, kind, step, float64(i)/8))
		}
		if step == 200 || step == 300 || step == 380 {
			require.NoError(t, db.store.Compact(t.Context()))
		}
	}
	db.store.ForceHeadMMap()
	require.NoError(t, db.Close())
	require.Len(t, glob(t, dir, "01*"), 3)
	require.Len(t, glob(t, dir, "wal/checkpoint.*"), 1)
	require.Greater(t, len(glob(t, dir, "wal/0*")), 4)
	require.NotEmpty(t, glob(t, dir, "chunks_head/*"))
	return dir
}

// glob lists paths below dir, relative to it, in order.
func glob(t *testing.T, dir, pattern string) (rel []string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	require.NoError(t, err)
	for _, f := range found {
		r, err := filepath.Rel(dir, f)
		require.NoError(t, err)
		rel = append(rel, r)
	}
	slices.Sort(rel)
	return rel
}

// wreck is one kind of damage to a copy of the fixture.
type wreck struct {
	t   *testing.T
	dir string
}

func (w wreck) one(pattern string, i int) string {
	w.t.Helper()
	found := glob(w.t, w.dir, pattern)
	require.NotEmpty(w.t, found, pattern)
	if i < 0 {
		i += len(found)
	}
	return found[i]
}

func (w wreck) edit(rel string, change func([]byte) []byte) {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, rel))
	require.NoError(w.t, err)
	w.write(rel, change(b))
}

func (w wreck) write(rel string, b []byte) {
	w.t.Helper()
	require.NoError(w.t, os.MkdirAll(filepath.Dir(filepath.Join(w.dir, rel)), 0o777))
	require.NoError(w.t, os.WriteFile(filepath.Join(w.dir, rel), b, 0o666))
}

func (w wreck) remove(rel string) {
	w.t.Helper()
	require.NoError(w.t, os.RemoveAll(filepath.Join(w.dir, rel)))
}

func (w wreck) rename(from, to string) {
	w.t.Helper()
	require.NoError(w.t, os.Rename(filepath.Join(w.dir, from), filepath.Join(w.dir, to)))
}

func (w wreck) mkdir(rel string) {
	w.t.Helper()
	require.NoError(w.t, os.MkdirAll(filepath.Join(w.dir, rel), 0o777))
}

// Ways to break a file.
func half(b []byte) []byte { return b[:len(b)/2+1] }
func none([]byte) []byte   { return nil }
func garbage(b []byte) []byte {
	for i := range b {
		b[i] = byte(i*7 + 3)
	}
	return b
}

func garbageInside(b []byte) []byte {
	garbage(b[len(b)/3 : len(b)/3+50])
	return b
}

func garbageAtEnd(b []byte) []byte { return append(b, garbage(make([]byte, 100))...) }

// At most how many percent of the samples a damage may cost. Those since the last block are 37 %, and the
// largest block has 38 %.
const (
	nothing  = 0
	logTail  = 38
	oneBlock = 38
	allOf    = 100
)

// TestDamage breaks the data directory in every way found that makes Prometheus refuse to start or
// lose data in silence. Each must start, tell what was broken and keep it; what is left must be
// right, and stay so over two more starts that also write.
func TestDamage(t *testing.T) {
	intact := fixture(t)
	f := func(name string, lost int, paths []string, damage func(w wreck)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := wreck{t: t, dir: filepath.Join(t.TempDir(), "data")}
			require.NoError(t, os.CopyFS(w.dir, os.DirFS(intact)))
			damage(w)
			var log journal
			db := openIn(t, w.dir, small, func(o *Options) { o.Logger = log.logger(slog.LevelInfo) })
			checkDamage(t, w.dir, db.Damage(), paths, log.String())
			checkStored(t, db, lost)
			carryOn(t, w.dir, db)
		})
	}
	f("nothing", nothing, nil, func(wreck) {})
	for _, group := range []func(func(string, int, []string, func(wreck))){
		wreckSegments, wreckCheckpoints, wreckHeadChunks, wreckBlocks, wreckOthers,
	} {
		group(f)
	}
}

func wreckSegments(f func(string, int, []string, func(wreck))) {
	segment := func(i int, change func([]byte) []byte) func(wreck) {
		return func(w wreck) { w.edit(w.one("wal/0*", i), change) }
	}
	f("last segment cut short", logTail, []string{"wal/0*"}, segment(-2, func(b []byte) []byte { return b[:len(b)-7000] }))
	f("last segment empty", logTail, nil, segment(-2, none))
	f("garbage at the end of the log", nothing, []string{"wal/0*"}, segment(-1, garbageAtEnd))
	f("garbage all over a segment", logTail, []string{"wal/0*"}, segment(1, garbage))
	f("garbage in the middle of the log", logTail, []string{"wal/0*"}, segment(1, garbageInside))
	f("garbage in all segments", logTail, []string{"wal/0*"}, func(w wreck) {
		for _, s := range glob(w.t, w.dir, "wal/0*")[:3] {
			w.edit(s, garbageInside)
		}
	})
	f("a record of nonsense with a right checksum", logTail, []string{"wal/0*"}, segment(1, func([]byte) []byte { return nonsenseRecord() }))
	f("segment missing", logTail, []string{"wal/0*"}, func(w wreck) { w.remove(w.one("wal/0*", 1)) })
	f("first segment missing", logTail, []string{"wal/0*"}, func(w wreck) { w.remove(w.one("wal/0*", 0)) })
	f("last segments missing", logTail, nil, func(w wreck) {
		for _, s := range glob(w.t, w.dir, "wal/0*")[2:] {
			w.remove(s)
		}
	})
	f("all segments missing", logTail, []string{"wal/0*"}, func(w wreck) {
		for _, s := range glob(w.t, w.dir, "wal/0*") {
			w.remove(s)
		}
	})
	f("segments older than the checkpoint left over", nothing, []string{"wal/00000001"}, func(w wreck) { w.write("wal/00000001", garbage(make([]byte, 500))) })
	f("stray file with a number for a name", nothing, []string{"wal/77777777"}, func(w wreck) { w.write("wal/77777777", nil) })
	f("stray file with a short number", nothing, []string{"wal/7"}, func(w wreck) { w.write("wal/7", nil) })
	f("directory in place of a segment", logTail, []string{"wal/0*"}, func(w wreck) {
		s := w.one("wal/0*", 1)
		w.remove(s)
		w.mkdir(s)
	})
	f("log is a file", logTail, []string{"wal", "chunks_head/0*"}, func(w wreck) {
		w.remove("wal")
		w.write("wal", []byte("?"))
	})
	f("log missing", logTail, []string{"chunks_head/0*"}, func(w wreck) { w.remove("wal") })
	f("log empty", logTail, []string{"chunks_head/0*"}, func(w wreck) { w.remove("wal"); w.mkdir("wal") })
}

// nonsenseRecord is a well-formed page with a record of series that cannot be decoded.
func nonsenseRecord() []byte {
	page := make([]byte, walPageSize)
	content := []byte{1, 0, 0, 0, 0, 0, 0, 0, 1, 200, 5, 'x'} // series 1 with 712 labels, which do not follow
	page[0] = 1                                               // a full record
	page[2] = byte(len(content))
	sum := crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli))
	page[3], page[4], page[5], page[6] = byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum)
	copy(page[7:], content)
	return page
}

func wreckCheckpoints(f func(string, int, []string, func(wreck))) {
	const inside = "wal/checkpoint.*/0*"
	f("checkpoint cut short", logTail, []string{inside}, func(w wreck) { w.edit(w.one(inside, 0), func(b []byte) []byte { return b[:500] }) })
	f("checkpoint empty", logTail, nil, func(w wreck) { w.edit(w.one(inside, 0), none) })
	f("garbage all over the checkpoint", logTail, []string{inside}, func(w wreck) { w.edit(w.one(inside, 0), garbage) })
	f("garbage inside the checkpoint", logTail, []string{inside}, func(w wreck) { w.edit(w.one(inside, 0), garbageInside) })
	f("nonsense in the checkpoint", logTail, []string{inside}, func(w wreck) {
		w.edit(w.one(inside, 0), func([]byte) []byte { return nonsenseRecord() })
	})
	f("checkpoint without segments", logTail, []string{inside}, func(w wreck) { w.remove(w.one(inside, 0)) })
	f("checkpoint beginning late", logTail, []string{inside}, func(w wreck) {
		w.rename(w.one(inside, 0), filepath.Join(w.one("wal/checkpoint.*", 0), "00000001"))
	})
	f("checkpoint missing", logTail, []string{inside}, func(w wreck) { w.remove(w.one("wal/checkpoint.*", 0)) })
	f("checkpoint is a file", logTail, []string{"wal/checkpoint.*", inside}, func(w wreck) {
		c := w.one("wal/checkpoint.*", 0)
		w.remove(c)
		w.write(c, []byte("?"))
	})
	f("half a checkpoint left over", nothing, nil, func(w wreck) { w.write("wal/checkpoint.00000099.tmp/00000000", []byte("?")) })
	f("segments far ahead of the checkpoint", logTail, []string{"wal/0*", "wal/00005*"}, func(w wreck) {
		for i, s := range glob(w.t, w.dir, "wal/0*") {
			if i == 0 {
				w.remove(s)
				continue
			}
			w.rename(s, fmt.Sprintf("wal/%08d", 5000+i))
		}
	})
}

func wreckHeadChunks(f func(string, int, []string, func(wreck))) {
	file := func(i int, change func([]byte) []byte) func(wreck) {
		return func(w wreck) { w.edit(w.one("chunks_head/*", i), change) }
	}
	const files = "chunks_head/0*"
	f("head chunks cut short", nothing, []string{files}, file(0, func(b []byte) []byte { return b[:9000] }))
	f("head chunks cut within the header", nothing, []string{files}, file(-1, func(b []byte) []byte { return b[:6] }))
	f("head chunks with a wrong header", nothing, []string{files}, file(-1, func(b []byte) []byte { b[0]++; return b }))
	f("head chunks of an unknown version", nothing, []string{files}, file(-1, func(b []byte) []byte { b[4]++; return b }))
	f("head chunks of zeros", nothing, nil, file(-1, func(b []byte) []byte { return make([]byte, len(b)) }))
	f("head chunks empty", nothing, nil, file(-1, none))
	f("garbage in head chunks", nothing, []string{files}, file(0, func(b []byte) []byte { garbage(b[500:600]); return b }))
	f("garbage all over head chunks", nothing, []string{files}, file(0, garbage))
	f("a chunk of an impossible size", nothing, []string{files}, file(0, func(b []byte) []byte {
		copy(b[8+25:], []byte{0xff, 0xff, 0xff, 0xff, 0x0f})
		return b
	}))
	f("a chunk of an endless size", nothing, []string{files}, file(0, func(b []byte) []byte {
		copy(b[8+25:], []byte{0xff, 0xff, 0xff, 0xff, 0xff})
		return b
	}))
	f("gap in head chunks", nothing, []string{files}, func(w wreck) { w.rename(w.one(files, 0), "chunks_head/000001"); w.write("chunks_head/000009", nil) })
	f("empty head chunks before others", nothing, []string{files}, func(w wreck) {
		var n int
		_, err := fmt.Sscanf(w.one(files, 0), "chunks_head/%d", &n)
		require.NoError(w.t, err)
		w.write(fmt.Sprintf("chunks_head/%06d", n-1), nil)
	})
	f("head chunks under the number zero", nothing, []string{"chunks_head/000000"}, func(w wreck) {
		w.remove("chunks_head")
		w.write("chunks_head/000000", nil)
	})
	f("directory in place of head chunks", nothing, []string{"chunks_head/000001"}, func(w wreck) { w.remove("chunks_head"); w.mkdir("chunks_head/000001") })
	f("stray file in head chunks", nothing, []string{"chunks_head/5"}, func(w wreck) { w.write("chunks_head/5", []byte("?")) })
	f("head chunks missing", nothing, nil, func(w wreck) { w.remove("chunks_head") })
	f("head chunks are a file", nothing, []string{"chunks_head"}, func(w wreck) { w.remove("chunks_head"); w.write("chunks_head", []byte("?")) })
}

func wreckBlocks(f func(string, int, []string, func(wreck))) {
	const block = "01*"
	part := func(name string, change func([]byte) []byte) func(wreck) {
		return func(w wreck) { w.edit(w.one(block+"/"+name, -1), change) }
	}
	f("block with a broken meta.json", oneBlock, []string{block}, part("meta.json", half))
	f("block with an empty meta.json", oneBlock, []string{block}, part("meta.json", none))
	f("block of another version", oneBlock, []string{block}, part("meta.json", func(b []byte) []byte {
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			panic(err)
		}
		m["version"] = 2
		b, err := json.Marshal(m)
		if err != nil {
			panic(err)
		}
		return b
	}))
	f("block with half an index", oneBlock, []string{block}, part("index", half))
	f("block with an empty index", oneBlock, []string{block}, part("index", none))
	f("block with an index of garbage", oneBlock, []string{block}, part("index", garbage))
	f("block with empty chunks", oneBlock, []string{block}, part("chunks/000001", none))
	f("block with chunks of garbage", oneBlock, []string{block}, part("chunks/000001", garbage))
	f("block with broken tombstones", oneBlock, []string{block}, part("tombstones", garbage))
	for _, gone := range []string{"meta.json", "index", "chunks"} {
		f("block without "+gone, oneBlock, []string{block}, func(w wreck) { w.remove(w.one(block+"/"+gone, -1)) })
	}
	f("empty block", nothing, []string{"01ARZ3NDEKTSV4RRFFQ69G5FAV"}, func(w wreck) { w.mkdir("01ARZ3NDEKTSV4RRFFQ69G5FAV") })
	f("half-written block", nothing, nil, func(w wreck) {
		w.write("01ARZ3NDEKTSV4RRFFQ69G5FAV.tmp-for-creation/index", []byte("?"))
		w.write("01ARZ3NDEKTSV4RRFFQ69G5FAV.tmp-for-deletion/index", []byte("?"))
	})
	f("all blocks broken", 64, []string{block}, func(w wreck) {
		for _, b := range glob(w.t, w.dir, block) {
			w.edit(b+"/index", half)
		}
	})
}

func wreckOthers(f func(string, int, []string, func(wreck))) {
	f("lock left over", nothing, nil, func(w wreck) { w.write("lock", nil) })
	f("log of out-of-order samples cut short", nothing, []string{"wbl"}, func(w wreck) { w.write("wbl/00000000", []byte("\x01\x00\x09????")) })
	f("log of out-of-order samples with a gap", nothing, []string{"wbl"}, func(w wreck) { w.write("wbl/00000003", nil); w.write("wbl/00000005", nil) })
	f("log of out-of-order samples is a file", nothing, []string{"wbl"}, func(w wreck) { w.write("wbl", nil) })
	f("log of out-of-order samples empty", nothing, nil, func(w wreck) { w.write("wbl/00000000", nil) })
	f("everything at once", logTail+oneBlock, []string{"wal/0*", "wal/checkpoint.*/0*", "chunks_head/0*", "01*", "wbl"}, func(w wreck) {
		w.edit(w.one("wal/0*", 1), garbageInside)
		w.edit(w.one("wal/checkpoint.*/0*", 0), garbageInside)
		w.edit(w.one("chunks_head/0*", 0), garbage)
		w.edit(w.one("01*/index", -1), half)
		w.write("wbl", nil)
	})
	f("everything empty", allOf, []string{"01*"}, func(w wreck) {
		require.NoError(w.t, filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			return os.Truncate(path, 0)
		}))
	})
}

// checkDamage compares with the paths that must have been reported, and looks for the originals.
func checkDamage(t *testing.T, dir string, found []Damage, paths []string, log string) {
	t.Helper()
	for _, d := range found {
		require.NotEmpty(t, d.Problem)
		require.NotEmpty(t, d.Lost)
		require.Contains(t, log, "path="+d.Path+" ")
		require.True(t, slices.ContainsFunc(paths, func(pattern string) bool {
			ok, err := filepath.Match(pattern, d.Path)
			return err == nil && ok
		}), "not expected: %+v", d)
		if d.Kept != "" {
			require.True(t, strings.HasPrefix(d.Kept, asidePrefix), d.Kept)
			_, err := os.Lstat(filepath.Join(dir, d.Kept))
			require.NoError(t, err)
		} else {
			require.Equal(t, "missing", d.Problem)
		}
	}
	for _, pattern := range paths {
		require.True(t, slices.ContainsFunc(found, func(d Damage) bool {
			ok, err := filepath.Match(pattern, d.Path)
			return err == nil && ok
		}), "not found: %s in %+v", pattern, found)
	}
}

// checkStored looks for the samples that are left.
func checkStored(t *testing.T, db *DB, lost int) {
	t.Helper()
	steps := stored(t, db, "made", 0)
	n := 0
	for _, c := range steps {
		n += c
	}
	all := fixtureSteps * made
	require.GreaterOrEqual(t, n, all-all*lost/100, "%d of %d are left", n, all)
}

// carryOn writes on, in old series and new ones, and starts twice more.
func carryOn(t *testing.T, dir string, db *DB) {
	t.Helper()
	for start := range 3 {
		for i := range 60 {
			step := fixtureSteps + start*60 + i
			require.NoError(t, commitStep(db, fmt.Sprintf("new%d", start), step, 0.5+float64(start)))
			require.NoError(t, commitStep(db, "made", step, 0))
		}
		before := stored(t, db, "made", 0)
		require.NoError(t, db.Close())
		db = openIn(t, dir, small)
		require.Empty(t, db.Damage(), "after start %d", start)
		require.Equal(t, before, stored(t, db, "made", 0))
		for s := range start + 1 {
			kind := stored(t, db, fmt.Sprintf("new%d", s), 0.5+float64(s))
			require.Len(t, kind, 60)
			for step, n := range kind {
				require.Equal(t, made, n, "step %d", step)
			}
		}
	}
}

// TestCutOff looks closely at what stays when the log breaks in the middle: all before the spot, and all after
// the segment it is in, except for series whose record was in what was cut off. The numbers of those
// must not go to new series, to whom their samples would then belong.
func TestCutOff(t *testing.T) {
	const cutOffSteps = 300 // so that series have full chunks in chunks_head
	dir := t.TempDir()
	unblocked := func(o *Options) { o.WALSegmentSize = walPageSize } // all stays in the log and in memory
	db := openIn(t, dir, unblocked)
	for step := range cutOffSteps {
		require.NoError(t, commitStep(db, "made", step, 0))
		require.NoError(t, commitStep(db, "other", step, 0))
		if step >= 50 {
			require.NoError(t, commitStep(db, "late", step, 0.25))
		}
	}
	db.store.ForceHeadMMap()
	require.NoError(t, db.Close())
	require.NotEmpty(t, glob(t, dir, "chunks_head/*"))

	// Find the segment in which the late series begin, and cut it right before.
	rep := &repairer{dir: dir}
	segments, err := rep.segments(walDir)
	require.NoError(t, err)
	w := wreck{t: t, dir: dir}
	var before int
	for _, n := range segments {
		if before = seriesRecord(t, filepath.Join(dir, walDir, segmentName(n)), "late"); before > 0 {
			w.edit(filepath.Join(walDir, segmentName(n)), func(b []byte) []byte { b[before+20]++; return b })
			require.Greater(t, segments[len(segments)-1], n+1, "no segments after the broken one")
			break
		}
	}
	require.Positive(t, before)

	db = openIn(t, dir, unblocked)
	require.Len(t, db.Damage(), 1)
	require.Contains(t, db.Damage()[0].Problem, "unexpected checksum")
	steps := stored(t, db, "made", 0)
	for step := range 50 {
		require.Equal(t, made, steps[step], "step %d is before the broken spot", step)
	}
	for step := cutOffSteps - 10; step < cutOffSteps; step++ {
		require.Equal(t, made, steps[step], "step %d is after it", step)
	}
	require.Empty(t, stored(t, db, "late", 0.25))

	for start := range 4 {
		for i := range 10 {
			require.NoError(t, commitStep(db, fmt.Sprintf("new%d", start), cutOffSteps+10*start+i, 0.5))
		}
		require.NoError(t, db.Close())
		db = openIn(t, dir, unblocked)
		require.Empty(t, db.Damage())
		for s := range start + 1 {
			require.Len(t, stored(t, db, fmt.Sprintf("new%d", s), 0.5), 10, "start %d", start)
		}
		require.Equal(t, steps, stored(t, db, "made", 0))
	}
}

// seriesRecord returns where the record begins that introduces the series of a kind, zero if not here.
func seriesRecord(t *testing.T, path, kind string) int {
	t.Helper()
	segment, err := wlog.OpenReadSegment(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, segment.Close()) }()
	reader, dec := wlog.NewReader(wlog.NewSegmentBufReader(segment)), newRecordDecoder()
	for begin := int64(0); reader.Next(); begin = reader.Offset() {
		dec.series = nil
		require.NoError(t, dec.decode(reader.Record()))
		if len(dec.series) > 0 && dec.series[0].Labels.Get("__name__") == kind {
			return int(begin)
		}
	}
	require.NoError(t, reader.Err())
	return 0
}

// Directories set aside do not pile up.
func TestAsideIsBounded(t *testing.T) {
	dir := t.TempDir()
	var log journal
	var kept []string
	for range keepAside + 2 {
		db := openIn(t, dir, func(o *Options) { o.Logger = log.logger(slog.LevelInfo) })
		add(t, db, "up", at(0), 1)
		require.NoError(t, db.Close())
		wreck{t: t, dir: dir}.edit("wal/00000000", garbage)
		require.LessOrEqual(t, len(glob(t, dir, asidePrefix+"*")), keepAside)
		kept = append(kept, glob(t, dir, asidePrefix+"*")...)
	}
	db := openIn(t, dir, func(o *Options) { o.Logger = log.logger(slog.LevelInfo) })
	require.Len(t, glob(t, dir, asidePrefix+"*"), keepAside)
	require.NotEqual(t, kept[0], glob(t, dir, asidePrefix+"*")[0], "the oldest goes")
	require.Contains(t, log.String(), "Deleting damaged data that an earlier start set aside")
	require.Contains(t, log.String(), kept[0])
	require.NoFileExists(t, filepath.Join(dir, filepath.Base(kept[0])))
	require.NotEmpty(t, db.Damage())
}

// TestLastResort: something is wrong that no check knows. All goes aside, the lock stays.
func TestLastResort(t *testing.T) {
	dir := t.TempDir()
	db := openIn(t, dir)
	add(t, db, "up", at(0), 1)
	require.NoError(t, db.Close())
	// A block that exists only as a dangling link passes as none, and a log that is one cannot be made.
	require.NoError(t, os.RemoveAll(filepath.Join(dir, chunksDir)))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, chunksDir)))

	db = openIn(t, dir)
	require.Len(t, db.Damage(), 1)
	d := db.Damage()[0]
	require.Equal(t, ".", d.Path)
	require.Equal(t, "all samples taken before this start", d.Lost)
	require.DirExists(t, filepath.Join(dir, d.Kept, walDir))
	require.Empty(t, instant(t, db, "up", at(0)))
	add(t, db, "up", at(0), 2)
	require.NoError(t, db.Close())

	db = openIn(t, dir)
	require.Empty(t, db.Damage())
	require.EqualValues(t, 2, instant(t, db, "up", at(0))[0].Value)
}

// What the storage repairs by itself is reported, too.
func TestRepairByStorage(t *testing.T) {
	reg := prometheus.NewRegistry()
	count := prometheus.NewCounter(prometheus.CounterOpts{Name: "prometheus_tsdb_wal_corruptions_total"})
	reg.MustRegister(count)
	rep := &repairer{log: slog.New(slog.DiscardHandler)}
	rep.afterOpen(reg)
	require.Empty(t, rep.found)
	count.Inc()
	rep.afterOpen(reg)
	require.Len(t, rep.found, 1)
	require.Empty(t, rep.found[0].Kept)
}
