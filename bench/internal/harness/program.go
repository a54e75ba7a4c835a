package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Program is another program that runs as a child, away from the terminal's signals. It
// ends with Stop and, on Linux, with its parent. A nil one has ended.
type Program struct {
	name string
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{} // closed when it has ended
}

// StartProgram runs cmd in the background. Its output is appended to the file log.
func StartProgram(name string, cmd *exec.Cmd, log string) (*Program, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Program{name: name, cmd: cmd, log: file, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), file.Close())
	}
	go func() {
		defer close(p.done)
		_ = cmd.Wait()   // its state tells the same
		_ = file.Close() // the child has written it
	}()
	return p, nil
}

// PID is the number of the process.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p *Program) Done() <-chan struct{} { return p.done }

// Stop asks the program to end, makes it after a grace, and waits for it. What has
// ended already is left alone.
func (p *Program) Stop(grace time.Duration) {
	if p == nil {
		return
	}
	// An error means that it has ended.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(grace):
		p.Kill()
	}
}

// Kill ends the program and waits for it.
func (p *Program) Kill() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill() // an error means that it has ended
	<-p.done
}

// Wait asks ready every so often, until it has no error, and gives up when the program
// ends or ctx is done.
func (p *Program) Wait(ctx context.Context, every time.Duration, ready func(context.Context) error) error {
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return p.Ended()
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %s", p.name, err, p.lastLines())
		case <-time.After(every):
		}
	}
}

// Ended tells how the program ended, nil while it runs.
func (p *Program) Ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended (%v): %s", p.name, p.cmd.ProcessState, p.lastLines())
	default:
		return nil
	}
}

// ExitCode is the program's exit code once it has ended by itself, and -1 otherwise.
func (p *Program) ExitCode() int {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	default:
		return -1
	}
}

// lastLines is the end of the log, and where the rest is.
func (p *Program) lastLines() string {
	const most = 2 << 10
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("the last lines of %s:\n%s", p.log.Name(), text[max(0, len(text)-most):])
}

// FreePorts finds different ports of loopback that nobody listens on.
func FreePorts(n int) ([]string, error) {
	var ports []string
	for range n {
		listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer listener.Close() //nolint:errcheck // nothing was sent; held until all are found, to be different
		_, port, err := net.SplitHostPort(listener.Addr().String())
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}
