package manifests

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/discovery/internal/runtest"
)

func TestThroughSymlinks(t *testing.T) {
	elsewhere := t.TempDir()
	write(t, elsewhere, "b.yaml", onePod("b", "10.0.0.2"))
	dir := t.TempDir()
	write(t, dir, "monitor.yaml", allPods)
	write(t, dir, "..data", "apps", "a.yaml", onePod("a", "10.0.0.1"))
	require.NoError(t, os.Symlink(filepath.Join("..data", "apps"), filepath.Join(dir, "apps")))
	require.NoError(t, os.Symlink(filepath.Join(elsewhere, "b.yaml"), filepath.Join(dir, "b.yaml")))
	require.NoError(t, os.Symlink(dir, filepath.Join(dir, "loop")))
	src, a, _ := follow(t, dir, Options{Poll: 50 * time.Millisecond})
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.1")+podTarget("b", "10.0.0.2"))
	require.Empty(t, src.Problems())

	// Only the poll can see what a symlink's target becomes.
	write(t, elsewhere, "b.yaml", onePod("b", "10.0.0.33"))
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.1")+podTarget("b", "10.0.0.33"))

	require.NoError(t, os.Remove(filepath.Join(elsewhere, "b.yaml")))
	eventuallyProblems(t, src, "b.yaml: stat: no such file or directory")
	require.Equal(t, runtest.WantLines(podTarget("a", "10.0.0.1")+podTarget("b", "10.0.0.33")), a.Last(), "a target out of sight is not removed")
	require.NoError(t, os.Remove(filepath.Join(dir, "b.yaml")))
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.1"))
	eventuallyProblems(t, src)
}

// A symlink may lead to the whole file system.
func TestSymlinksToElsewhereAreRefused(t *testing.T) {
	top := t.TempDir()
	write(t, top, "tree", "all.yaml", allPods+"\n---\n"+onePod("a", "10.0.0.1"))
	write(t, top, "tree2", "b.yaml", onePod("b", "10.0.0.2"))
	dir := filepath.Join(top, "current")
	require.NoError(t, os.Symlink("tree", dir))
	for name, target := range map[string]string{"root": "/", "above": "..", "beside": filepath.Join("..", "tree2"), "again": dir} {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	src, a, _ := follow(t, dir, Options{Poll: 50 * time.Millisecond})
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.1"))
	refused := func(names ...string) (lines []string) {
		for _, name := range names {
			lines = append(lines, name+": a symlink to a directory outside of the manifests is not followed")
		}
		return lines
	}
	eventuallyProblems(t, src, refused("above", "beside", "root")...)

	// What was read before a directory became such a symlink is gone.
	write(t, dir, "more", "b.yaml", onePod("b", "10.0.0.2"))
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.1")+podTarget("b", "10.0.0.2"))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "more")))
	require.NoError(t, os.Symlink(filepath.Join("..", "tree2"), filepath.Join(dir, "more")))
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.1"))
	eventuallyProblems(t, src, refused("above", "beside", "more", "root")...)
}

func TestLimits(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		write(t, dir, name, name+".yaml", onePod(name, "10.0.0.1"))
	}
	size := int64(len(onePod("a", "10.0.0.1")))
	f := func(l limits, want ...string) {
		t.Helper()
		d := directory{root: dir, logger: slog.New(slog.DiscardHandler), limits: l, files: map[string]*file{}}
		require.True(t, d.scan(func(string) {}, false))
		var names []string
		for _, f := range d.sorted() {
			names = append(names, f.path)
		}
		require.Equal(t, want, names)
		if len(want) == 3 {
			require.Empty(t, d.problems())
			return
		}
		require.Len(t, d.problems(), 1)
		require.Contains(t, d.problems()[0], "names in all: the rest is not read")
	}
	f(limits{entries: 6, files: 3, bytes: 3 * size}, "a/a.yaml", "b/b.yaml", "c/c.yaml")
	f(limits{entries: 5, files: 3, bytes: 3 * size}, "a/a.yaml", "b/b.yaml")
	f(limits{entries: 6, files: 2, bytes: 3 * size}, "a/a.yaml", "b/b.yaml")
	f(limits{entries: 6, files: 3, bytes: 3*size - 1}, "a/a.yaml", "b/b.yaml")
	f(limits{entries: 6, files: 3, bytes: size - 1})
}
