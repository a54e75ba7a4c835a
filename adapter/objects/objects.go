package objects

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
)

// ErrUnlabelled is returned by Names for a selector on a kind that is not watched.
var ErrUnlabelled = errors.New("known by the pods they own, not by their labels: ask for one by name")

// Lister gives the current objects of a resource, ok false for one that is not
// watched. Objects belong to their cache and are only read.
type Lister func(schema.GroupResource) (lister cache.GenericLister, ok bool)

// Reader reads the objects that exist now.
type Reader struct{ Lister Lister }

// list returns the objects of a resource, of all namespaces where namespace is empty. A
// resource that is not watched is an error.
func list[T metav1.Object](r Reader, gr schema.GroupResource, namespace string, sel apilabels.Selector) ([]T, error) {
	lister, ok := r.Lister(gr)
	if !ok {
		return nil, fmt.Errorf("%s are not watched", gr)
	}
	found, err := lister.ByNamespace(namespace).List(sel)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", gr, err)
	}
	listed := make([]T, 0, len(found))
	for _, obj := range found {
		if t, ok := obj.(T); ok {
			listed = append(listed, t)
		}
	}
	return listed, nil
}

// Watched reports whether objects of a kind are known themselves, and not only by the
// pods that they own.
func (r Reader) Watched(k Kind) bool {
	_, ok := r.Lister(k.GroupResource)
	return ok
}

// Missing reports whether an object of a watched kind is known not to exist.
func (r Reader) Missing(k Kind, namespace, name string) (bool, error) {
	_, missing, err := r.Since(k, namespace, name)
	return missing, err
}

// Since returns when an object of a watched kind was created, or that it is known not to
// exist.
func (r Reader) Since(k Kind, namespace, name string) (created time.Time, missing bool, err error) {
	lister, ok := r.Lister(k.GroupResource)
	if !ok {
		return time.Time{}, false, nil
	}
	var found runtime.Object
	if k.Namespaced {
		found, err = lister.ByNamespace(namespace).Get(name)
	} else {
		found, err = lister.Get(name)
	}
	if apierrors.IsNotFound(err) {
		return time.Time{}, true, nil
	}
	if object, ok := found.(metav1.Object); ok && err == nil {
		created = object.GetCreationTimestamp().Time
	}
	return created, false, err
}

// Object returns an object by its name, nil if it does not exist. The error says if the resource is not watched.
func (r Reader) Object(gr schema.GroupResource, namespace, name string) (runtime.Object, error) {
	lister, ok := r.Lister(gr)
	if !ok {
		return nil, fmt.Errorf("%s are not watched", gr)
	}
	var found runtime.Object
	var err error
	if namespace != "" {
		found, err = lister.ByNamespace(namespace).Get(name)
	} else {
		found, err = lister.Get(name)
	}
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return found, err
}

// Names returns the names of the objects that a selector picks, sorted. Kinds that are not
// watched are known by the pods they own: then a selector that is not empty is
// ErrUnlabelled.
func (r Reader) Names(k Kind, namespace string, sel apilabels.Selector) (names []string, err error) {
	if !k.Namespaced {
		namespace = ""
	}
	if r.Watched(k) {
		listed, err := list[metav1.Object](r, k.GroupResource, namespace, sel)
		if err != nil {
			return nil, err
		}
		names = make([]string, 0, len(listed))
		for _, obj := range listed {
			names = append(names, obj.GetName())
		}
	} else {
		if !sel.Empty() {
			return nil, fmt.Errorf("%s are %w", k.GroupResource, ErrUnlabelled)
		}
		pods, err := r.podsOf(namespace)
		if err != nil {
			return nil, err
		}
		for _, pod := range pods {
			for _, owner := range ownersOf(pod) {
				if owner.Group == k.GVK.Group && owner.Kind == k.GVK.Kind {
					names = append(names, owner.Name)
				}
			}
		}
	}
	return sorted(names), nil
}

// Pods returns the names of the pods behind a namespaced object now, sorted: a Service's
// endpoints, or the pods that a workload owns.
func (r Reader) Pods(k Kind, namespace, name string) (names []string, err error) {
	if k.IsService() {
		endpoints, err := r.EndpointSlices(namespace, name)
		if err != nil {
			return nil, err
		}
		for _, slice := range endpoints {
			names = append(names, PodsOfSlice(slice)...)
		}
		return sorted(names), nil
	}
	pods, err := r.podsOf(namespace)
	if err != nil {
		return nil, err
	}
	owner := Owner{Namespace: namespace, Group: k.GVK.Group, Kind: k.GVK.Kind, Name: name}
	for _, pod := range pods {
		if slices.Contains(ownersOf(pod), owner) {
			names = append(names, pod.Name)
		}
	}
	return sorted(names), nil
}

func (r Reader) podsOf(namespace string) ([]*corev1.Pod, error) {
	return list[*corev1.Pod](r, corev1.Resource("pods"), namespace, apilabels.Everything())
}

// EndpointSlices returns those of a Service, or of all where service is empty.
func (r Reader) EndpointSlices(namespace, service string) ([]*discoveryv1.EndpointSlice, error) {
	sel := apilabels.Everything()
	if service != "" {
		sel = apilabels.SelectorFromSet(apilabels.Set{discoveryv1.LabelServiceName: service})
	}
	return list[*discoveryv1.EndpointSlice](r, discoveryv1.Resource("endpointslices"), namespace, sel)
}

// PodsOfSlice returns the names of the pods that are endpoints of a slice.
func PodsOfSlice(slice *discoveryv1.EndpointSlice) (names []string) {
	for i := range slice.Endpoints {
		if of := slice.Endpoints[i].TargetRef; of != nil && of.Kind == "Pod" {
			names = append(names, of.Name)
		}
	}
	return names
}

// Autoscalers returns the HorizontalPodAutoscalers of a namespace, or of all where it is
// empty, ordered by namespace and name; none where they are not watched.
func (r Reader) Autoscalers(namespace string) ([]*autoscalingv2.HorizontalPodAutoscaler, error) {
	resource := autoscalingv2.Resource("horizontalpodautoscalers")
	if _, ok := r.Lister(resource); !ok {
		return nil, nil
	}
	hpas, err := list[*autoscalingv2.HorizontalPodAutoscaler](r, resource, namespace, apilabels.Everything())
	slices.SortFunc(hpas, func(a, b *autoscalingv2.HorizontalPodAutoscaler) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return hpas, err
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
