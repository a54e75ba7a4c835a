package monitors

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"
)

// fixedInformer is an informer whose objects are there from the start and never
// change. It costs a map, where a real one with a fake clientset behind it costs
// goroutines and several copies of each object.
type fixedInformer struct {
	cache.SharedIndexInformer // nil: nobody calls the rest
	indexer                   cache.Indexer
	// announce says whether handlers are told of the objects.
	announce bool
}

func (i *fixedInformer) GetStore() cache.Store     { return i.indexer }
func (i *fixedInformer) GetIndexer() cache.Indexer { return i.indexer }
func (i *fixedInformer) HasSynced() bool           { return true }

// AddEventHandler tells the handler of all objects before it returns.
func (i *fixedInformer) AddEventHandler(h cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
	if i.announce {
		for _, obj := range i.indexer.List() {
			h.OnAdd(obj, true)
		}
	}
	return nil, nil
}

// inNamespace is an informer of the objects of a namespace ("" for all) that a
// label selector takes.
func inNamespace[T metav1.Object](objects []T, namespace string, selector labels.Selector) (*fixedInformer, error) {
	i := &fixedInformer{indexer: cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})}
	for _, obj := range objects {
		if namespace != "" && obj.GetNamespace() != namespace || !selector.Matches(labels.Set(obj.GetLabels())) {
			continue
		}
		if err := i.indexer.Add(obj); err != nil {
			return nil, fmt.Errorf("index object: %w", err)
		}
	}
	return i, nil
}

// keys are those of all objects, sorted.
func (i *fixedInformer) keys() []string {
	return slices.Sorted(slices.Values(i.indexer.ListKeys()))
}
