package adapter

import (
	"fmt"
	"slices"
	"strings"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
)

// Lister gives the current objects of a resource, ok false for one that is not
// watched. Objects belong to their cache and are only read.
type Lister func(schema.GroupResource) (lister cache.GenericLister, ok bool)

// objects answers which objects there are now.
type objects struct{ lister Lister }

// list returns an error for a kind that cannot be listed.
func (o objects) list(k kind, namespace string, sel apilabels.Selector) ([]metav1.Object, error) {
	lister, ok := o.lister(k.GroupResource)
	if !ok {
		return nil, fmt.Errorf("%s are not watched", k.GroupResource)
	}
	var found []runtime.Object
	var err error
	if k.Namespaced && namespace != "" {
		found, err = lister.ByNamespace(namespace).List(sel)
	} else {
		found, err = lister.List(sel)
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", k.GroupResource, err)
	}
	listed := make([]metav1.Object, 0, len(found))
	for _, obj := range found {
		m, err := meta.Accessor(obj)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", k.GroupResource, err)
		}
		listed = append(listed, m)
	}
	return listed, nil
}

// missing reports whether an object of a watched kind is known not to exist.
func (o objects) missing(k kind, namespace, name string) (bool, error) {
	_, missing, err := o.since(k, namespace, name)
	return missing, err
}

// since returns when an object of a watched kind was created, or that it is known not
// to exist.
func (o objects) since(k kind, namespace, name string) (created time.Time, missing bool, err error) {
	lister, ok := o.lister(k.GroupResource)
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

// names returns the names of the objects that a selector picks. Kinds that are
// not watched are known by the pods they own, and their labels are not.
func (o objects) names(k kind, namespace string, sel apilabels.Selector) ([]string, error) {
	var names []string
	if _, watched := o.lister(k.GroupResource); watched {
		listed, err := o.list(k, namespace, sel)
		if err != nil {
			return nil, err
		}
		for _, obj := range listed {
			names = append(names, obj.GetName())
		}
	} else {
		if !sel.Empty() {
			return nil, absentAs(answerRefused, "%s are known by the pods they own, not by their labels: ask for one by name", k.GroupResource)
		}
		pods, err := o.list(podKind(), namespace, apilabels.Everything())
		if err != nil {
			return nil, err
		}
		for _, pod := range pods {
			names = append(names, ownersOf(pod, k)...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// pods returns the names of the pods behind a namespaced object now: a
// Service's endpoints, or the pods that a workload owns.
func (o objects) pods(k kind, namespace, name string) ([]string, error) {
	var names []string
	if k.GroupResource == serviceResource {
		listed, err := o.list(endpointSliceKind(), namespace, apilabels.SelectorFromSet(apilabels.Set{discoveryv1.LabelServiceName: name}))
		if err != nil {
			return nil, err
		}
		for _, obj := range listed {
			if slice, ok := obj.(*discoveryv1.EndpointSlice); ok {
				names = append(names, podsOfSlice(slice)...)
			}
		}
	} else {
		pods, err := o.list(podKind(), namespace, apilabels.Everything())
		if err != nil {
			return nil, err
		}
		for _, pod := range pods {
			if slices.Contains(ownersOf(pod, k), name) {
				names = append(names, pod.GetName())
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func podsOfSlice(slice *discoveryv1.EndpointSlice) []string {
	var names []string
	for _, e := range slice.Endpoints {
		if e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
			names = append(names, e.TargetRef.Name)
		}
	}
	return names
}

// ownersOf returns the names of the objects of a kind that own a pod. A
// Deployment owns through a ReplicaSet, whose name is the Deployment's and the
// pod's template hash.
func ownersOf(pod metav1.Object, k kind) []string {
	var names []string
	for _, ref := range pod.GetOwnerReferences() {
		gv, err := schema.ParseGroupVersion(ref.APIVersion)
		if err != nil {
			continue
		}
		if gv.Group == k.GVK.Group && ref.Kind == k.GVK.Kind {
			names = append(names, ref.Name)
		} else if name, ok := deploymentOf(pod, ref); ok && k.GroupResource == deploymentResource {
			names = append(names, name)
		}
	}
	return names
}

// deploymentOf returns the Deployment behind an owner of a pod, if it is a
// Deployment's ReplicaSet.
func deploymentOf(pod metav1.Object, ref metav1.OwnerReference) (name string, ok bool) {
	hash := pod.GetLabels()["pod-template-hash"]
	if ref.Kind != "ReplicaSet" || hash == "" {
		return "", false
	}
	name, ok = strings.CutSuffix(ref.Name, "-"+hash)
	return name, ok && name != ""
}

var (
	podResource           = schema.GroupResource{Resource: "pods"}
	serviceResource       = schema.GroupResource{Resource: "services"}
	namespaceResource     = schema.GroupResource{Resource: "namespaces"}
	deploymentResource    = schema.GroupResource{Group: "apps", Resource: "deployments"}
	endpointSliceResource = schema.GroupResource{Group: discoveryv1.GroupName, Resource: "endpointslices"}
)

func namespaceKind() kind { return kind{GroupResource: namespaceResource, Singular: "namespace"} }

func podKind() kind { return kind{GroupResource: podResource, Singular: "pod", Namespaced: true} }

func endpointSliceKind() kind { return kind{GroupResource: endpointSliceResource, Namespaced: true} }
