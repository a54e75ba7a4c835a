package manifests

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// maxFileBytes bounds the memory that one file can take; the largest manifests
// of real clusters are well below.
const maxFileBytes = 16 << 20

// file is one file with the objects it held when it was last free of errors.
type file struct {
	path     string // below the root, with slashes
	info     fs.FileInfo
	sum      [sha256.Size]byte // of the content last parsed
	objects  []fileObject
	problems []lineError
}

// lineError is an error at a line of a file; 0 is the file as a whole.
type lineError struct {
	line int
	err  error
}

// directory is a directory of manifests as it was last read.
type directory struct {
	root   string
	logger *slog.Logger
	limits limits

	readable bool // the root was read in the last scan
	files    map[string]*file
	broken   []string // the directories and files that are not read, and why
}

// scan reads the files that have changed and reports whether any has. watch is called
// for each directory before it is read. reread reads every file.
func (d *directory) scan(watch func(dir string), reread bool) (changed bool) {
	l := d.list(watch)
	err, unreadable := l.broken[""]
	changed = d.readable == unreadable
	d.readable = !unreadable
	if unreadable {
		changed = d.setProblems(map[string]error{"": err}) || changed
		return changed
	}
	for path := range d.files {
		if _, ok := l.found[path]; !ok && !l.hides(path) {
			delete(d.files, path)
			changed = true
		}
	}
	for path, info := range l.found {
		changed = d.update(path, info, reread) || changed
	}
	maps.Copy(l.refused, l.broken)
	return d.setProblems(l.refused) || changed
}

func (d *directory) setProblems(broken map[string]error) (changed bool) {
	var problems []string
	for _, path := range slices.Sorted(maps.Keys(broken)) {
		name := path
		if name == "" {
			name = d.root
		}
		problems = append(problems, fmt.Sprintf("%s: %v", name, plainPathError(broken[path])))
	}
	changed = !slices.Equal(problems, d.broken)
	d.broken = problems
	return changed
}

// update reads and parses a file if it has changed, and reports whether it has.
func (d *directory) update(path string, info fs.FileInfo, reread bool) (changed bool) {
	f := d.files[path]
	if f != nil && !reread && f.info != nil && os.SameFile(f.info, info) &&
		f.info.Size() == info.Size() && f.info.ModTime().Equal(info.ModTime()) {
		return false
	}
	data, err := readFile(filepath.Join(d.root, filepath.FromSlash(path)))
	if errors.Is(err, fs.ErrNotExist) {
		return false // it is being removed; the next scan will see
	}
	if f == nil {
		f = &file{path: path}
		d.files[path] = f
		changed = true
	}
	if err != nil {
		problem := lineError{err: plainPathError(err)}
		changed = changed || len(f.problems) != 1 || f.problems[0].err.Error() != problem.err.Error()
		f.info, f.sum, f.problems = nil, [sha256.Size]byte{}, []lineError{problem}
		return changed
	}
	sum := sha256.Sum256(data)
	f.info = info
	if !changed && f.sum == sum {
		return false
	}
	f.sum = sum
	objects, problems := parse(path, data, d.logger)
	f.problems = problems
	if len(problems) == 0 {
		f.objects = objects
	}
	return true
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("larger than %d MiB", maxFileBytes>>20)
	}
	return data, nil
}

// plainPathError removes the path from an error whose text begins with it already.
func plainPathError(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return fmt.Errorf("%s: %w", pathErr.Op, pathErr.Err)
	}
	return err
}

// sorted returns the files in the order of their paths.
func (d *directory) sorted() []*file {
	var out []*file
	for _, path := range slices.Sorted(maps.Keys(d.files)) {
		out = append(out, d.files[path])
	}
	return out
}

// problems lists what is wrong with directories and single files.
func (d *directory) problems() []string {
	out := slices.Clone(d.broken)
	for _, f := range d.sorted() {
		for _, e := range f.problems {
			if e.line == 0 {
				out = append(out, fmt.Sprintf("%s: %v", f.path, e.err))
			} else {
				out = append(out, fmt.Sprintf("%s:%d: %v", f.path, e.line, e.err))
			}
		}
	}
	return out
}
