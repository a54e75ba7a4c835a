package discovery

import (
	"maps"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
)

// changes gathers which objects have changed since they were last taken: the
// "namespace/name" of those of which there are many, and for the others that some
// have.
type changes struct {
	mtx sync.Mutex
	changed
}

// changed is what changes holds.
type changed struct {
	pods, services, slices map[string]bool
	nodes                  bool // their labels or annotations
	namespaces             bool
	monitors               bool // or what they refer to
}

// take returns what has changed and forgets it.
func (c *changes) take() changed {
	c.mtx.Lock()
	defer c.mtx.Unlock()
	taken := c.changed
	c.changed = changed{}
	return taken
}

// record adds to what has changed.
func (c *changes) record(add func(*changed)) {
	c.mtx.Lock()
	defer c.mtx.Unlock()
	add(&c.changed)
}

func note(keys *map[string]bool, key string) {
	if *keys == nil {
		*keys = map[string]bool{}
	}
	(*keys)[key] = true
}

// tracked is an Indexer that tells of every write once it is done. before or after
// is nil when there was or is no such object.
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

// track makes the indexers tell all followers of every write.
func (o *Objects) track() {
	tell := func(add func(*changed, string)) func(string, any, any) {
		return func(key string, _, _ any) { o.tell(func(c *changed) { add(c, key) }) }
	}
	monitors := tell(func(c *changed, _ string) { c.monitors = true })
	for indexer, wrote := range map[*cache.Indexer]func(string, any, any){
		&o.pods:            tell(func(c *changed, key string) { note(&c.pods, key) }),
		&o.services:        tell(func(c *changed, key string) { note(&c.services, key) }),
		&o.slices:          tell(func(c *changed, key string) { note(&c.slices, key) }),
		&o.namespaces:      tell(func(c *changed, _ string) { c.namespaces = true }),
		&o.serviceMonitors: monitors,
		&o.podMonitors:     monitors,
		&o.secrets:         monitors,
		&o.configMaps:      monitors,
		&o.nodes: func(_ string, before, after any) {
			if !sameNode(before, after) {
				o.tell(func(c *changed) { c.nodes = true })
			}
		},
	} {
		*indexer = &tracked{Indexer: *indexer, wrote: wrote}
	}
}

func (o *Objects) tell(add func(*changed)) {
	o.followersMtx.Lock()
	defer o.followersMtx.Unlock()
	for _, f := range o.followers {
		f.record(add)
	}
}

// follow returns what gathers the changes from now on.
func (o *Objects) follow() *changes {
	o.followersMtx.Lock()
	defer o.followersMtx.Unlock()
	c := &changes{}
	o.followers = append(o.followers, c)
	return c
}

// sameNode tells whether nothing changed that a target may be labelled with. Nodes
// report their state every few minutes.
func sameNode(before, after any) bool {
	a, ok1 := before.(*corev1.Node)
	b, ok2 := after.(*corev1.Node)
	return ok1 && ok2 && maps.Equal(a.Labels, b.Labels) && maps.Equal(a.Annotations, b.Annotations)
}
