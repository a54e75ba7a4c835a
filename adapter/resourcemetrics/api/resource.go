package api

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
)

// resource is what pods and nodes have in common.
type resource struct{ ResourceMetrics }

// lister returns the lister of the objects of a resource.
func (r resource) lister(objects schema.GroupResource) (cache.GenericLister, error) {
	lister, ok := r.Lister(objects)
	if !ok {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("%s are not watched", objects))
	}
	return lister, nil
}

// Destroy implements rest.Storage. There is nothing to end.
func (resource) Destroy() {}

// GetSingularName is empty, as in metrics-server: kubectl then takes the kind's name.
func (resource) GetSingularName() string { return "" }

// selected returns the objects that options select, ordered by namespace and name. An empty namespace means all of them.
func selected[T metav1.Object](lister cache.GenericLister, namespace string, options *metainternalversion.ListOptions) ([]T, error) {
	byLabels, byFields := labels.Everything(), fields.Everything()
	if options != nil && options.LabelSelector != nil {
		byLabels = options.LabelSelector
	}
	if options != nil && options.FieldSelector != nil {
		byFields = options.FieldSelector
	}
	listed, err := lister.ByNamespace(namespace).List(byLabels)
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	found := make([]T, 0, len(listed))
	for _, object := range listed {
		if o, ok := object.(T); ok && (byFields.Empty() || byFields.Matches(fieldsOf(o))) {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(a, b T) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return found, nil
}

// fieldsOf returns the fields of an object that a field selector may name.
func fieldsOf(object metav1.Object) fields.Set {
	set := fields.Set{"metadata.name": object.GetName()}
	if namespace := object.GetNamespace(); namespace != "" {
		set["metadata.namespace"] = namespace
	}
	return set
}

// failed returns the answer to an error of the Source. It returns an API status as it is.
func failed(of string, err error) error {
	if status, ok := errors.AsType[*apierrors.StatusError](err); ok {
		return status
	}
	return fmt.Errorf("metrics of %s: %w", of, err)
}

// notFound returns the error for an object that exists but has no value.
func notFound(kind schema.GroupResource, name, reason string) error {
	err := apierrors.NewNotFound(kind, name)
	err.ErrStatus.Message += ": " + reason
	return err
}
