package process

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sync/errgroup"

	"github.com/promlet/promlet/bench/internal/harness"
)

const (
	// patience is how long a program may take to answer.
	patience = time.Minute
	// stopGrace is how long one may take to end.
	stopGrace = 10 * time.Second
	// poll is how often it is asked whether it does.
	poll = 20 * time.Millisecond
	// Idle programs are left alone for a while before they are measured.
	idleSettling = 15 * time.Second
	idleSteady   = 15 * time.Second
	// Under load the rate window fills first; then every target is scraped five times.
	loadSettling = rateWindow + scrapeInterval
	loadSteady   = 5 * scrapeInterval
	// accuracy is by how much a rate may differ from the true one: scrapes are some
	// milliseconds late at times, and counters are those of whole seconds.
	accuracy = 0.02
)

// result is what was measured of a subject.
type result struct {
	name       string
	idle, load steady
	ready      time.Duration // from the start to readiness, without targets
	first      time.Duration // from the start to the first rate, with targets
	value      float64       // the rate at the end
	series     float64       // stored
}

// steady is what a program uses when nothing changes.
type steady struct {
	resident  float64 // bytes
	anonymous float64 // without pages of files, such as the binary's
	highest   float64 // the most that was ever resident
	cpu       float64 // share of one CPU
}

// measure measures the subjects, without and with targets, in each case side by side.
func measure(ctx context.Context, subjects []*subject) (results []*result, err error) {
	dir, err := os.MkdirTemp("", "promlet-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, s := range subjects {
		results = append(results, &result{name: s.name})
	}
	if err := measureIdle(ctx, filepath.Join(dir, "idle"), subjects, results); err != nil {
		return nil, fmt.Errorf("measure without targets: %w", err)
	}
	addresses, stopTargets, err := runTargets(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stopTargets()) }()
	if err := measureLoad(ctx, filepath.Join(dir, "load"), addresses, subjects, results); err != nil {
		return nil, fmt.Errorf("measure with targets: %w", err)
	}
	return results, nil
}

// measureIdle measures all subjects without targets, each started when the one before is
// ready.
func measureIdle(ctx context.Context, dir string, subjects []*subject, results []*result) error {
	var running []*program
	for i, s := range subjects {
		p, err := s.start(ctx, filepath.Join(dir, strconv.Itoa(i)), nil)
		if err != nil {
			return err
		}
		defer p.Stop(stopGrace)
		running = append(running, p)
		results[i].ready, err = p.waitFor(ctx, func(ctx context.Context) error {
			_, err := p.get(ctx, p.ready)
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := harness.Sleep(ctx, idleSettling); err != nil {
		return err
	}
	return watch(ctx, running, idleSteady, func(i int) *steady { return &results[i].idle })
}

// measureLoad measures all subjects on the same targets.
func measureLoad(ctx context.Context, dir string, addresses []string, subjects []*subject, results []*result) error {
	var running []*program
	// Whatever fails, nothing is waited for any longer.
	ctx, cancel := context.WithCancel(ctx)
	firsts, waiting := errgroup.WithContext(ctx)
	defer func() { cancel(); _ = firsts.Wait() }() // its error has been returned or comes of another
	for i, s := range subjects {
		p, err := s.start(ctx, filepath.Join(dir, strconv.Itoa(i)), addresses)
		if err != nil {
			return err
		}
		defer p.Stop(stopGrace)
		running = append(running, p)
		firsts.Go(func() (err error) {
			results[i].first, err = p.waitFor(waiting, func(ctx context.Context) error {
				_, err := p.number(ctx, p.value, p.parse)
				return err
			})
			return err
		})
		// Starting is work that the next one's start is not to wait for.
		if err := harness.Sleep(ctx, time.Second); err != nil {
			return err
		}
	}
	if err := firsts.Wait(); err != nil {
		return err
	}
	if err := harness.Sleep(ctx, time.Until(running[len(running)-1].started.Add(loadSettling))); err != nil {
		return err
	}
	if err := watch(ctx, running, loadSteady, func(i int) *steady { return &results[i].load }); err != nil {
		return err
	}
	for i, p := range running {
		var err error
		if results[i].value, err = p.number(ctx, p.value, p.parse); err != nil {
			return err
		}
		if results[i].series, err = p.number(ctx, p.metrics, parseSeries); err != nil {
			return err
		}
		if err := results[i].check(); err != nil {
			return fmt.Errorf("check %s: %w", p.name, err)
		}
	}
	return nil
}

// waitFor waits until a program answers, and returns how long that took from its start.
func (p *program) waitFor(ctx context.Context, answers func(context.Context) error) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := p.Wait(ctx, poll, answers)
	return time.Since(p.started), err
}

// watch measures the mean of what programs use for a time.
func watch(ctx context.Context, running []*program, during time.Duration, to func(i int) *steady) error {
	began := time.Now()
	if err := addCPU(running, -1, to); err != nil {
		return err
	}
	readings := int(during / time.Second)
	for range readings {
		if err := harness.Sleep(ctx, time.Second); err != nil {
			return err
		}
		for i, p := range running {
			m, err := p.memory()
			if err != nil {
				return errors.Join(err, p.Ended())
			}
			s := to(i)
			s.resident += float64(m.VmRSS) / float64(readings)
			s.anonymous += float64(m.RssAnon) / float64(readings)
			s.highest = float64(m.VmHWM)
		}
	}
	if err := addCPU(running, 1, to); err != nil {
		return err
	}
	for i := range running {
		to(i).cpu /= time.Since(began).Seconds()
	}
	return nil
}

func (p *program) memory() (procfs.ProcStatus, error) {
	process, err := procfs.NewProc(p.PID())
	if err != nil {
		return procfs.ProcStatus{}, err
	}
	return process.NewStatus()
}

// addCPU adds the seconds in user and kernel mode since the start of each program.
func addCPU(running []*program, sign float64, to func(i int) *steady) error {
	for i, p := range running {
		process, err := procfs.NewProc(p.PID())
		if err != nil {
			return errors.Join(err, p.Ended())
		}
		stat, err := process.Stat()
		if err != nil {
			return errors.Join(err, p.Ended())
		}
		to(i).cpu += sign * stat.CPUTime()
	}
	return nil
}

// check reports whether a program has done its work: whether it answers the true rate,
// and has stored all series, or on demand few.
func (r *result) check() error {
	if want := trueRate(); math.Abs(r.value-want) > accuracy*want {
		return fmt.Errorf("the rate is %g, and it answers %g", want, r.value)
	}
	const all = targets * families * familySeries
	if r.name == promletOnDemand && r.series >= all/20 || r.name != promletOnDemand && r.series < all {
		return fmt.Errorf("it stores %g of %d series", r.series, all)
	}
	return nil
}

// runTargets starts the targets in a process of their own, and returns their addresses.
func runTargets(ctx context.Context) (addresses []string, stop func() error, err error) {
	child, err := harness.StartChild(ctx, name, "targets", nil)
	if err != nil {
		return nil, nil, err
	}
	if err := child.Ask("addresses", &addresses); err != nil {
		return nil, nil, errors.Join(err, child.Stop())
	}
	return addresses, child.Stop, nil
}
