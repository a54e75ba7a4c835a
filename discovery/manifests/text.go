package manifests

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/promlet/promlet/discovery/objects"
)

// textName takes the place of a path in errors.
const textName = "text"

// Text is a discovery.Source of the objects in one text, for programs without a cluster and without files. Its methods
// may be called from any goroutine.
type Text struct {
	changed chan struct{} // has a value if desired has changed since Run last read it
	synced  atomic.Bool

	mtx     sync.Mutex
	desired objectSet
}

// FromText returns a Source of the objects in a YAML or JSON text, which has the format of the files of [New]. Errors begin
// with "text:" and the line. An empty text has no objects.
func FromText(text []byte) (*Text, error) {
	t := &Text{changed: make(chan struct{}, 1)}
	err := t.Set(text)
	if err == nil {
		<-t.changed // Run begins with it
	}
	return t, err
}

// Set replaces all objects. If it returns an error, the objects stay as they were.
func (t *Text) Set(text []byte) error {
	found, errs := parse(textName, text, slog.New(slog.DiscardHandler))
	desired, problems := assemble([]*file{{path: textName, objects: found}})
	var all []error
	for _, err := range errs {
		all = append(all, fmt.Errorf("%s:%d: %w", textName, err.line, err.err))
	}
	for _, problem := range problems {
		all = append(all, errors.New(problem))
	}
	if len(all) > 0 {
		return errors.Join(all...)
	}
	t.mtx.Lock()
	t.desired = desired
	t.mtx.Unlock()
	select {
	case t.changed <- struct{}{}:
	default: // Run has not read the previous change yet
	}
	return nil
}

// Run implements discovery.Source.
func (t *Text) Run(ctx context.Context, store *objects.Store, changed func()) error {
	for {
		t.mtx.Lock()
		desired := t.desired
		t.mtx.Unlock()
		store.Batch(func() { desired.store(store) })
		t.synced.Store(true)
		changed()
		select {
		case <-ctx.Done():
			return nil
		case <-t.changed:
		}
	}
}

// HasSynced implements discovery.Source.
func (t *Text) HasSynced() bool { return t.synced.Load() }

// Problems implements discovery.Source. It returns none, because Set returns them as errors.
func (t *Text) Problems() []string { return nil }
