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

// maxReferences bounds the watches that monitors can bring about.
const maxReferences = 1000

var errTooManyReferences = fmt.Errorf("is not read: monitors refer to more than %d Secrets and ConfigMaps", maxReferences)

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
	for ref, w := range running {
		if wanted[ref] {
			continue
		}
		w.stop()
		delete(running, ref)
		k := s.referenceKind(objects, ref)
		if obj, ok, err := k.indexer.GetByKey(ref.key()); err == nil && ok {
			_ = k.indexer.Delete(obj) // cannot fail for an object with a key
		}
	}
	for _, ref := range slices.SortedFunc(maps.Keys(wanted), compareReferences) {
		if running[ref] != nil {
			continue
		}
		if len(running) >= maxReferences {
			objects.setReference(ref, errTooManyReferences, changed)
			continue
		}
		k := s.referenceKind(objects, ref)
		w, err := s.watch(ctx, k, observedReference(objects, ref, k.listWatch, changed), changed, func() {
			objects.setReference(ref, nil, changed)
		})
		if err != nil {
			return err
		}
		running[ref] = w
	}
	return nil
}

func compareReferences(a, b reference) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.key(), b.key()))
}

// referenceKind is the kind that holds nothing but one object.
func (s *ClusterSource) referenceKind(objects *Objects, ref reference) *kind {
	core := s.clients.Kubernetes.CoreV1()
	k := &kind{client: s.clients.Kubernetes, transform: slim, targets: true}
	if ref.kind == kindSecret {
		k.gvr, k.indexer, k.example = corev1.SchemeGroupVersion.WithResource("secrets"), objects.secrets, &corev1.Secret{}
		k.listWatch = listWatch[*corev1.SecretList](core.Secrets(ref.namespace))
	} else {
		k.gvr, k.indexer, k.example = corev1.SchemeGroupVersion.WithResource("configmaps"), objects.configMaps, &corev1.ConfigMap{}
		k.listWatch = listWatch[*corev1.ConfigMapList](core.ConfigMaps(ref.namespace))
	}
	return k
}

// observedReference narrows a list and watch to one object, and notices when it is
// refused.
func observedReference(objects *Objects, ref reference, lw *cache.ListWatch, changed func()) *cache.ListWatch {
	only := func(opts metav1.ListOptions) metav1.ListOptions {
		opts.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, ref.name).String()
		return opts
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			obj, err := lw.ListWithContext(ctx, only(opts))
			if apierrors.IsForbidden(err) && objects.references.reason(ref) != nil {
				objects.setReference(ref, fmt.Errorf("cannot be read, for want of the verbs list and watch: %w", err), changed)
			}
			return obj, err
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			return lw.WatchWithContext(ctx, only(opts))
		},
	}
}

// setReference says why an object that a monitor refers to is not known; nil when
// it is known whether there is one.
func (o *Objects) setReference(ref reference, err error, notify func()) {
	if o.references.set(ref, err) {
		o.tell(func(c *changed) { c.monitors = true })
		notify()
	}
}
