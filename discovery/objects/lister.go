package objects

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	operators "k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/tools/cache"
)

// labelIndex is the index of objects by "namespace/key=value" of each label.
const labelIndex = "label"

func indexByLabel(obj any) ([]string, error) {
	object, err := meta.Accessor(obj)
	if err != nil {
		return nil, fmt.Errorf("index by labels: %w", err)
	}
	values := make([]string, 0, len(object.GetLabels()))
	for key, value := range object.GetLabels() {
		values = append(values, labelled(object.GetNamespace(), key, value))
	}
	return values, nil
}

func labelled(namespace, key, value string) string { return namespace + "/" + key + "=" + value }

// labelLister finds the objects of a namespace that have a label by an index: an HPA
// asks for the pods of one application among thousands.
type labelLister struct {
	cache.GenericLister
	indexer cache.Indexer
}

func newLabelLister(indexer cache.Indexer, gr schema.GroupResource) labelLister {
	return labelLister{GenericLister: cache.NewGenericLister(indexer, gr), indexer: indexer}
}

// ByNamespace implements [cache.GenericLister].
func (l labelLister) ByNamespace(namespace string) cache.GenericNamespaceLister {
	if namespace == "" { // all namespaces
		return l.GenericLister.ByNamespace(namespace)
	}
	return labelNamespaceLister{GenericNamespaceLister: l.GenericLister.ByNamespace(namespace), indexer: l.indexer, namespace: namespace}
}

type labelNamespaceLister struct {
	cache.GenericNamespaceLister
	indexer   cache.Indexer
	namespace string
}

// List implements [cache.GenericNamespaceLister].
func (l labelNamespaceLister) List(sel labels.Selector) ([]runtime.Object, error) {
	value, ok := l.narrowest(sel)
	if !ok {
		return l.GenericNamespaceLister.List(sel)
	}
	found, err := l.indexer.ByIndex(labelIndex, value)
	if err != nil {
		return nil, err
	}
	listed := make([]runtime.Object, 0, len(found))
	for _, obj := range found {
		object, ok := obj.(runtime.Object)
		m, err := meta.Accessor(obj)
		if ok && err == nil && sel.Matches(labels.Set(m.GetLabels())) {
			listed = append(listed, object)
		}
	}
	return listed, nil
}

// narrowest returns, among the labels that a selector wants with one value, the one that
// the fewest objects have.
func (l labelNamespaceLister) narrowest(sel labels.Selector) (value string, ok bool) {
	requirements, selectable := sel.Requirements()
	if !selectable {
		return "", false
	}
	least := 0
	for _, r := range requirements {
		switch r.Operator() {
		case operators.Equals, operators.DoubleEquals, operators.In:
		default:
			continue
		}
		values := r.ValuesUnsorted()
		if len(values) != 1 {
			continue
		}
		candidate := labelled(l.namespace, r.Key(), values[0])
		keys, err := l.indexer.IndexKeys(labelIndex, candidate)
		if err == nil && (!ok || len(keys) < least) {
			value, least, ok = candidate, len(keys), true
		}
	}
	return value, ok
}
