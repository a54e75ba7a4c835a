package discovery

import (
	"errors"
	"fmt"
	"maps"
	"sync"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// errNotRead is why a value is not known yet: it has been asked for only now.
var errNotRead = errors.New("has not been read yet")

// reference names a Secret or ConfigMap that a monitor refers to.
type reference struct {
	kind, namespace, name string
}

// The kinds that monitors refer to.
const (
	kindSecret    = "Secret"
	kindConfigMap = "ConfigMap"
)

func (r reference) key() string { return r.namespace + "/" + r.name }

func (r reference) String() string { return r.kind + " " + r.key() }

// references are the Secrets and ConfigMaps that monitors refer to. A Source that
// holds all there are has nothing to do with them; one that reads single objects
// calls follow, and then set and forget for each.
type references struct {
	mtx      sync.Mutex
	followed bool
	wanted   map[reference]bool
	known    map[reference]error // nil: read, or known not to be there; else why not
	changed  chan struct{}       // holds one when wanted has changed
}

func newReferences() *references {
	return &references{wanted: map[reference]bool{}, known: map[reference]error{}, changed: make(chan struct{}, 1)}
}

// follow makes every reference unread until set is called for it. The channel gets
// a value when wanted has changed.
func (r *references) follow() <-chan struct{} {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	r.followed = true
	r.notify()
	return r.changed
}

// want says which objects monitors refer to.
func (r *references) want(refs map[reference]bool) {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	if maps.Equal(r.wanted, refs) {
		return
	}
	r.wanted = maps.Clone(refs)
	r.notify()
}

func (r *references) notify() {
	select {
	case r.changed <- struct{}{}:
	default: // told already
	}
}

// list returns what is wanted now.
func (r *references) list() map[reference]bool {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	return maps.Clone(r.wanted)
}

// set says why an object is not known; nil when it has been read, or when it is
// known that there is none. It tells whether that is news.
func (r *references) set(ref reference, err error) bool {
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
	r.known[ref] = fmt.Errorf("%w", err) // a pointer, for assets compares them
	return true
}

// forget makes an object unread again: it is not followed any more.
func (r *references) forget(ref reference) {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	delete(r.known, ref)
}

// prune forgets the objects that are not among the wanted.
func (r *references) prune(wanted map[reference]bool) {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	maps.DeleteFunc(r.known, func(ref reference, _ error) bool { return !wanted[ref] })
}

// reason says why an object is not known, nil when it is.
func (r *references) reason(ref reference) error {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	err, ok := r.known[ref]
	if r.followed && !ok {
		return errNotRead
	}
	return err
}

// assets looks up what a monitor refers to and remembers what that was.
type assets struct {
	objects   *Objects
	namespace string // of the monitor, and so of all it refers to
	seen      map[reference]any
	files     bool  // paths in monitors are allowed
	pending   error // what is not known yet, in whose place empty values stand
}

// object returns a Secret or ConfigMap, nil when it is pending. The error says which
// one is missing.
func (a *assets) object(kind, name string) (any, error) {
	ref := reference{kind: kind, namespace: a.namespace, name: name}
	if name == "" {
		return nil, fmt.Errorf("the %s has no name", kind)
	}
	if len(validation.IsDNS1123Subdomain(name)) > 0 || len(validation.IsDNS1123Label(a.namespace)) > 0 {
		return nil, fmt.Errorf("there can be no %s of this name and namespace", kind)
	}
	obj := a.objects.referenced(ref)
	a.seen[ref] = obj
	err, unread := obj.(error)
	switch {
	case errors.Is(err, errNotRead):
		a.pending = fmt.Errorf("%s %w", ref, err)
		return nil, nil
	case unread:
		return nil, fmt.Errorf("%s %w", ref, err)
	case obj == nil:
		return nil, fmt.Errorf("there is no %s", ref)
	}
	return obj, nil
}

// referenced returns the object, the error why it is not known, or nil when there
// is none.
func (o *Objects) referenced(ref reference) any {
	if err := o.references.reason(ref); err != nil {
		return err
	}
	switch ref.kind {
	case kindSecret:
		if s := get[corev1.Secret](o.secrets, ref.key()); s != nil {
			return s
		}
	case kindConfigMap:
		if c := get[corev1.ConfigMap](o.configMaps, ref.key()); c != nil {
			return c
		}
	}
	return nil
}

func (a *assets) secret(sel *corev1.SecretKeySelector) (string, error) {
	obj, err := a.object(kindSecret, sel.Name)
	if err != nil || obj == nil {
		return "", err
	}
	if s, ok := obj.(*corev1.Secret); ok {
		if value, ok := s.Data[sel.Key]; ok {
			return string(value), nil
		}
	}
	return "", fmt.Errorf("there is no key %q in Secret %s/%s", sel.Key, a.namespace, sel.Name)
}

func (a *assets) configMap(sel *corev1.ConfigMapKeySelector) (string, error) {
	obj, err := a.object(kindConfigMap, sel.Name)
	if err != nil || obj == nil {
		return "", err
	}
	if c, ok := obj.(*corev1.ConfigMap); ok {
		if value, ok := c.Data[sel.Key]; ok {
			return value, nil
		}
	}
	return "", fmt.Errorf("there is no key %q in ConfigMap %s/%s", sel.Key, a.namespace, sel.Name)
}

// fresh tells whether all that a monitor refers to is as it was seen.
func (o *Objects) fresh(seen map[reference]any) bool {
	for ref, obj := range seen {
		if o.referenced(ref) != obj {
			return false
		}
	}
	return true
}

// secretOrConfigMap is empty when the selector names neither.
func (a *assets) secretOrConfigMap(sel *monitoringv1.SecretOrConfigMap) (string, error) {
	switch {
	case sel.Secret != nil:
		return a.secret(sel.Secret)
	case sel.ConfigMap != nil:
		return a.configMap(sel.ConfigMap)
	}
	return "", nil
}
