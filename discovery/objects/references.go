package objects

import (
	"errors"
	"fmt"
	"maps"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// ErrNotRead is why a referenced object is not known yet: a source has still to read
// it.
var ErrNotRead = errors.New("has not been read yet")

// The kinds that monitors refer to.
const (
	KindSecret    = "Secret"
	KindConfigMap = "ConfigMap"
)

// Reference names a Secret or ConfigMap that a monitor refers to.
type Reference struct {
	Kind, Namespace, Name string
}

// Key is the object's key in the Store.
func (r Reference) Key() string { return r.Namespace + "/" + r.Name }

// String is kind and key.
func (r Reference) String() string { return r.Kind + " " + r.Key() }

// References are the Secrets and ConfigMaps that monitors refer to. A source that puts
// all there are into the Store ignores them. One that reads single objects calls Follow
// once, and then Set and Forget for each that it begins and ends to read.
type References struct {
	tell func() // that something is known now, or no longer

	mtx      sync.Mutex
	followed bool
	wanted   map[Reference]bool
	known    map[Reference]error // nil: read, or known to be absent; else why not
	changed  chan struct{}       // holds one when wanted has changed
}

func newReferences(tell func()) *References {
	return &References{tell: tell, wanted: map[Reference]bool{}, known: map[Reference]error{}, changed: make(chan struct{}, 1)}
}

// Follow makes every reference unread until Set is called for it. The channel gets a
// value when what is wanted has changed.
func (r *References) Follow() <-chan struct{} {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	r.followed = true
	r.notify()
	return r.changed
}

// Want replaces the set of objects that monitors refer to.
func (r *References) Want(refs map[Reference]bool) {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	if maps.Equal(r.wanted, refs) {
		return
	}
	r.wanted = maps.Clone(refs)
	r.notify()
}

func (r *References) notify() {
	select {
	case r.changed <- struct{}{}:
	default: // there is one already
	}
}

// Wanted returns what monitors refer to now.
func (r *References) Wanted() map[Reference]bool {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	return maps.Clone(r.wanted)
}

// Set records why an object is not known; nil when it has been read, or is known to be
// absent. It reports whether that is news, and then counts as a change of monitors.
func (r *References) Set(ref Reference, err error) (news bool) {
	if news = r.set(ref, err); news {
		r.tell()
	}
	return news
}

func (r *References) set(ref Reference, err error) (news bool) {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	before, had := r.known[ref]
	switch {
	case err == nil:
		r.known[ref] = nil
		return !had || before != nil
	case had && before != nil && before.Error() == err.Error():
		return false
	}
	r.known[ref] = fmt.Errorf("%w", err) // a pointer, so that Referenced can be compared
	return true
}

// Forget makes an object unread again.
func (r *References) Forget(ref Reference) {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	delete(r.known, ref)
}

// Prune forgets the objects that are not among the wanted.
func (r *References) Prune(wanted map[Reference]bool) {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	maps.DeleteFunc(r.known, func(ref Reference, _ error) bool { return !wanted[ref] })
}

// Err says why an object is not known, nil when it is.
func (r *References) Err(ref Reference) error {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	err, ok := r.known[ref]
	if r.followed && !ok {
		return ErrNotRead
	}
	return err
}

// Referenced returns the object, the error why it is not known, or nil when it is known
// to be absent. Two results are equal when nothing has changed in between.
func (s *Store) Referenced(ref Reference) any {
	if err := s.references.Err(ref); err != nil {
		return err
	}
	switch ref.Kind {
	case KindSecret:
		if o := Get[corev1.Secret](s, ref.Key()); o != nil {
			return o
		}
	case KindConfigMap:
		if o := Get[corev1.ConfigMap](s, ref.Key()); o != nil {
			return o
		}
	}
	return nil
}
