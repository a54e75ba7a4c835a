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

// Self is this program, started again as a child that answers each line it is sent
// with a line of JSON, as [Answer] does. It ends with its context, with Stop, and with
// its parent, as its input is then closed. Its methods are for one goroutine.
type Self struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
}

// StartSelf starts this program with arguments. What the child writes to its standard
// error goes to this program's.
func StartSelf(ctx context.Context, name string, args ...string) (*Self, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	s := &Self{name: name, cmd: exec.CommandContext(ctx, path, args...)}
	s.cmd.Stderr = os.Stderr
	s.cmd.WaitDelay = stopGrace
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return s, nil
}

// Ask sends a line and decodes the answer.
func (s *Self) Ask(line string, answer any) error {
	if _, err := io.WriteString(s.in, line+"\n"); err != nil {
		return fmt.Errorf("ask %s: %w", s.name, err)
	}
	text, err := s.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%s does not answer: %w", s.name, err)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("read answer of %s: %w", s.name, err)
	}
	return nil
}

// Stop ends the child and waits for it.
func (s *Self) Stop() error {
	_ = s.in.Close() // it may be closed already
	timer := time.AfterFunc(stopGrace, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("end %s: %w", s.name, err)
	}
	return nil
}

// Answer is the child's part: it answers the lines of in on out until in ends, or until
// a line has no answer.
func Answer(in io.Reader, out io.Writer, answer func(line string) (any, error)) error {
	encoder, lines := json.NewEncoder(out), bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read what is asked: %w", err)
		}
		v, err := answer(line[:len(line)-1])
		if err != nil {
			return fmt.Errorf("%.60s: %w", line[:len(line)-1], err)
		}
		if err := encoder.Encode(v); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}
