package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Program is another program that runs as a child. It ends with Stop and, on Linux,
// with its parent.
type Program struct {
	name string
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{} // closed when it has ended
}

// StartProgram runs a program in the background, away from the terminal's signals. Its
// output goes to the file log, which is made anew.
func StartProgram(ctx context.Context, name, log, path string, args ...string) (*Program, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Program{name: name, log: file, done: make(chan struct{})}
	// Its end is Stop's business, which asks before it kills.
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), path, args...)
	p.cmd.Stdout, p.cmd.Stderr = file, file
	p.cmd.SysProcAttr = childAttributes()
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), file.Close())
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // its state tells the same
		_ = file.Close() // the child has written it
	}()
	return p, nil
}

// PID is the number of the process.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Stop asks the program to end, makes it after a grace, and waits for it. What has
// ended already is left alone.
func (p *Program) Stop() {
	// Errors mean that it has ended.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopGrace):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
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
			return fmt.Errorf("wait for %s: %w: its last lines:\n%s", p.name, err, p.lastLines())
		case <-time.After(every):
		}
	}
}

// Ended tells how the program ended, nil while it runs.
func (p *Program) Ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended by itself (%v): its last lines:\n%s", p.name, p.cmd.ProcessState, p.lastLines())
	default:
		return nil
	}
}

// lastLines is the end of the log.
func (p *Program) lastLines() string {
	const most = 2 << 10
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}
