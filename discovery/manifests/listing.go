package manifests

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// limits bound one walk over the tree. A directory that is named by mistake may be a whole
// file system.
type limits struct {
	entries int   // names in all directories
	files   int   // manifests
	bytes   int64 // of all manifests
}

// defaultLimits are far above the manifests of any cluster that promlet is for: 10,000 pods
// are 5 MiB.
func defaultLimits() limits { return limits{entries: 100_000, files: 10_000, bytes: 64 << 20} }

var errOutside = errors.New("a symlink to a directory outside of the manifests is not followed")

// listing is what one walk over the tree finds.
type listing struct {
	found    map[string]fs.FileInfo // by path below the root
	broken   map[string]error       // files and directories that cannot be looked at
	refused  map[string]error       // those that are not looked at
	visiting []fs.FileInfo          // the directories from the root to the current one
	watch    func(dir string)

	root string // without symlinks
	left limits // what the rest of the walk may find
	full bool   // the limits are reached
}

// list walks over the tree. watch is called for each directory before it is read.
func (d *directory) list(watch func(dir string)) *listing {
	l := &listing{found: map[string]fs.FileInfo{}, broken: map[string]error{}, refused: map[string]error{}, watch: watch, left: d.limits}
	if root, err := filepath.Abs(d.root); err == nil {
		l.root, _ = filepath.EvalSymlinks(root) // walk reports what is wrong with it
	}
	l.walk(d.root, "")
	if l.full {
		l.refused[""] = fmt.Errorf("more than %d files, or %d MiB of them, or %d names in all: the rest is not read",
			d.limits.files, d.limits.bytes>>20, d.limits.entries)
	}
	return l
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
		l.left.entries--
		l.full = l.full || l.left.entries < 0
		if l.full {
			return
		}
		// ConfigMap mounts and editors keep their own files under names with a dot.
		if !strings.HasPrefix(e.Name(), ".") {
			l.visit(e, filepath.Join(dir, e.Name()), strings.TrimPrefix(path+"/"+e.Name(), "/"))
		}
	}
}

// visit looks at one entry of a directory.
func (l *listing) visit(e fs.DirEntry, full, path string) {
	link := e.Type()&fs.ModeSymlink != 0
	info, err := os.Stat(full)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !link: // just removed
	case err != nil:
		if isManifest(e.Name()) || e.IsDir() {
			l.broken[path] = err
		}
	case info.IsDir() && link && !l.inside(full):
		l.refused[path] = errOutside
	case info.IsDir():
		l.walk(full, path)
	case info.Mode().IsRegular() && isManifest(e.Name()):
		l.left.files--
		l.left.bytes -= min(info.Size(), maxFileBytes)
		if l.full = l.left.files < 0 || l.left.bytes < 0; !l.full {
			l.found[path] = info
		}
	}
}

// inside reports whether a symlink leads to a directory of the tree.
func (l *listing) inside(link string) bool {
	target, err := filepath.EvalSymlinks(link)
	if err == nil {
		target, err = filepath.Abs(target)
	}
	if err != nil {
		return false
	}
	below, err := filepath.Rel(l.root, target)
	return err == nil && filepath.IsLocal(below)
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
