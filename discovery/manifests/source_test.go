package manifests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/internal/samples"
	"github.com/promlet/promlet/discovery/objects"
)

// hour keeps the poll out of tests of notifications.
const hour = time.Hour

func write(t *testing.T, parts ...string) {
	t.Helper()
	name, text := filepath.Join(parts[:len(parts)-1]...), parts[len(parts)-1]
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
}

// replace writes a file beside another and renames it over that, as editors do.
func replace(t *testing.T, dir, name, text string) {
	t.Helper()
	temp := filepath.Join(dir, "."+name+".swp")
	require.NoError(t, os.WriteFile(temp, []byte(text), 0o600))
	require.NoError(t, os.Rename(temp, filepath.Join(dir, name)))
}

// onePod is a file with one pod.
func onePod(name, ip string) string {
	return `
apiVersion: v1
kind: Pod
metadata: {name: ` + name + `}
spec: {containers: [{name: c, ports: [{name: http, containerPort: 1}]}]}
status: {podIP: ` + ip + `}
`
}

// allPods selects what onePod makes.
var allPods = samples.PodMonitor(`{selector: {}, podMetricsEndpoints: [{port: http}]}`)

func podTarget(name, ip string) string {
	return "podMonitor/default/m/0 " + ip + ":1 container=c endpoint=http job=default/m namespace=default pod=" + name + "\n"
}

// follow runs a Discoverer over a directory.
func follow(t *testing.T, dir string, opts Options) (*Source, *runtest.Applied, *objects.Store) {
	t.Helper()
	o := objects.NewStore()
	src := New(dir, opts)
	a := &runtest.Applied{}
	d := discovery.New(o, discovery.Options{})
	runtest.Start(t, func(ctx context.Context) error { return d.Run(ctx, src, a.Apply) })
	return src, a, o
}

func eventuallyProblems(t *testing.T, src *Source, want ...string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for strings.Join(want, "\n") != strings.Join(src.Problems(), "\n") && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	require.Equal(t, strings.Join(want, "\n"), strings.Join(src.Problems(), "\n"))
}

func TestFollowFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "monitor.yaml", allPods)
	write(t, dir, "a.yml", onePod("a", "10.0.0.1"))
	write(t, dir, "README.md", "not a manifest")
	write(t, dir, ".hidden.yaml", "neither: [")
	src, a, o := follow(t, dir, Options{Poll: hour})
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.1"))
	require.True(t, src.HasSynced())
	require.Empty(t, src.Problems())
	before := objects.Get[corev1.Pod](o, "default/a")

	write(t, dir, "b.json", `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b"}, "spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 1}]}]}, "status": {"podIP": "10.0.0.2"}}`)
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.1")+podTarget("b", "10.0.0.2"))
	require.Same(t, before, objects.Get[corev1.Pod](o, "default/a"), "an object that did not change is the same")

	replace(t, dir, "a.yml", onePod("a", "10.0.0.9"))
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.9")+podTarget("b", "10.0.0.2"))

	write(t, dir, "a.yml", onePod("c", "10.0.0.3"))
	runtest.EventuallyTargets(t, a, podTarget("b", "10.0.0.2")+podTarget("c", "10.0.0.3"))

	require.NoError(t, os.Remove(filepath.Join(dir, "b.json")))
	runtest.EventuallyTargets(t, a, podTarget("c", "10.0.0.3"))

	require.NoError(t, os.Rename(filepath.Join(dir, "a.yml"), filepath.Join(dir, "a.off")))
	runtest.EventuallyTargets(t, a, "")
}

func TestFollowDirectories(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "monitor.yaml", allPods)
	write(t, dir, "apps", "shop", "a.yaml", onePod("a", "10.0.0.1"))
	_, a, _ := follow(t, dir, Options{Poll: hour})
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.1"))

	write(t, dir, "apps", "shop", "a.yaml", onePod("a", "10.0.0.2"))
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.2"))

	write(t, dir, "new", "deep", "b.yaml", onePod("b", "10.0.0.3"))
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.2")+podTarget("b", "10.0.0.3"))
	write(t, dir, "new", "deep", "b.yaml", onePod("b", "10.0.0.4"))
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.2")+podTarget("b", "10.0.0.4"))

	require.NoError(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "newer")))
	write(t, dir, "newer", "deep", "b.yaml", onePod("b", "10.0.0.5"))
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.2")+podTarget("b", "10.0.0.5"))

	require.NoError(t, os.RemoveAll(filepath.Join(dir, "newer")))
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.2"))
}

func TestFollowConfigMap(t *testing.T) {
	// As the kubelet mounts it: files are symlinks through ..data, which is
	// swapped.
	dir := t.TempDir()
	version := func(n int, ip string) {
		name := fmt.Sprintf("..2026_%d", n)
		write(t, dir, name, "monitor.yaml", allPods)
		write(t, dir, name, "a.yaml", onePod("a", ip))
		require.NoError(t, os.Symlink(name, filepath.Join(dir, "..data_tmp")))
		require.NoError(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	version(1, "10.0.0.1")
	for _, name := range []string{"monitor.yaml", "a.yaml"} {
		require.NoError(t, os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)))
	}
	src, a, _ := follow(t, dir, Options{Poll: hour})
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.1"))
	require.Empty(t, src.Problems(), "no object is seen twice")
	version(2, "10.0.0.2")
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "..2026_1")))
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.2"))
	require.Empty(t, src.Problems())
}

func TestFollowSwappedDirectory(t *testing.T) {
	top := t.TempDir()
	write(t, top, "v1", "all.yaml", allPods+"\n---\n"+onePod("a", "10.0.0.1"))
	write(t, top, "v2", "all.yaml", allPods+"\n---\n"+onePod("a", "10.0.0.2"))
	dir := filepath.Join(top, "current")
	require.NoError(t, os.Symlink("v1", dir))
	_, a, _ := follow(t, dir, Options{Poll: hour})
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.1"))
	require.NoError(t, os.Symlink("v2", dir+".new"))
	require.NoError(t, os.Rename(dir+".new", dir))
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.2"))
}

func TestBadFile(t *testing.T) {
	var log runtest.LogBuffer
	dir := t.TempDir()
	write(t, dir, "monitor.yaml", allPods)
	write(t, dir, "a.yaml", onePod("a", "10.0.0.1"))
	write(t, dir, "bad.yaml", "apiVersion: v1\nkind: Pod\nmetadata:\n  nam: b\n")
	src, a, _ := follow(t, dir, Options{Poll: hour, Logger: log.Logger()})
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.1"))
	require.True(t, src.HasSynced(), "a bad file does not stop the others")
	eventuallyProblems(t, src, "bad.yaml:1: Pod: no metadata.name", `bad.yaml:4: Pod: unknown field "metadata.nam"`)

	replace(t, dir, "bad.yaml", onePod("b", "10.0.0.2"))
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.1")+podTarget("b", "10.0.0.2"))
	eventuallyProblems(t, src)

	// Bad once more, it keeps what it had, and the others go on changing.
	replace(t, dir, "bad.yaml", "kind: [\n")
	eventuallyProblems(t, src, "bad.yaml:1: did not find expected node content")
	replace(t, dir, "a.yaml", onePod("a", "10.0.0.3"))
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.3")+podTarget("b", "10.0.0.2"))

	replace(t, dir, "bad.yaml", onePod("b", "10.0.0.4"))
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.3")+podTarget("b", "10.0.0.4"))
	eventuallyProblems(t, src)
	require.Equal(t, 1, log.Count(`level=WARN msg="problem with a manifest" problem="bad.yaml:1: did not`), "logged once")
	require.Equal(t, 1, log.Count(`level=INFO msg="problem with a manifest is over" problem="bad.yaml:1: did not`))

	// Removed while it is bad, it is gone.
	replace(t, dir, "bad.yaml", "kind: [\n")
	eventuallyProblems(t, src, "bad.yaml:1: did not find expected node content")
	require.NoError(t, os.Remove(filepath.Join(dir, "bad.yaml")))
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.3"))
	eventuallyProblems(t, src)
}

func TestDuplicate(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "monitor.yaml", allPods)
	write(t, dir, "sub", "a.yaml", onePod("a", "10.0.0.1"))
	write(t, dir, "z.yaml", onePod("a", "10.0.0.2"))
	src, a, _ := follow(t, dir, Options{Poll: hour})
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.1"))
	eventuallyProblems(t, src, "z.yaml:2: Pod default/a is in sub/a.yaml:2 already, which counts")

	require.NoError(t, os.Remove(filepath.Join(dir, "sub", "a.yaml")))
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.2"))
	eventuallyProblems(t, src)
}

func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "monitor.yaml", allPods)
	write(t, dir, "big.yaml", onePod("a", "10.0.0.1"))
	write(t, dir, "sub", "b.yaml", onePod("b", "10.0.0.2"))
	src, a, _ := follow(t, dir, Options{Poll: 50 * time.Millisecond})
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.1")+podTarget("b", "10.0.0.2"))

	require.NoError(t, os.Truncate(filepath.Join(dir, "big.yaml"), maxFileBytes+1))
	eventuallyProblems(t, src, "big.yaml: larger than 16 MiB")
	require.Len(t, a.Last(), 2, "it keeps what it had")
	write(t, dir, "big.yaml", onePod("a", "10.0.0.3"))
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.3")+podTarget("b", "10.0.0.2"))
	eventuallyProblems(t, src)

	if os.Geteuid() == 0 {
		return // root may read everything
	}
	require.NoError(t, os.Chmod(filepath.Join(dir, "sub"), 0))
	defer func() { require.NoError(t, os.Chmod(filepath.Join(dir, "sub"), 0o755)) }()
	eventuallyProblems(t, src, "sub: open: permission denied")
	require.Len(t, a.Last(), 2)
}

func TestDirectoryComesLater(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	src, a, _ := follow(t, dir, Options{Poll: 50 * time.Millisecond})
	eventuallyProblems(t, src, dir+": stat: no such file or directory")
	require.False(t, src.HasSynced())
	require.Empty(t, a.All())

	write(t, dir, "all.yaml", allPods+"\n---\n"+onePod("a", "10.0.0.1"))
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.1"))
	eventuallyProblems(t, src)

	// Gone again, nothing that was known is forgotten.
	require.NoError(t, os.Rename(dir, dir+".away"))
	eventuallyProblems(t, src, dir+": stat: no such file or directory")
	require.True(t, src.HasSynced())
	require.Len(t, a.Last(), 1)
	require.NoError(t, os.Rename(dir+".away", dir))
	eventuallyProblems(t, src)
	write(t, dir, "all.yaml", allPods+"\n---\n"+onePod("a", "10.0.0.2"))
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.2"))
}

func TestEmptyDirectory(t *testing.T) {
	src, a, o := follow(t, t.TempDir(), Options{Poll: hour})
	runtest.Eventually(t, src.HasSynced)
	runtest.Eventually(t, func() bool { return len(a.All()) == 1 })
	require.Empty(t, a.Last())
	require.Empty(t, indexer(o, "namespaces").List())
}

func TestPollAlone(t *testing.T) {
	// Without notifications: what fsnotify does is left out by scanning by hand.
	dir := t.TempDir()
	write(t, dir, "a.yaml", onePod("a", "10.0.0.1"))
	src := New(dir, Options{})
	o := objects.NewStore()
	calls := 0
	scan := func(reread bool) { src.scan(nil, o, func() { calls++ }, reread) }
	scan(true)
	require.Equal(t, 1, calls)
	scan(false)
	scan(true)
	require.Equal(t, 1, calls, "nothing has changed")

	write(t, dir, "a.yaml", onePod("a", "10.0.0.22"))
	scan(false)
	require.Equal(t, 2, calls)
	require.Equal(t, "10.0.0.22", objects.Get[corev1.Pod](o, "default/a").Status.PodIP)

	// A change that leaves size and time as they were is seen when told of.
	info, err := os.Stat(filepath.Join(dir, "a.yaml"))
	require.NoError(t, err)
	write(t, dir, "a.yaml", onePod("a", "10.0.0.33"))
	require.NoError(t, os.Chtimes(filepath.Join(dir, "a.yaml"), info.ModTime(), info.ModTime()))
	scan(false)
	require.Equal(t, 2, calls)
	scan(true)
	require.Equal(t, 3, calls)

	// A file that is touched has not changed.
	require.NoError(t, os.Chtimes(filepath.Join(dir, "a.yaml"), time.Now(), time.Now().Add(time.Minute)))
	scan(false)
	require.Equal(t, 3, calls)

	// Neither named pipes nor directories are files, whatever their names.
	require.NoError(t, os.Mkdir(filepath.Join(dir, "dir.yaml"), 0o755))
	scan(true)
	require.Equal(t, 3, calls)
	require.Empty(t, src.Problems())
}

func TestPartialWritesAreNotSeen(t *testing.T) {
	// A writer that truncates and then writes: the empty file in between does not
	// take targets away.
	dir := t.TempDir()
	write(t, dir, "monitor.yaml", allPods)
	write(t, dir, "a.yaml", onePod("a", "10.0.0.1"))
	_, a, _ := follow(t, dir, Options{Poll: hour})
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.1"))
	f, err := os.Create(filepath.Join(dir, "a.yaml"))
	require.NoError(t, err)
	_, err = f.WriteString(onePod("a", "10.0.0.2"))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	runtest.EventuallyTargets(t, a, podTarget("a", "10.0.0.2"))
	for _, call := range a.All() {
		require.Len(t, runtest.Lines(call.Groups), 1)
	}
}

func TestRunEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	src := New(t.TempDir(), Options{})
	done := make(chan error, 1)
	go func() { done <- src.Run(ctx, objects.NewStore(), func() {}) }()
	runtest.Eventually(t, src.HasSynced)
	cancel()
	require.NoError(t, <-done)
}

func TestOnLoopback(t *testing.T) {
	// An edge machine: EndpointSlices with loopback addresses and a Service by hand.
	dir := t.TempDir()
	write(t, dir, "app.yaml", `
apiVersion: v1
kind: Service
metadata: {name: app, labels: {app: app}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: app, labels: {kubernetes.io/service-name: app}}
ports: [{name: metrics, port: 9100}]
endpoints: [{addresses: [127.0.0.1]}, {addresses: ["127.0.0.2"], targetRef: {kind: Pod, name: app-1}}]
---
apiVersion: v1
kind: Pod
metadata: {name: app-1}
spec: {containers: [{name: app, ports: [{name: metrics, containerPort: 9100}]}]}
status: {podIP: 127.0.0.2}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: app}
spec: {selector: {matchLabels: {app: app}}, endpoints: [{port: metrics}]}
`)
	src, a, _ := follow(t, dir, Options{Poll: hour})
	runtest.EventuallyTargets(t, a, `
		serviceMonitor/default/app/0 127.0.0.1:9100 endpoint=metrics job=app namespace=default service=app
		serviceMonitor/default/app/0 127.0.0.2:9100 container=app endpoint=metrics job=app namespace=default pod=app-1 service=app`)
	require.Empty(t, src.Problems())
}
