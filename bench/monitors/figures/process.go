package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// childArgument makes the program a child.
const childArgument = "child"

// process is a child, as its parent sees it. It ends with its context, with stop, and
// with the parent, as its input is then closed.
type process struct {
	cmd    *exec.Cmd
	name   string
	in     io.WriteCloser
	out    *bufio.Reader
	before reading // before it has begun
}

// startChild starts this program as a child.
func startChild(ctx context.Context, s *setup) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, childArgument)
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = 10 * time.Second
	p := &process{cmd: cmd, name: s.Side}
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Side, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Side, err)
	}
	p.out = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Side, err)
	}
	line, err := json.Marshal(s)
	if err == nil {
		err = p.talk(string(line), &p.before)
	}
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// talk sends a line and decodes the answer.
func (p *process) talk(line string, answer any) error {
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		return fmt.Errorf("ask %s: %w", p.name, err)
	}
	text, err := p.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%s does not answer: %w", p.name, err)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("read answer of %s: %w", p.name, err)
	}
	return nil
}

func (p *process) read(command string) (r reading, err error) {
	err = p.talk(command, &r)
	return r, err
}

// stop ends the child and waits for it.
func (p *process) stop() error {
	_ = p.in.Close() // it may be closed already
	timer := time.AfterFunc(20*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("end %s: %w", p.name, err)
	}
	return nil
}

// settle waits until the child has so many targets and does nothing any more.
func (p *process) settle(ctx context.Context, targets int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if err := p.quiet(ctx); err != nil {
			return fmt.Errorf("wait for %d targets of %s: %w", targets, p.name, err)
		}
		r, err := p.read(askCount)
		if err != nil {
			return err
		}
		if r.Targets == targets {
			return nil
		}
	}
}

// quiet waits until the child has hardly used any CPU for a moment.
func (p *process) quiet(ctx context.Context) error {
	last, err := p.read(askCPU)
	if err != nil {
		return err
	}
	for idle := 0; idle < quietPolls; {
		if err := sleep(ctx, poll); err != nil {
			return err
		}
		r, err := p.read(askCPU)
		if err != nil {
			return err
		}
		idle++
		if r.CPU-last.CPU > poll/5 {
			idle = 0
		}
		last = r
	}
	return nil
}

// sleep waits, at most until ctx is done.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
