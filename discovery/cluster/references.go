package cluster

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

	"github.com/promlet/promlet/discovery/objects"
)

const (
	// maxReferences bounds the watches that monitors can cause, and
	// maxReferencesPerNamespace those that the monitors of one namespace can.
	maxReferences             = 1000
	maxReferencesPerNamespace = 100
	// referenceAttempts is how often reading an object fails before the monitor is
	// rejected for it; about as many seconds.
	referenceAttempts = 3
)

// followReferences watches each Secret and ConfigMap that a monitor refers to, and
// no other, until ctx is done.
func (s *Source) followReferences(ctx context.Context, store *objects.Store, changed func()) error {
	wanted := store.References().Follow()
	running := map[objects.Reference]*watching{}
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
		if err := s.updateReferences(ctx, store, running, changed); err != nil {
			return err
		}
	}
}

// updateReferences starts and stops watches so that running has those wanted now.
func (s *Source) updateReferences(ctx context.Context, store *objects.Store, running map[objects.Reference]*watching, changed func()) error {
	wanted := store.References().Wanted()
	inNamespace := map[string]int{}
	for ref, w := range running {
		if wanted[ref] {
			inNamespace[ref.Namespace]++
			continue
		}
		w.stop()
		delete(running, ref)
		store.References().Forget(ref)
		s.problems.Forget(ref.String())
		k := s.referenceKind(store, ref)
		if obj, ok, err := k.indexer.GetByKey(ref.Key()); err == nil && ok {
			_ = k.indexer.Delete(obj) // cannot fail for an object with a key
		}
	}
	store.References().Prune(wanted)
	for _, ref := range slices.SortedFunc(maps.Keys(wanted), compareReferences) {
		switch {
		case running[ref] != nil:
			continue
		case len(running) >= maxReferences:
			setReference(store, ref, fmt.Errorf("is not read: monitors refer to more than %d Secrets and ConfigMaps", maxReferences), changed)
			continue
		case inNamespace[ref.Namespace] >= maxReferencesPerNamespace:
			setReference(store, ref, fmt.Errorf("is not read: monitors of its namespace refer to more than %d Secrets and ConfigMaps", maxReferencesPerNamespace), changed)
			continue
		}
		k := s.referenceKind(store, ref)
		w, err := s.watch(ctx, k, s.observedReference(store, ref, k, changed), changed, func() {
			setReference(store, ref, nil, changed)
		})
		if err != nil {
			return err
		}
		running[ref] = w
		inNamespace[ref.Namespace]++
	}
	return nil
}

// setReference records why an object is not known; nil when it has been read, or is known
// to be absent.
func setReference(store *objects.Store, ref objects.Reference, err error, changed func()) {
	if store.References().Set(ref, err) {
		changed()
	}
}

func compareReferences(a, b objects.Reference) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key(), b.Key()))
}

// referenceKind is the kind of a referenced object, restricted to its namespace.
func (s *Source) referenceKind(store *objects.Store, ref objects.Reference) *kind {
	client := s.clients.References
	if client == nil {
		client = s.clients.Kubernetes
	}
	core := client.CoreV1()
	k := &kind{transform: objects.Trim, targets: true}
	if ref.Kind == objects.KindSecret {
		k.gvr, k.example = corev1.SchemeGroupVersion.WithResource("secrets"), &corev1.Secret{}
		k.listWatch = listWatch[*corev1.SecretList](core.Secrets(ref.Namespace))
	} else {
		k.gvr, k.example = corev1.SchemeGroupVersion.WithResource("configmaps"), &corev1.ConfigMap{}
		k.listWatch = listWatch[*corev1.ConfigMapList](core.ConfigMaps(ref.Namespace))
	}
	return into(store, k)[0]
}

// listThenWatch is a ListWatch whose list is not made in the form of a watch: the
// client limits the rate of lists only.
type listThenWatch struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is called by client-go's informers.
func (listThenWatch) IsWatchListSemanticsUnSupported() bool { return true }

// observedReference narrows a list and watch to one object, and records when it cannot be
// read. What was read before stays until it can be read again.
func (s *Source) observedReference(store *objects.Store, ref objects.Reference, k *kind, changed func()) cache.ListerWatcher {
	only := func(opts metav1.ListOptions) metav1.ListOptions {
		opts.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, ref.Name).String()
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
				s.problems.Set(attempt, nil)
				return obj, nil
			}
			failures++
			s.countRequest("list", k, err)
			switch {
			case store.References().Err(ref) == nil: // it was read before
				s.problems.Set(attempt, err)
			case apierrors.IsForbidden(err), failures >= referenceAttempts: // the monitor is rejected with it
				setReference(store, ref, fmt.Errorf("cannot be read, which takes the verbs list and watch (the component scrape-secrets of deploy has them): %w", err), changed)
			}
			return obj, err
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			w, err := k.listWatch.WatchWithContext(ctx, only(opts))
			if ctx.Err() == nil && !expired(err) {
				s.problems.Set(attempt, err)
				s.countRequest("watch", k, err)
			}
			return w, err
		},
	}}
}
