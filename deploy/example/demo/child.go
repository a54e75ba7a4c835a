package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long a child may take to end after SIGTERM.
const stopGrace = 5 * time.Second

// child is a process that the demo started and must see end.
type child struct {
	name string
	cmd  *exec.Cmd
	log  *tail
	done chan struct{} // closed when it has ended
	err  error         // how; to be read after done
}

// start runs a program in the background, away from the terminal's Ctrl-C and from the end of ctx: the demo stops
// its children in order.
func start(ctx context.Context, name, path string, args ...string) (*child, error) {
	c := &child{name: name, log: &tail{}, done: make(chan struct{})}
	c.cmd = exec.CommandContext(context.WithoutCancel(ctx), path, args...)
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	c.cmd.SysProcAttr = childAttributes()
	c.cmd.WaitDelay = time.Second
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w: build it first, or name another path", name, err)
	}
	go func() {
		defer close(c.done)
		c.err = c.cmd.Wait()
	}()
	return c, nil
}

// stop ends the process and waits for it. Calling it again does nothing.
func (c *child) stop() {
	select {
	case <-c.done:
		return
	default:
	}
	// An error here means that it has just ended, or that the system knows no SIGTERM: done or Kill tells.
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(stopGrace):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

// early is the error of a child that ended by itself: with its last words.
func (c *child) early() error {
	how := "with status 0"
	if c.err != nil {
		how = c.err.Error()
	}
	return fmt.Errorf("%s ended early (%s); its last lines:\n%s", c.name, how, c.log)
}

// waitReady polls until ready says so, the process ends, or ctx does.
func (c *child) waitReady(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	var last error
	for {
		if last = ready(ctx); last == nil {
			return nil
		}
		select {
		case <-c.done:
			return c.early()
		case <-ctx.Done():
			return fmt.Errorf("%s did not get ready: %w; its last lines:\n%s", c.name, last, c.log)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// readyTimeout is generous: it is for a slow machine that compiles something else meanwhile.
const readyTimeout = time.Minute

const (
	tailLines = 20
	tailBytes = 1 << 10 // per line
)

// tail keeps the last lines that were written to it.
type tail struct {
	mu    sync.Mutex
	lines []string
	begun []byte // a line without its end
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(b)
	for {
		line, rest, ended := bytes.Cut(b, []byte("\n"))
		t.begun = append(t.begun, line[:min(len(line), tailBytes-len(t.begun))]...)
		if !ended {
			return n, nil
		}
		t.lines = append(t.lines, string(t.begun))
		t.lines = t.lines[max(0, len(t.lines)-tailLines):]
		t.begun, b = t.begun[:0], rest
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := append([]string(nil), t.lines...)
	if len(t.begun) > 0 {
		lines = append(lines, string(t.begun))
	}
	if len(lines) == 0 {
		return "  (none)"
	}
	return "  " + strings.Join(lines, "\n  ")
}

// checkFree reports an address that somebody listens on already, and the variable of `make run` that mends it.
func checkFree(ctx context.Context, address, variable string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("%w: choose another port, such as `make run %s=%d`", err, variable, another(address))
	}
	return listener.Close()
}

// another is a port to try when that of an address is taken.
func another(address string) int {
	const far = 10000
	_, p, _ := net.SplitHostPort(address) // no number is as good as port 0 here
	port, _ := strconv.Atoi(p)
	if port > 65535-far {
		return port - far
	}
	return port + far
}

// freeAddresses finds loopback addresses that nobody listens on.
func freeAddresses(ctx context.Context, n int) ([]string, error) {
	var addresses []string
	for range n {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer listener.Close() //nolint:errcheck // nothing was sent; held until all are found, to be different
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses, nil
}
