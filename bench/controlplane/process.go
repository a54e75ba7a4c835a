package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// process is a child that ends when its owner does.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{} // closed when it has ended
	err  error         // how; to be read after done
}

// startProcess runs cmd in the background. Its output is appended to a file.
func startProcess(name string, cmd *exec.Cmd, log string) (*process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, log: file, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), file.Close())
	}
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
		_ = file.Close()
	}()
	return p, nil
}

// stop asks the process to end, and after the grace makes it. Stopping twice, or
// what has ended by itself, does nothing.
func (p *process) stop(grace time.Duration) {
	if p == nil {
		return
	}
	// Errors mean that it has ended already.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(grace):
		p.kill()
	}
}

func (p *process) kill() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}

// ended tells how the process ended, nil while it runs.
func (p *process) ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended: %w: see %s", p.name, errors.Join(p.err, errEnded), p.log.Name())
	default:
		return nil
	}
}

var errEnded = errors.New("it should run")

// waitFor polls until ready has no error, the process ends or ctx is done.
func (p *process) waitFor(ctx context.Context, ready func(context.Context) error) error {
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return p.ended()
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: see %s", p.name, err, p.log.Name())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
