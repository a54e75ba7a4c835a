package main

import (
	"bufio"
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
	out     *json.Encoder
	profile *os.File // of the CPU, while it is taken
}

// runChild reads a setup and then commands from in, and answers on out, until in ends.
func runChild(ctx context.Context, in io.Reader, out io.Writer) error {
	c := &child{out: json.NewEncoder(out)}
	lines := bufio.NewReader(in)
	if err := c.readSetup(lines); err != nil {
		return fmt.Errorf("read setup: %w", err)
	}
	if err := c.out.Encode(read()); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	start := startPromlet
	if c.setup.Side == sidePrometheus {
		start = startPrometheus
	}
	running, err := start(ctx, &c.setup)
	if err != nil {
		return fmt.Errorf("start %s: %w", c.setup.Side, err)
	}
	c.side = running
	defer c.stop()
	for {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read command: %w", err)
		}
		select {
		case err := <-c.failed:
			return fmt.Errorf("run %s: %w", c.setup.Side, err)
		default:
		}
		if err := c.answer(line[:len(line)-1]); err != nil {
			return fmt.Errorf("%s: %w", line[:len(line)-1], err)
		}
	}
}

func (c *child) readSetup(lines *bufio.Reader) error {
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, &c.setup)
}

func (c *child) answer(command string) error {
	switch command {
	case askCPU:
		return c.out.Encode(reading{CPU: cpuTime()})
	case askCount:
		return c.out.Encode(reading{Targets: c.count()})
	case askAll:
		r := read()
		r.Targets = c.count()
		var err error
		if r.Updates, err = c.updates(); err != nil {
			return fmt.Errorf("count updates: %w", err)
		}
		return c.out.Encode(r)
	case askTargets:
		return c.out.Encode(c.targets())
	case askProfile:
		if err := c.toggleProfile(); err != nil {
			return err
		}
		return c.out.Encode(reading{})
	}
	return errors.New("unknown command")
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
