package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"
)

// Run discovers and scrapes until ctx is done or Close is called. Beside this it runs the
// functions of serve, such as the Run of an API server. When ctx is done, Close is called or any
// function returns, the context of the functions ends first. promlet goes on until the last
// function has returned, so that requests under way are answered from fresh samples.
//
// The functions must return when their context is done: Run waits for them. It returns once all
// its goroutines have ended. The error is that of a function or of a part. It is nil if ctx is
// done or Close was called. Run can be called once.
func (p *Promlet) Run(ctx context.Context, serve ...func(context.Context) error) error {
	if slices.ContainsFunc(serve, func(f func(context.Context) error) bool { return f == nil }) {
		return errors.New("run promlet: a function is nil")
	}
	if err := p.begin(); err != nil {
		return err
	}
	defer close(p.ended)
	defer p.Scraper.Stop() // nothing is appended between Run and Close
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	defer context.AfterFunc(p.closing, stopServing)()
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, background := errgroup.WithContext(background)
	defer context.AfterFunc(background, stopServing)() // also when something failed
	group.Go(func() error {
		defer stop()
		return runAll(serving, serve)
	})
	for _, part := range p.running() {
		group.Go(func() error { return part(background) })
	}
	return group.Wait()
}

// begin notes that Run runs.
func (p *Promlet) begin() error {
	p.mtx.Lock()
	defer p.mtx.Unlock()
	switch {
	case p.closing.Err() != nil:
		return errors.New("run promlet: it is closed")
	case p.ended != nil:
		return errors.New("run promlet: it has been run before")
	}
	p.ended = make(chan struct{})
	return nil
}

// runAll runs functions until ctx is done or one of them returns, and waits for all.
func runAll(ctx context.Context, functions []func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var group errgroup.Group
	for _, f := range functions {
		group.Go(func() error {
			defer stop()
			return f(ctx)
		})
	}
	<-ctx.Done()
	return group.Wait()
}

// running returns the parts, which run until the last request is answered.
func (p *Promlet) running() []func(context.Context) error {
	parts := []func(context.Context) error{p.discover, p.collection().run, p.removeEnded}
	if p.opts.scrapes() {
		parts = append(parts, func(ctx context.Context) error { return p.Provider.Demand.Run(ctx, p.wanted) })
	}
	if p.opts.Engine != nil {
		parts = append(parts, p.opts.Engine.Run)
	}
	if !p.opts.Discovery.Shard.Partial() { // a shard has no values, and does not know which rules match nothing
		noValue := p.noValueEvents()
		parts = append(parts, p.unmatchedEvents().run, func(ctx context.Context) error { return p.Provider.Autoscalers.Run(ctx, noValue.observe) })
	}
	if p.opts.Discovery.Enforcement.Enabled {
		parts = append(parts, p.overruledEvents().run)
	}
	return parts
}

// discover watches the objects. If anything is scraped, it also resolves and applies their targets.
func (p *Promlet) discover(ctx context.Context) error {
	if !p.opts.discovers() {
		return p.opts.Source.Run(ctx, p.objects, func() {})
	}
	// The series that were read before a restart, and those that HPAs read, are stored from the first scrape on.
	first := true
	return p.Discoverer.Run(ctx, p.opts.Source, func(configs []*config.ScrapeConfig, groups map[string][]*targetgroup.Group) error {
		if first {
			first = false
			if err := p.applyDemand(ctx); err != nil { // Provider.Demand tries again in a second
				p.opts.Logger.Warn("the first scrapes may not store what HPAs read", "err", err)
			}
		}
		return p.apply(configs, groups)
	})
}

// applyDemand makes the scraper store the series that are read.
func (p *Promlet) applyDemand(ctx context.Context) error {
	demand, err := p.Provider.Demand.Current(ctx)
	if err != nil {
		return fmt.Errorf("find out which series are read: %w", err)
	}
	return p.wanted(ctx, demand)
}

// Close ends Run, waits for it, closes DB and unregisters the metrics. A function that Run runs
// must not call Close. Close twice is fine.
func (p *Promlet) Close() error {
	p.cancel()
	p.mtx.Lock()
	ended := p.ended
	p.mtx.Unlock()
	if ended != nil {
		<-ended
	}
	p.once.Do(func() {
		var errs []error
		for _, closer := range slices.Backward(p.closers) {
			errs = append(errs, closer())
		}
		p.closeErr = errors.Join(errs...)
	})
	return p.closeErr
}

// onClose makes Close call a function, before those given earlier.
func (p *Promlet) onClose(closer func() error) { p.closers = append(p.closers, closer) }

// every calls f once in each period, until ctx is done. It returns nil.
func every(ctx context.Context, period time.Duration, f func()) error {
	// The error is only that ctx is done.
	_ = wait.PollUntilContextCancel(ctx, period, false, func(context.Context) (bool, error) {
		f()
		return false, nil
	})
	return nil
}
