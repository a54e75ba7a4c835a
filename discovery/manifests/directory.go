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
	"strings"
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

	readable bool // the root was read in the last scan
	files    map[string]*file
	broken   []string // the directories and files that cannot be looked at, and why
}

// listing is what one walk over the tree finds.
type listing struct {
	found    map[string]fs.FileInfo // by path below the root
	broken   map[string]error       // files and directories that cannot be looked at
	visiting []fs.FileInfo          // the directories from the root to the current one
	watch    func(dir string)
}

// scan reads the files that have changed and reports whether any has. watch is called
// for each directory before it is read. reread reads every file.
func (d *directory) scan(watch func(dir string), reread bool) (changed bool) {
	l := listing{found: map[string]fs.FileInfo{}, broken: map[string]error{}, watch: watch}
	l.walk(d.root, "")
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
	return d.setProblems(l.broken) || changed
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

// walk lists a directory and those below it; path is relative to the root.
func (l *listing) walk(dir, path string) {
	l.watch(dir)
	info, err := os.Stat(dir)
	if err != nil {
		l.broken[path] = err
		return
	}
	for _, above := range l.visiting {
		if os.SameFile(above, info) {
			return // a symlink that leads back
		}
	}
	l.visiting = append(l.visiting, info)
	defer func() { l.visiting = l.visiting[:len(l.visiting)-1] }()
	entries, err := os.ReadDir(dir)
	if err != nil {
		l.broken[path] = err
		return
	}
	for _, e := range entries {
		// ConfigMap mounts and editors keep their own files under names with a dot.
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		below := strings.TrimPrefix(path+"/"+e.Name(), "/")
		full := filepath.Join(dir, e.Name())
		info, err := os.Stat(full)
		switch {
		case errors.Is(err, fs.ErrNotExist) && e.Type()&fs.ModeSymlink == 0: // just removed
		case err != nil:
			if isManifest(e.Name()) || e.IsDir() {
				l.broken[below] = err
			}
		case info.IsDir():
			l.walk(full, below)
		case info.Mode().IsRegular() && isManifest(e.Name()):
			l.found[below] = info
		}
	}
}

// hides reports whether a file may still be there but cannot be seen.
func (l *listing) hides(path string) bool {
	for broken := range l.broken {
		if path == broken || strings.HasPrefix(path, broken+"/") {
			return true
		}
	}
	return false
}

func isManifest(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
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
