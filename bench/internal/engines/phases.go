package engines

import (
	"context"
	"errors"
	"time"

	"github.com/promlet/promlet/bench/internal/harness"
)

// phase is a part of the run.
type phase struct {
	event string
	// begin makes the event happen. It may be nil.
	begin       func(ctx context.Context) error
	long, every time.Duration // the length of the phase, and the time between two rows
	judged      bool          // all answers must be right
}

const (
	// filling is the time until all windows are full. One interval is for the first scrape of a target, another one for
	// sending its samples and listing its series.
	filling = rateWindow + 2*scrapeInterval
	often   = 5 * time.Second

	killedShard = 2

	steady = "steady: no value may be missing or wrong"
)

// phases returns the phases of the run in order.
func (e *engines) phases() []phase {
	receiver, shard := e.programs.receivers[1], e.programs.shards[killedShard]
	return []phase{
		{event: "all have started, the windows fill", long: filling, every: scrapeInterval},
		{event: steady, long: time.Minute, every: often, judged: true},
		{
			event: receiver.name + " is killed", long: endpointDelay, every: often,
			begin: func(context.Context) error { receiver.kill(); return nil },
		},
		{
			event: "the Service no longer forwards to it: shards write to the other one only", long: 50 * time.Second, every: often,
			begin: func(context.Context) error { e.service.set(e.programs.write[0]); return nil },
		},
		{
			event: shard.name + " is killed as well", long: rateWindow + scrapeInterval, every: often,
			begin: func(context.Context) error { shard.kill(); return nil },
		},
		{
			event: "both are started again, with their data", long: filling, every: often,
			begin: func(ctx context.Context) error {
				if err := errors.Join(shard.start(ctx), receiver.start(ctx)); err != nil {
					return err
				}
				if err := receiver.waitReady(ctx, e.client.http); err != nil {
					return err
				}
				e.service.set(e.programs.write...)
				return nil
			},
		},
		{event: steady, long: 45 * time.Second, every: often, judged: true},
	}
}

// runPhase runs a phase. It returns an error if a program ends that was not killed.
func (e *engines) runPhase(ctx context.Context, p phase) error {
	e.timeline.event(p.event)
	if p.begin != nil {
		if err := p.begin(ctx); err != nil {
			return err
		}
	}
	for began := time.Now(); time.Since(began) < p.long; {
		next := time.Now().Add(p.every)
		e.timeline.row(ask(ctx, e.client, e.pods), p.judged)
		for _, program := range append(e.programs.engine(), e.programs.promlets()...) {
			if err := program.ended(); err != nil {
				return err
			}
		}
		if err := harness.Sleep(ctx, time.Until(next)); err != nil {
			return err
		}
	}
	return nil
}
