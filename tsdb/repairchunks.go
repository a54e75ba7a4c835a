package tsdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/fileutil"
)

// checkHeadChunks looks at the files of full chunks that the head has written out. They are numbered
// without gaps, like the log, and hold nothing that the log does not: so from the first broken one on
// they are moved aside, and nothing is lost. The storage refuses to start over a broken header. Without
// the log they must go too, for a new log would give the numbers of their series to others.
func (r *repairer) checkHeadChunks() error {
	files, err := r.headChunkFiles()
	if err != nil {
		return err
	}
	if r.noLog {
		return r.moveHeadChunks(files, "the log that names its series is missing", "its samples that are in no block yet")
	}
	for i, n := range files {
		problem := fmt.Errorf("file %d is missing", files[0]+i)
		if n == files[0]+i {
			last := i == len(files)-1 && n > 0
			if problem, err = r.checkHeadChunkFile(r.path(headChunkFile(n)), last); err != nil {
				return err
			}
		}
		if problem != nil {
			return r.moveHeadChunks(files[i:], problem.Error(), "nothing: the log holds it as well")
		}
	}
	return nil
}

// moveHeadChunks moves a broken file aside, and those that follow it.
func (r *repairer) moveHeadChunks(files []int, problem, lost string) error {
	for _, n := range files {
		if _, err := r.move(headChunkFile(n), problem, lost); err != nil {
			return err
		}
		problem = fmt.Sprintf("follows file %d", files[0])
	}
	return nil
}

// headChunkFiles lists the numbers of the files in ascending order, and moves entries aside that have
// a number for a name and yet are none of them.
func (r *repairer) headChunkFiles() ([]int, error) {
	entries, err := os.ReadDir(r.path(chunksDir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var ns []int
	for _, e := range entries {
		n, err := strconv.ParseUint(e.Name(), 10, 63)
		if err != nil {
			continue
		}
		if !e.Type().IsRegular() || headChunkFile(int(n)) != filepath.Join(chunksDir, e.Name()) {
			if _, err := r.move(filepath.Join(chunksDir, e.Name()), "not a file of chunks", "nothing that could be read"); err != nil {
				return nil, err
			}
			continue
		}
		ns = append(ns, int(n))
	}
	slices.Sort(ns)
	return ns, nil
}

func headChunkFile(n int) string { return filepath.Join(chunksDir, fmt.Sprintf("%06d", n)) }

// checkHeadChunkFile returns what is wrong with a file. An empty last one is well: the file is made
// before its first chunk is written, and the storage removes it.
func (r *repairer) checkHeadChunkFile(path string, last bool) (problem, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 {
		if last {
			return nil, nil
		}
		return errors.New("empty"), nil
	}
	file, err := fileutil.OpenMmapFile(path)
	if err != nil {
		return nil, err
	}
	return r.checkHeadChunkBytes(file.Bytes(), last), file.Close()
}

// checkHeadChunkBytes walks over the chunks of a file: the layout is told in the TSDB's
// docs/format/head_chunks.md. The file is reserved ahead and so ends in zeros.
func (r *repairer) checkHeadChunkBytes(b []byte, last bool) error {
	if last && allZero(b) {
		return nil
	}
	if len(b) < chunks.HeadChunkFileHeaderSize || binary.BigEndian.Uint32(b) != chunks.MagicHeadChunks || b[chunks.MagicChunksSize] != 1 {
		return errors.New("no valid header")
	}
	const meta = chunks.SeriesRefSize + 2*chunks.MintMaxtSize // series, first and last time
	for i := chunks.HeadChunkFileHeaderSize; i < len(b); {
		rest := b[i:]
		if len(rest) < chunks.MaxHeadChunkMetaSize && !allZero(rest) {
			return fmt.Errorf("at byte %d: half a chunk", i)
		}
		if len(rest) < chunks.MaxHeadChunkMetaSize || allZero(rest[:meta]) {
			return nil
		}
		size, w := binary.Uvarint(rest[meta+chunks.ChunkEncodingSize:][:chunks.MaxChunkLengthFieldSize])
		if w <= 0 || size > uint64(len(rest)) {
			return fmt.Errorf("at byte %d: impossible size of a chunk", i)
		}
		end := meta + chunks.ChunkEncodingSize + w + int(size)
		if end+chunks.CRCSize > len(rest) {
			return fmt.Errorf("at byte %d: half a chunk", i)
		}
		if crc32.Checksum(rest[:end], crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(rest[end:]) {
			return fmt.Errorf("at byte %d: wrong checksum of a chunk", i)
		}
		r.dec.used = max(r.dec.used, binary.BigEndian.Uint64(rest))
		i += end + chunks.CRCSize
	}
	return nil
}

func allZero(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 })
}
