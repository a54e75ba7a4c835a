package tsdb

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fixtureSteps is how many steps the undamaged directory holds: 40 minutes, so several blocks.
const fixtureSteps = 480

// roundSteps is how many steps each round of TestRandomDamage writes.
const roundSteps = 20

// kinds of series, with the step of their first sample, and what tells their values apart.
var kinds = map[string]struct {
	first int
	shift float64
}{
	"made": {0, 0},
	"late": {395, 1. / 8}, // introduced by the log after the checkpoint, with the highest numbers
	"new0": {fixtureSteps, 2. / 8},
	"new1": {fixtureSteps + roundSteps, 3. / 8},
	"new2": {fixtureSteps + 2*roundSteps, 4. / 8},
	"new3": {fixtureSteps + 3*roundSteps, 5. / 8},

	"ballast":      {0, 6. / 8}, // makes more segments
	"more_ballast": {0, 7. / 8},
}

// fixture makes a data directory that has everything: blocks, a checkpoint, segments after it, and files
// of head chunks.
func fixture(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	db := openIn(t, dir, small)
	db.epoch.store.DisableCompactions() // by itself, for here they come at fixed steps
	for step := range fixtureSteps {
		for _, kind := range []string{"made", "late", "ballast", "more_ballast"} {
			if k := kinds[kind]; step >= k.first {
				require.NoError(t, commitStep(db, kind, step, k.shift))
			}
		}
		if step == 200 || step == 300 || step == 380 {
			require.NoError(t, db.epoch.store.Compact(t.Context()))
		}
	}
	db.epoch.store.ForceHeadMMap()
	require.NoError(t, db.Close())
	require.Len(t, glob(t, dir, "01*"), 3)
	require.Len(t, glob(t, dir, "wal/checkpoint.*"), 1)
	require.Greater(t, len(glob(t, dir, "wal/0*")), 4)
	require.NotEmpty(t, glob(t, dir, "chunks_head/*"))
	return dir
}

// glob lists paths below dir, relative to it, in order.
func glob(t *testing.T, dir string, patterns ...string) (rel []string) {
	t.Helper()
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		require.NoError(t, err)
		for _, f := range found {
			r, err := filepath.Rel(dir, f)
			require.NoError(t, err)
			rel = append(rel, r)
		}
	}
	slices.Sort(rel)
	return rel
}

// wreck is a copy of the fixture to be damaged.
type wreck struct {
	t   *testing.T
	dir string
}

func newWreck(t *testing.T, intact string) wreck {
	w := wreck{t: t, dir: filepath.Join(t.TempDir(), "data")}
	require.NoError(t, os.CopyFS(w.dir, os.DirFS(intact)))
	return w
}

// one returns the i-th path of a pattern, from the end when i is negative.
func (w wreck) one(pattern string, i int) string {
	w.t.Helper()
	found := glob(w.t, w.dir, pattern)
	return found[(i+len(found))%len(found)]
}

func (w wreck) edit(rel string, change func([]byte) []byte) {
	w.t.Helper()
	w.write(rel, change(w.read(rel)))
}

func (w wreck) read(rel string) []byte {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, rel))
	require.NoError(w.t, err)
	return b
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

// Ways to break a file.
func half(b []byte) []byte         { return b[:len(b)/2+1] }
func none([]byte) []byte           { return nil }
func garbageAtEnd(b []byte) []byte { return append(b, bytes.Repeat([]byte{3, 10, 17}, 30)...) }
func bitInside(b []byte) []byte    { b[len(b)/3] ^= 4; return b }

// random does one damage to a file of the log, of its checkpoint or of the head chunks, and returns what it was.
func (w wreck) random(r *rand.Rand) string {
	part := []string{"wal/0*", "wal/0*", "wal/checkpoint.*/0*", "chunks_head/0*"}[r.IntN(4)]
	files := glob(w.t, w.dir, part)
	if len(files) == 0 {
		return "none left of " + part
	}
	n := r.IntN(len(files))
	file, other, last := files[n], files[r.IntN(len(files))], files[len(files)-1]
	b := w.read(file)
	i := r.IntN(len(b) + 1)
	ways := []struct {
		name string
		do   func()
	}{
		{"flip a bit of", func() { b[min(i, len(b)-1)] ^= 1 << r.IntN(8); w.write(file, b) }},
		{"zeros in", func() { clear(b[i:min(len(b), i+r.IntN(2*walPageSize))]); w.write(file, b) }},
		{"a page of zeros in", func() { i -= i % walPageSize; clear(b[i:min(len(b), i+walPageSize)]); w.write(file, b) }},
		{"cut off", func() { w.write(file, b[:i]) }},
		{"empty", func() { w.write(file, nil) }},
		{"delete", func() { w.remove(file) }},
		{"delete all from", func() {
			for _, f := range files[n:] {
				w.remove(f)
			}
		}},
		{"swap " + other + " and", func() { w.write(file, w.read(other)); w.write(other, b) }},
		{"write over " + other, func() { w.write(other, b) }},
		{"append garbage to", func() { w.write(file, garbageAtEnd(b)) }},
		{"append a copy of", func() { w.write(following(w.t, last), b) }},
	}
	way := ways[r.IntN(len(ways))]
	if len(b) > 0 {
		way.do()
	}
	return fmt.Sprintf("%s %s at %d of %d bytes", way.name, file, i, len(b))
}

// following returns the path of the file with the next number.
func following(t *testing.T, path string) string {
	name := filepath.Base(path)
	n, err := strconv.Atoi(name)
	require.NoError(t, err)
	return filepath.Join(filepath.Dir(path), fmt.Sprintf("%0*d", len(name), n+1))
}

// storedKinds checks that all samples are what was written, and returns how many there are of each kind.
func storedKinds(t *testing.T, db *DB) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for kind, k := range kinds {
		for _, n := range stored(t, db, kind, k.shift) {
			counts[kind] += n
		}
	}
	return counts
}

// TestRandomDamage breaks the data, starts, reads, writes on in old series and new ones, and starts again, with more
// damage or without. It always starts, and all that it reads is what was written.
func TestRandomDamage(t *testing.T) {
	intact := fixture(t)
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 0))
			w := newWreck(t, intact)
			var before map[string]int // samples of each kind
			for round, damages := range []int{1 + r.IntN(2), r.IntN(2), r.IntN(2), 0} {
				for range damages {
					t.Log(w.random(r))
				}
				read, after, damage := w.round(round)
				t.Log(damage, read)
				if damages == 0 {
					require.NoError(t, damage)
					require.Equal(t, before, read)
				}
				before = after
			}
		})
	}
}

// round starts, reads, and writes some steps. It does not use openIn, for the test would keep each DB in memory.
func (w wreck) round(n int) (before, after map[string]int, damage error) {
	opts := Options{Dir: w.dir}
	small(&opts)
	db, err := Open(opts)
	require.NoError(w.t, err)
	defer func() { require.NoError(w.t, db.Close()) }()
	before = storedKinds(w.t, db)
	for i := range roundSteps {
		for _, kind := range []string{"made", fmt.Sprint("new", n)} {
			require.NoError(w.t, commitStep(db, kind, fixtureSteps+n*roundSteps+i, kinds[kind].shift))
		}
	}
	return before, storedKinds(w.t, db), db.Damage()
}

// TestRepaired shows what leaves the samples in place: damage at the end of the log, and what holds nothing that the
// log does not.
func TestRepaired(t *testing.T) {
	intact := fixture(t)
	const segment, lastSegment, lastKind = "wal/0*", -1, "more_ballast"
	f := func(name string, lost int, damage func(w wreck)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWreck(t, intact)
			damage(w)
			db := openIn(t, w.dir, small)
			require.NoError(t, db.Damage())
			require.NoDirExists(t, filepath.Join(w.dir, asideDir))
			steps := stored(t, db, lastKind, kinds[lastKind].shift)
			for step := range fixtureSteps {
				require.Equal(t, step < fixtureSteps-lost, steps[step] == made, "step %d", step)
			}
		})
	}
	tear := func(b []byte) []byte {
		b = bytes.TrimRight(b, "\x00")
		return b[:len(b)-10]
	}
	f("nothing", 0, func(wreck) {})
	f("a torn record at the end of the log", 1, func(w wreck) { w.edit(w.one(segment, lastSegment), tear) })
	f("killed again before it was cut off", 1, func(w wreck) {
		torn := w.one(segment, lastSegment)
		w.edit(torn, tear)
		w.write(following(t, torn), nil)
	})
	f("garbage at the end of the log", 0, func(w wreck) { w.edit(w.one(segment, lastSegment), garbageAtEnd) })
	f("half a checkpoint", 0, func(w wreck) { w.write("wal/checkpoint.00000099.tmp/00000000", []byte("?")) })
	f("half a block", 0, func(w wreck) { w.write("01ARZ3NDEKTSV4RRFFQ69G5FAV.tmp-for-creation/index", []byte("?")) })
	f("damaged head chunks", 0, func(w wreck) { w.edit(w.one("chunks_head/*", 0), bitInside) })
	f("no head chunks", 0, func(w wreck) { w.remove("chunks_head") })
	f("head chunks are a file", 0, func(w wreck) { w.remove("chunks_head"); w.write("chunks_head", nil) })
}

// TestSetAside shows what makes the storage start anew. The samples before are kept as they are.
func TestSetAside(t *testing.T) {
	intact := fixture(t)
	const segment, checkpoint, block = "wal/0*", "wal/checkpoint.*/0*", "01*"
	f := func(name, problem string, damage func(w wreck)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWreck(t, intact)
			w.write("other.json", nil)
			damage(w)
			var log journal
			db := openIn(t, w.dir, small, func(o *Options) { o.Logger = log.logger(slog.LevelInfo) })
			require.ErrorContains(t, db.Damage(), problem)
			require.Equal(t, 1, strings.Count(log.String(), "they are set aside"), log.String())
			require.Empty(t, stored(t, db, "made", 0))
			require.NotEmpty(t, glob(t, w.dir, asideDir+"/01*"))
			require.FileExists(t, filepath.Join(w.dir, "other.json"))
			require.FileExists(t, filepath.Join(w.dir, lockFile))
			_, err := Open(Options{Dir: w.dir})
			require.ErrorIs(t, err, ErrLocked)

			require.NoError(t, commitStep(db, "made", 0, 0))
			require.NoError(t, db.Close())
			db = openIn(t, w.dir, small)
			require.NoError(t, db.Damage())
			require.Len(t, stored(t, db, "made", 0), 1)
		})
	}
	f("damage inside the log", "unexpected checksum", func(w wreck) { w.edit(w.one(segment, 1), bitInside) })
	f("a torn record inside the log", "corruption in segment", func(w wreck) { w.edit(w.one(segment, 1), half) })
	f("segment missing", "not sequential", func(w wreck) { w.remove(w.one(segment, 1)) })
	f("stray segment", "not sequential", func(w wreck) { w.write("wal/7", nil) })
	f("no segments", "the log ends at segment -1, before the end of checkpoint.", func(w wreck) {
		for _, s := range glob(t, w.dir, segment) {
			w.remove(s)
		}
	})
	f("first segments missing", "no such file", func(w wreck) { w.remove(w.one(segment, 0)); w.remove(w.one(segment, 0)) })
	f("log is a file", "not a directory", func(w wreck) { w.remove("wal"); w.write("wal", []byte("?")) })
	f("damaged checkpoint", "/checkpoint.", func(w wreck) { w.edit(w.one(checkpoint, 0), bitInside) })
	f("damaged checkpoint and a segment of the same number", "/checkpoint.", func(w wreck) {
		w.edit(w.one(checkpoint, 0), bitInside)
		first, err := strconv.Atoi(filepath.Base(w.one(segment, 0)))
		require.NoError(t, err)
		for i := range first {
			w.write(fmt.Sprintf("wal/%08d", i), nil)
		}
	})
	f("no checkpoint", "no such file", func(w wreck) { w.remove(w.one("wal/checkpoint.*", 0)) })
	f("half an index", "block 01", func(w wreck) { w.edit(w.one(block+"/index", -1), half) })
	f("empty chunks in a block", "block 01", func(w wreck) { w.edit(w.one(block+"/chunks/000001", -1), none) })
	f("block with a broken meta.json", "block 01", func(w wreck) { w.edit(w.one(block+"/meta.json", -1), half) })
	f("block without index", "block 01", func(w wreck) { w.remove(w.one(block+"/index", -1)) })
	f("log of samples out of order with a gap", "not sequential", func(w wreck) { w.write("wbl/00000003", nil); w.write("wbl/00000005", []byte("?")) })
}

// Of the samples that were set aside, only the last are kept.
func TestAsideIsBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		db := openIn(t, dir)
		add(t, db, "up", at(0), 1)
		require.NoError(t, db.Close())
		stray := fmt.Sprintf("wal/%d", 100+i)
		wreck{t: t, dir: dir}.write(stray, nil)
		db = openIn(t, dir)
		require.Error(t, db.Damage())
		require.NoError(t, db.Close())
		require.Equal(t, []string{filepath.Join(asideDir, stray)}, glob(t, dir, asideDir+"*/wal/1*"))
	}
}
