package engine

import (
	"context"
	"sync"
	"time"
)

// flights are the queries that are being asked, each for everybody who waits for it.
type flights struct {
	mu    sync.Mutex
	byKey map[flightKey]*flight
}

// flightKey is the same for equal questions.
type flightKey struct{ engine, expr string }

// flight is a query that is being asked. It ends when nobody waits for it any more.
type flight struct {
	cancel  context.CancelFunc
	waiting int           // guarded by flights.mu
	done    chan struct{} // closed once got and err are set
	got     answer
	err     error
}

// join returns the flight of a query, which it starts if there is none. The caller leaves it.
func (e *Engine) join(ctx context.Context, key flightKey, at time.Time) (*flight, error) {
	e.flights.mu.Lock()
	defer e.flights.mu.Unlock()
	f := e.flights.byKey[key]
	if f == nil {
		ended, err := e.begin()
		if err != nil {
			return nil, err
		}
		f = &flight{done: make(chan struct{})}
		// One caller that gives up does not fail the others.
		ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
		e.flights.byKey[key] = f
		go func() {
			defer ended()
			f.got, f.err = e.instant(ctx, key.expr, at)
			close(f.done)
			e.flights.mu.Lock()
			defer e.flights.mu.Unlock()
			e.forget(key, f)
		}()
	}
	f.waiting++
	return f, nil
}

// leave ends a flight with the last of those that wait for it.
func (e *Engine) leave(key flightKey, f *flight) {
	e.flights.mu.Lock()
	defer e.flights.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		e.forget(key, f)
	}
}

// forget lets nobody join a flight from now on. e.flights.mu is held.
func (e *Engine) forget(key flightKey, f *flight) {
	if e.flights.byKey[key] == f {
		delete(e.flights.byKey, key)
	}
}
