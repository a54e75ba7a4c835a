package discovery

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

const (
	// maxReferences bounds the watches that monitors can bring about, and
	// maxReferencesPerNamespace those of one namespace's.
	maxReferences             = 1000
	maxReferencesPerNamespace = 100
	// referenceAttempts is how often reading an object fails before the monitor is
	// rejected for it; about as many seconds.
	referenceAttempts = 3
)

// followReferences watches each Secret and ConfigMap that a monitor refers to, and
// no other, until ctx is done.
func (s *ClusterSource) followReferences(ctx context.Context, objects *Objects, changed func()) error {
	wanted := objects.references.follow()
	running := map[reference]*watching{}
	defer func() {
		for _, w := range running {
			w.stop()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wanted:
		}
		if err := s.updateReferences(ctx, objects, running, changed); err != nil {
			return err
		}
	}
}

// updateReferences starts and stops watches so that running has those wanted now.
func (s *ClusterSource) updateReferences(ctx context.Context, objects *Objects, running map[reference]*watching, changed func()) error {
	wanted := objects.references.list()
	inNamespace := map[string]int{}
	for ref, w := range running {
		if wanted[ref] {
			inNamespace[ref.namespace]++
			continue
		}
		w.stop()
		delete(running, ref)
		objects.references.forget(ref)
		s.problems.clear(ref.String())
		k := s.referenceKind(objects, ref)
		if obj, ok, err := k.indexer.GetByKey(ref.key()); err == nil && ok {
			_ = k.indexer.Delete(obj) // cannot fail for an object with a key
		}
	}
	objects.references.prune(wanted)
	for _, ref := range slices.SortedFunc(maps.Keys(wanted), compareReferences) {
		switch {
		case running[ref] != nil:
			continue
		case len(running) >= maxReferences:
			objects.setReference(ref, fmt.Errorf("is not read: monitors refer to more than %d Secrets and ConfigMaps", maxReferences), changed)
			continue
		case inNamespace[ref.namespace] >= maxReferencesPerNamespace:
			objects.setReference(ref, fmt.Errorf("is not read: monitors of its namespace refer to more than %d Secrets and ConfigMaps", maxReferencesPerNamespace), changed)
			continue
		}
		k := s.referenceKind(objects, ref)
		w, err := s.watch(ctx, k, s.observedReference(objects, ref, k, changed), changed, func() {
			objects.setReference(ref, nil, changed)
		})
		if err != nil {
			return err
		}
		running[ref] = w
		inNamespace[ref.namespace]++
	}
	return nil
}

func compareReferences(a, b reference) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.key(), b.key()))
}

// referenceKind is the kind that holds nothing but one object.
func (s *ClusterSource) referenceKind(objects *Objects, ref reference) *kind {
	client := s.clients.References
	if client == nil {
		client = s.clients.Kubernetes
	}
	core := client.CoreV1()
	k := &kind{transform: slim, targets: true}
	if ref.kind == kindSecret {
		k.gvr, k.indexer, k.example = corev1.SchemeGroupVersion.WithResource("secrets"), objects.secrets, &corev1.Secret{}
		k.listWatch = listWatch[*corev1.SecretList](core.Secrets(ref.namespace))
	} else {
		k.gvr, k.indexer, k.example = corev1.SchemeGroupVersion.WithResource("configmaps"), objects.configMaps, &corev1.ConfigMap{}
		k.listWatch = listWatch[*corev1.ConfigMapList](core.ConfigMaps(ref.namespace))
	}
	return k
}

// listThenWatch is a ListWatch whose list is not made in the form of a watch: the
// client limits the rate of lists only.
type listThenWatch struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is what client-go's informers ask.
func (listThenWatch) IsWatchListSemanticsUnSupported() bool { return true }

// observedReference narrows a list and watch to one object, and notices when it
// cannot be read. What was read before counts until it can be again.
func (s *ClusterSource) observedReference(objects *Objects, ref reference, k *kind, changed func()) cache.ListerWatcher {
	only := func(opts metav1.ListOptions) metav1.ListOptions {
		opts.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, ref.name).String()
		return opts
	}
	attempt, failures := "read "+ref.String(), 0
	return listThenWatch{&cache.ListWatch{
		// An informer calls these one after the other.
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			obj, err := k.listWatch.ListWithContext(ctx, only(opts))
			if ctx.Err() != nil || expired(err) {
				return obj, err
			}
			if err == nil {
				failures = 0
				s.problems.set(attempt, nil)
				return obj, nil
			}
			failures++
			s.count("list", k, err)
			switch {
			case objects.references.reason(ref) == nil: // it was read before
				s.problems.set(attempt, err)
			case apierrors.IsForbidden(err), failures >= referenceAttempts: // the monitor will say it
				objects.setReference(ref, fmt.Errorf("cannot be read, which takes the verbs list and watch (the component scrape-secrets of deploy has them): %w", err), changed)
			}
			return obj, err
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			w, err := k.listWatch.WatchWithContext(ctx, only(opts))
			if ctx.Err() == nil && !expired(err) {
				s.problems.set(attempt, err)
				s.count("watch", k, err)
			}
			return w, err
		},
	}}
}

// setReference says why an object that a monitor refers to is not known; nil when
// it is known whether there is one.
func (o *Objects) setReference(ref reference, err error, notify func()) {
	if o.references.set(ref, err) {
		o.tell(func(c *changed) { c.monitors = true })
		notify()
	}
}
