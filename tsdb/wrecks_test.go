package tsdb

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

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
	f("checkpoint empty", logTail, []string{inside}, func(w wreck) { w.edit(w.one(inside, 0), none) })
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
