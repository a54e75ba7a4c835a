package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"syscall"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/promlet/promlet/bench/internal/harness"
)

// side is a running pipeline from informers to scrape loops.
type side struct {
	active  func() map[string][]*promscrape.Target
	updates func() (int, error)
	// failed gets the error with which a part ends before stop is called.
	failed <-chan error
	// stop ends it all and waits.
	stop func()
}

// child is the process of one side.
type child struct {
	*side
	setup   setup
	profile *os.File // of the CPU, while it is taken
}

// runChild reads a setup and then commands from in, and answers on out, until in ends.
func runChild(ctx context.Context, in io.Reader, out io.Writer) error {
	c := &child{}
	defer func() {
		if c.side != nil {
			c.stop()
		}
	}()
	err := harness.Answer(in, out, func(line string) (any, error) {
		if c.side == nil {
			return c.begin(ctx, line)
		}
		select {
		case err := <-c.failed:
			return nil, fmt.Errorf("run %s: %w", c.setup.Side, err)
		default:
			return c.answer(line)
		}
	})
	if err == nil && c.side == nil {
		return fmt.Errorf("read setup: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// begin starts the side of a setup, and returns what was used before.
func (c *child) begin(ctx context.Context, line string) (before reading, err error) {
	if err := json.Unmarshal([]byte(line), &c.setup); err != nil {
		return reading{}, fmt.Errorf("read setup: %w", err)
	}
	before = read()
	start := startPromlet
	if c.setup.Side == sidePrometheus {
		start = startPrometheus
	}
	if c.side, err = start(ctx, &c.setup); err != nil {
		return reading{}, fmt.Errorf("start %s: %w", c.setup.Side, err)
	}
	return before, nil
}

func (c *child) answer(command string) (any, error) {
	switch command {
	case askCPU:
		return reading{CPU: cpuTime()}, nil
	case askCount:
		return reading{Targets: c.count()}, nil
	case askAll:
		r := read()
		r.Targets = c.count()
		var err error
		if r.Updates, err = c.updates(); err != nil {
			return nil, fmt.Errorf("count updates: %w", err)
		}
		return r, nil
	case askTargets:
		return c.targets(), nil
	case askProfile:
		return reading{}, c.toggleProfile()
	}
	return nil, errors.New("unknown command")
}

func (c *child) count() int {
	n := 0
	for _, ts := range c.active() {
		n += len(ts)
	}
	return n
}

// targets lists the targets by job, URL and labels.
func (c *child) targets() []string {
	out := []string{}
	for job, ts := range c.active() {
		for _, t := range ts {
			ls := map[string]string{}
			t.LabelsRange(func(l labels.Label) { ls[l.Name] = l.Value })
			text, _ := json.Marshal(ls) // a map of strings cannot fail; keys are sorted
			out = append(out, fmt.Sprintf("%s %s %s", job, t.URL(), text))
		}
	}
	slices.Sort(out)
	return out
}

// toggleProfile writes the profiles of what is between two calls.
func (c *child) toggleProfile() error {
	if c.profile == nil {
		f, err := os.Create(c.profileName("cpu"))
		if err != nil {
			return err
		}
		c.profile = f
		return pprof.StartCPUProfile(f)
	}
	pprof.StopCPUProfile()
	err := c.profile.Close()
	c.profile = nil
	heap, err2 := os.Create(c.profileName("heap"))
	if err = errors.Join(err, err2); err != nil {
		return err
	}
	runtime.GC()
	return errors.Join(pprof.WriteHeapProfile(heap), heap.Close())
}

func (c *child) profileName(kind string) string {
	return filepath.Join(c.setup.Profiles, fmt.Sprintf("%s-%d.%s.pprof", c.setup.Side, c.count(), kind))
}

// read reads the memory in use after garbage has been collected, and the CPU time.
func read() reading {
	runtime.GC()
	// The second collects what the first has found to be finalised, and gives the memory
	// back now: the runtime would do so later, while CPU is measured.
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return reading{CPU: cpuTime(), Heap: m.HeapAlloc, Stacks: m.StackInuse}
}

// cpuTime is what the process has used in user and kernel mode.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // it fails for bad arguments only
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
