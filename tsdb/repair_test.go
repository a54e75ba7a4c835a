package tsdb

import (
	"fmt"
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
// right, and stay so over more starts that also write.
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
			carryOn(t, w.dir, db, min(2, 1+lost))
		})
	}
	f("nothing", nothing, nil, func(wreck) {})
	for _, group := range []func(func(string, int, []string, func(wreck))){
		wreckSegments, wreckCheckpoints, wreckHeadChunks, wreckBlocks, wreckOthers,
	} {
		group(f)
	}
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

const carrySteps = 20

// carryOn writes on, in old series and new ones, and starts again, once or more often.
func carryOn(t *testing.T, dir string, db *DB, starts int) {
	t.Helper()
	for start := range starts {
		for i := range carrySteps {
			step := fixtureSteps + start*carrySteps + i
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
			require.Len(t, kind, carrySteps)
			for step, n := range kind {
				require.Equal(t, made, n, "step %d", step)
			}
		}
	}
}

// TestCutOff looks closely at what stays when the log breaks in the middle: all before the spot, and all after
// the segment it is in, except for series whose record was in what was cut off. The numbers of those
// must not go to new series, to whom their samples and chunks would then belong. (They would: without
// reserveRefs this test reads samples of the late series from new ones.)
func TestCutOff(t *testing.T) {
	t.Run("broken", func(t *testing.T) {
		testCutOff(t, []string{"wal/0*"}, func(b []byte, record int) []byte { b[record+20]++; return b })
	})
	t.Run("emptied", func(t *testing.T) { // which cannot be told from a segment never used
		testCutOff(t, nil, func([]byte, int) []byte { return nil })
	})
}

const cutOffSteps = 300 // so many that all series have full chunks in chunks_head

func testCutOff(t *testing.T, paths []string, damage func(b []byte, record int) []byte) {
	unblocked := func(o *Options) { o.WALSegmentSize = walPageSize } // all stays in the log and in memory
	w := wreck{t: t, dir: t.TempDir()}
	db := openIn(t, w.dir, unblocked)
	for step := range cutOffSteps {
		require.NoError(t, commitStep(db, "made", step, 0))
		require.NoError(t, commitStep(db, "other", step, 0.75))
		if step >= 50 {
			require.NoError(t, commitStep(db, "late", step, 0.25))
		}
	}
	db.store.ForceHeadMMap()
	require.NoError(t, db.Close())
	require.NotEmpty(t, glob(t, w.dir, "chunks_head/*"))

	// Find the segment in which the late series begin.
	segments := glob(t, w.dir, "wal/0*")
	i := slices.IndexFunc(segments, func(s string) bool { return seriesRecord(t, filepath.Join(w.dir, s), "late") > 0 })
	require.Positive(t, i)
	require.Less(t, i, len(segments)-2, "no segments after the broken one")
	record := seriesRecord(t, filepath.Join(w.dir, segments[i]), "late")
	w.edit(segments[i], func(b []byte) []byte { return damage(b, record) })

	var log journal
	db = openIn(t, w.dir, unblocked, func(o *Options) { o.Logger = log.logger(slog.LevelInfo) })
	checkDamage(t, w.dir, db.Damage(), paths, log.String())
	steps := stored(t, db, "made", 0)
	for step := range 40 {
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
		db = openIn(t, w.dir, unblocked)
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
	rep := newRepairer(t.TempDir(), slog.New(slog.DiscardHandler))
	rep.afterOpen(reg)
	require.Empty(t, rep.found)
	count.Inc()
	rep.afterOpen(reg)
	require.Len(t, rep.found, 1)
	require.Empty(t, rep.found[0].Kept)
}
