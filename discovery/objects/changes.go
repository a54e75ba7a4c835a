package objects

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
)

const (
	// SettleTime is how long no change must come before changes are looked at, so
	// that the many changes of one rollout step cost one computation.
	SettleTime = 100 * time.Millisecond
	// settleLimit bounds the wait when changes do not cease.
	settleLimit = time.Second
)

// Settle waits until changes have ceased for [SettleTime], or for at most a second. It
// returns false when ctx is done.
func Settle[T any](ctx context.Context, changes <-chan T) bool {
	limit := time.NewTimer(settleLimit)
	defer limit.Stop()
	quiet := time.NewTimer(SettleTime)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-changes:
			quiet.Reset(SettleTime)
		case <-quiet.C:
			return true
		case <-limit.C:
			return true
		}
	}
}

// Keys is a set of keys, "namespace/name". The zero value is empty.
type Keys map[string]bool

// Add adds a key.
func (k *Keys) Add(key string) {
	if *k == nil {
		*k = Keys{}
	}
	(*k)[key] = true
}

// Changed says what has changed. Kinds with many objects have the keys of those that
// did; the others only whether any did.
type Changed struct {
	Pods, Services, Slices Keys
	Nodes                  bool // their labels, annotations or addresses
	Namespaces             bool
	Monitors               bool // or what they refer to
}

// Changes gathers what has changed since it was last taken. [Store.Follow] makes one.
type Changes struct {
	mtx     sync.Mutex
	changed Changed
}

// Take returns what has changed and forgets it.
func (c *Changes) Take() Changed {
	c.mtx.Lock()
	defer c.mtx.Unlock()
	taken := c.changed
	c.changed = Changed{}
	return taken
}

// record adds to what has changed.
func (c *Changes) record(add func(*Changed)) {
	c.mtx.Lock()
	defer c.mtx.Unlock()
	add(&c.changed)
}

// Follow returns Changes that gather from now on, for as long as the Store is in use.
func (s *Store) Follow() *Changes {
	s.followersMtx.Lock()
	defer s.followersMtx.Unlock()
	c := &Changes{}
	s.followers = append(s.followers, c)
	return c
}

func (s *Store) tell(add func(*Changed)) {
	s.followersMtx.Lock()
	defer s.followersMtx.Unlock()
	for _, f := range s.followers {
		f.record(add)
	}
}

// track makes the indexers tell all followers of every write.
func (s *Store) track() {
	tell := func(add func(*Changed, string)) func(string, any, any) {
		return func(key string, _, _ any) { s.tell(func(c *Changed) { add(c, key) }) }
	}
	monitors := tell(func(c *Changed, _ string) { c.Monitors = true })
	for indexer, wrote := range map[*cache.Indexer]func(string, any, any){
		&s.pods:            tell(func(c *Changed, key string) { c.Pods.Add(key) }),
		&s.services:        tell(func(c *Changed, key string) { c.Services.Add(key) }),
		&s.slices:          tell(func(c *Changed, key string) { c.Slices.Add(key) }),
		&s.namespaces:      tell(func(c *Changed, _ string) { c.Namespaces = true }),
		&s.serviceMonitors: monitors,
		&s.podMonitors:     monitors,
		&s.secrets:         monitors,
		&s.configMaps:      monitors,
		&s.nodes: func(_ string, before, after any) {
			if !sameNode(before, after) {
				s.tell(func(c *Changed) { c.Nodes = true })
			}
		},
	} {
		*indexer = &tracked{Indexer: *indexer, wrote: wrote}
	}
}

// sameNode reports whether a node has the same labels, annotations, addresses and kubelet port as
// before. Nodes report their state every few minutes, but no target depends on it.
func sameNode(before, after any) bool {
	a, ok1 := before.(*corev1.Node)
	b, ok2 := after.(*corev1.Node)
	return ok1 && ok2 && maps.Equal(a.Labels, b.Labels) && maps.Equal(a.Annotations, b.Annotations) &&
		slices.Equal(a.Status.Addresses, b.Status.Addresses) && a.Status.DaemonEndpoints == b.Status.DaemonEndpoints
}

// tracked is an Indexer that calls wrote after every write. before is nil for an object
// that is new, after for one that is deleted.
type tracked struct {
	cache.Indexer
	wrote func(key string, before, after any)
}

// Add implements [cache.Store].
func (t *tracked) Add(obj any) error { return t.put(obj, t.Indexer.Add) }

// Update implements [cache.Store].
func (t *tracked) Update(obj any) error { return t.put(obj, t.Indexer.Update) }

// Delete implements [cache.Store].
func (t *tracked) Delete(obj any) error {
	key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj)
	if err != nil {
		return err
	}
	if err := t.Indexer.Delete(obj); err != nil {
		return err
	}
	t.wrote(key, obj, nil)
	return nil
}

// Replace implements [cache.Store].
func (t *tracked) Replace(list []any, version string) error {
	before := map[string]any{}
	for _, obj := range t.List() {
		if key, err := cache.MetaNamespaceKeyFunc(obj); err == nil {
			before[key] = obj
		}
	}
	if err := t.Indexer.Replace(list, version); err != nil {
		return err
	}
	for _, obj := range list {
		if key, err := cache.MetaNamespaceKeyFunc(obj); err == nil {
			t.wrote(key, before[key], obj)
			delete(before, key)
		}
	}
	for key, obj := range before {
		t.wrote(key, obj, nil)
	}
	return nil
}

func (t *tracked) put(obj any, write func(any) error) error {
	key, err := cache.MetaNamespaceKeyFunc(obj)
	if err != nil {
		return err
	}
	before, _, err := t.GetByKey(key)
	if err != nil {
		return err
	}
	if err := write(obj); err != nil {
		return err
	}
	t.wrote(key, before, obj)
	return nil
}
