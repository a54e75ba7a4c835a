package harness

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

// stopGrace is how long a child may take to end when it is asked to.
const stopGrace = 10 * time.Second

// childArgument is the first argument of a child.
const childArgument = "child"

// IsChild reports whether this process was started by StartChild. A test's TestMain then
// calls Main.
func IsChild() bool { return len(os.Args) > 1 && os.Args[1] == childArgument }

// Child is the part of a command that runs in a process of its own.
type Child interface {
	// Answer answers a line with a value that JSON can encode.
	Answer(line string) (any, error)
	Close() error
}

// Process is a child as its parent sees it. It ends with its context, with Stop, and
// with its parent, as its input is then closed. Its methods are for one goroutine.
type Process struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	// Before is what the child used before it was set up.
	Before Usage
}

// StartChild starts this program again as a child of a command, and returns when it is
// set up. The child's standard error is this program's. name is for messages.
func StartChild(ctx context.Context, command, name string, setup any) (*Process, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	line, err := json.Marshal(setup)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{name: name, cmd: exec.CommandContext(ctx, path, childArgument, command)}
	p.cmd.Stderr = os.Stderr
	p.cmd.WaitDelay = stopGrace
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := p.Ask(string(line), &p.Before); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// Name is what the child is called in messages.
func (p *Process) Name() string { return p.name }

// Ask sends a line and decodes the answer.
func (p *Process) Ask(line string, answer any) error {
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

// Stop ends the child and waits for it.
func (p *Process) Stop() error {
	_ = p.in.Close() // it may be closed already
	timer := time.AfterFunc(stopGrace, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("end %s: %w", p.name, err)
	}
	return nil
}

// The lines that every child answers, with its Usage.
const (
	askCPU  = "harness: cpu"
	askUse  = "harness: use"
	askHeld = "harness: held"
)

// CPU asks for the CPU time alone, which costs the child next to nothing.
func (p *Process) CPU() (time.Duration, error) {
	u, err := p.usage(askCPU)
	return u.CPU, err
}

// Use asks what the child has used so far.
func (p *Process) Use() (Usage, error) { return p.usage(askUse) }

// Held asks the same after garbage has been collected.
func (p *Process) Held() (Usage, error) { return p.usage(askHeld) }

func (p *Process) usage(line string) (u Usage, err error) {
	err = p.Ask(line, &u)
	return u, err
}

// serve is the child's part: the first line sets it up, the others are answered until in
// ends or a line has no answer.
func serve(ctx context.Context, in io.Reader, out io.Writer, start func(context.Context, []byte) (Child, error)) (err error) {
	lines, encoder := bufio.NewReader(in), json.NewEncoder(out)
	setup, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read setup: %w", err)
	}
	var answer any = ReadHeld()
	child, err := start(ctx, setup)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, child.Close()) }()
	for {
		if err := encoder.Encode(answer); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read what is asked: %w", err)
		}
		switch line = line[:len(line)-1]; line {
		case askCPU:
			answer = Usage{CPU: cpuTime()}
		case askUse:
			answer = ReadUsage()
		case askHeld:
			answer = ReadHeld()
		default:
			if answer, err = child.Answer(line); err != nil {
				return fmt.Errorf("%.60s: %w", line, err)
			}
		}
	}
}
