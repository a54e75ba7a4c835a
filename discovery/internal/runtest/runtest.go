// Package runtest observes a running Discoverer for the tests of discovery's rooms.
package runtest

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/discovery/monitors"
)

// Resolve returns the jobs by name and the groups of a Discoverer.
func Resolve(t *testing.T, d interface {
	Resolve() ([]*config.ScrapeConfig, map[string][]*targetgroup.Group, error)
},
) (map[string]*config.ScrapeConfig, map[string][]*targetgroup.Group) {
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

// Lines writes targets one to a line: job, address, and then the other labels in
// order. Meta labels are left out.
func Lines(groups map[string][]*targetgroup.Group) []string {
	return Format(groups, func(name string) bool { return !strings.HasPrefix(name, "__meta_") })
}

// Format is Lines with the labels that keep wants.
func Format(groups map[string][]*targetgroup.Group, keep func(label string) bool) []string {
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

// WantLines splits a block of expected lines, which may be indented.
func WantLines(block string) []string {
	var out []string
	for line := range strings.Lines(block) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return out
}

// Rejected returns the reason why a monitor is rejected, or "".
func Rejected(statuses []monitors.Status, name string) string {
	for _, m := range statuses {
		if m.Name == name && m.Err != nil {
			return m.Err.Error()
		}
	}
	return ""
}

// LogBuffer is a log that many may write and the test reads.
type LogBuffer struct {
	mtx sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *LogBuffer) Write(p []byte) (int, error) {
	b.mtx.Lock()
	defer b.mtx.Unlock()
	return b.buf.Write(p)
}

func (b *LogBuffer) String() string {
	b.mtx.Lock()
	defer b.mtx.Unlock()
	return b.buf.String()
}

// Count is how often s is in the log.
func (b *LogBuffer) Count(s string) int { return strings.Count(b.String(), s) }

// Logger writes to the log.
func (b *LogBuffer) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Applied gathers what Run applies.
type Applied struct {
	mtx   sync.Mutex
	calls []Call
	err   error // what to return
}

// Call is one call of Apply.
type Call struct {
	Configs []*config.ScrapeConfig
	Groups  map[string][]*targetgroup.Group
	At      time.Time
}

// Apply is what Run is given.
func (a *Applied) Apply(configs []*config.ScrapeConfig, groups map[string][]*targetgroup.Group) error {
	a.mtx.Lock()
	defer a.mtx.Unlock()
	a.calls = append(a.calls, Call{configs, groups, time.Now()})
	return a.err
}

// SetErr makes Apply fail; nil makes it succeed.
func (a *Applied) SetErr(err error) {
	a.mtx.Lock()
	defer a.mtx.Unlock()
	a.err = err
}

// All are the calls until now.
func (a *Applied) All() []Call {
	a.mtx.Lock()
	defer a.mtx.Unlock()
	return slices.Clone(a.calls)
}

// Last is what was applied last, as Lines.
func (a *Applied) Last() []string {
	calls := a.All()
	if len(calls) == 0 {
		return []string{"nothing applied"}
	}
	return Lines(calls[len(calls)-1].Groups)
}

// Start runs a Discoverer, or what else run is, until the test ends.
func Start(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
}

// Eventually waits for a condition that must come about soon.
func Eventually(t *testing.T, condition func() bool, message ...any) {
	t.Helper()
	require.Eventually(t, condition, 20*time.Second, 10*time.Millisecond, message...)
}

// EventuallyTargets waits until the targets applied last are these.
func EventuallyTargets(t *testing.T, a *Applied, block string) {
	t.Helper()
	want := WantLines(block)
	deadline := time.Now().Add(20 * time.Second)
	for !slices.Equal(want, a.Last()) && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	require.Equal(t, want, a.Last())
}
