package discovery

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// load puts the objects of YAML texts into a new Objects.
func load(t *testing.T, texts ...string) *Objects {
	t.Helper()
	o := NewObjects()
	store(t, o, texts...)
	return o
}

// store makes o hold the objects of YAML texts and nothing else.
func store(t *testing.T, o *Objects, texts ...string) {
	t.Helper()
	var files []*manifestFile
	for i, text := range texts {
		objects, problems := parseManifest("test.yaml", []byte(text), slog.New(slog.DiscardHandler))
		for _, p := range problems {
			require.NoError(t, p.err, "text %d, line %d", i, p.line)
		}
		files = append(files, &manifestFile{path: fmt.Sprintf("%03d.yaml", i), objects: objects})
	}
	set, problems := assemble(files)
	require.Empty(t, problems)
	o.Batch(func() { set.store(o) })
}

// remove deletes an object.
func remove[T any](t *testing.T, o *Objects, key string) {
	t.Helper()
	for _, indexer := range o.byResource {
		if obj := get[T](indexer, key); obj != nil {
			require.NoError(t, indexer.Delete(obj))
			return
		}
	}
	require.Fail(t, "no such object", key)
}

func resolve(t *testing.T, d *Discoverer) (map[string]*config.ScrapeConfig, map[string][]*targetgroup.Group) {
	t.Helper()
	configs, groups, err := d.Resolve()
	require.NoError(t, err)
	byName := map[string]*config.ScrapeConfig{}
	for _, c := range configs {
		require.NotContains(t, byName, c.JobName, "job names are unique")
		byName[c.JobName] = c
	}
	for job := range groups {
		require.Contains(t, byName, job, "every job with targets has a configuration")
	}
	return byName, groups
}

// lines writes targets one to a line: job, address, and then the other labels in
// order. Meta labels are left out.
func lines(groups map[string][]*targetgroup.Group) []string {
	return format(groups, func(name string) bool { return !strings.HasPrefix(name, "__meta_") })
}

func format(groups map[string][]*targetgroup.Group, keep func(label string) bool) []string {
	var out []string
	for job, gs := range groups {
		for _, g := range gs {
			for _, target := range g.Targets {
				labels := g.Labels.Merge(target)
				line := job + " " + string(labels[model.AddressLabel])
				delete(labels, model.AddressLabel)
				var names []string
				for name, value := range labels {
					if value != "" && keep(string(name)) {
						names = append(names, string(name))
					}
				}
				slices.Sort(names)
				for _, name := range names {
					line += " " + name + "=" + string(labels[model.LabelName(name)])
				}
				out = append(out, line)
			}
		}
	}
	slices.Sort(out)
	return out
}

// wantLines splits a block of expected lines, which may be indented.
func wantLines(block string) []string {
	var out []string
	for line := range strings.Lines(block) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return out
}

// rejected returns the reason why a monitor is rejected, or "".
func rejected(d *Discoverer, name string) string {
	for _, m := range d.Monitors() {
		if m.Name == name && m.Err != nil {
			return m.Err.Error()
		}
	}
	return ""
}

func monitorSpec(t *testing.T, text string) *monitoringv1.ServiceMonitor {
	t.Helper()
	o := load(t, text)
	all := inNamespaces[monitoringv1.ServiceMonitor](o.serviceMonitors, nil)
	require.Len(t, all, 1)
	return all[0]
}

func pod(t *testing.T, o *Objects, key string) *corev1.Pod {
	t.Helper()
	p := get[corev1.Pod](o.pods, key)
	require.NotNil(t, p, key)
	return p
}

// logBuffer is a log that many may write and the test reads.
type logBuffer struct {
	mtx sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mtx.Lock()
	defer b.mtx.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mtx.Lock()
	defer b.mtx.Unlock()
	return b.buf.String()
}

func (b *logBuffer) count(s string) int { return strings.Count(b.String(), s) }

func (b *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// applied gathers what Run applies.
type applied struct {
	mtx   sync.Mutex
	calls []appliedCall
	err   error // what to return
}

type appliedCall struct {
	configs []*config.ScrapeConfig
	groups  map[string][]*targetgroup.Group
	at      time.Time
}

func (a *applied) apply(configs []*config.ScrapeConfig, groups map[string][]*targetgroup.Group) error {
	a.mtx.Lock()
	defer a.mtx.Unlock()
	a.calls = append(a.calls, appliedCall{configs, groups, time.Now()})
	return a.err
}

func (a *applied) setErr(err error) {
	a.mtx.Lock()
	defer a.mtx.Unlock()
	a.err = err
}

func (a *applied) all() []appliedCall {
	a.mtx.Lock()
	defer a.mtx.Unlock()
	return slices.Clone(a.calls)
}

// last is what was applied last, as lines.
func (a *applied) last() []string {
	calls := a.all()
	if len(calls) == 0 {
		return []string{"nothing applied"}
	}
	return lines(calls[len(calls)-1].groups)
}

// start runs a Discoverer until the test ends.
func start(t *testing.T, d *Discoverer, src Source, a *applied) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, src, a.apply) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
}

// eventually waits for a condition that must come about soon.
func eventually(t *testing.T, condition func() bool, message ...any) {
	t.Helper()
	require.Eventually(t, condition, 20*time.Second, 10*time.Millisecond, message...)
}

// eventuallyTargets waits until the targets applied last are these.
func eventuallyTargets(t *testing.T, a *applied, block string) {
	t.Helper()
	want := wantLines(block)
	deadline := time.Now().Add(20 * time.Second)
	for !slices.Equal(want, a.last()) && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	require.Equal(t, want, a.last())
}
