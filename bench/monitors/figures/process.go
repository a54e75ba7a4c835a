package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/promlet/promlet/bench/internal/harness"
)

// childArgument makes the program a child.
const childArgument = "child"

// process is a child, as its parent sees it.
type process struct {
	*harness.Self
	name   string
	before reading // before it has begun
}

// startChild starts this program as a child.
func startChild(ctx context.Context, s *setup) (*process, error) {
	line, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Side, err)
	}
	self, err := harness.StartSelf(ctx, s.Side, childArgument)
	if err != nil {
		return nil, err
	}
	p := &process{Self: self, name: s.Side}
	if err := p.Ask(string(line), &p.before); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

func (p *process) read(command string) (r reading, err error) {
	err = p.Ask(command, &r)
	return r, err
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
		if err := harness.Sleep(ctx, poll); err != nil {
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
