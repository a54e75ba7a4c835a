package objects

import (
	"fmt"
	"maps"
	"sync"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
)

// serviceIndex is the index of EndpointSlices by the "namespace/name" of their
// Service.
const serviceIndex = "service"

// UndecodableAnnotation marks a monitor that a source could not decode; its value says
// why. Such a monitor has nothing but its name.
const UndecodableAnnotation = "promlet.io/undecodable"

// Store holds what is known of the cluster: one cache.Indexer for each kind, filled by
// a source. The kinds, as client-go's Go types, are Namespace, Node, Pod, Service,
// EndpointSlice, ServiceMonitor, PodMonitor, HorizontalPodAutoscaler (autoscaling/v2),
// Secret and ConfigMap. Of Secrets and ConfigMaps it has at least those that monitors
// refer to.
//
// Objects are trimmed (see [Trim]) and shared by all readers: none may be changed. All
// methods may be called at any time.
type Store struct {
	namespaces, nodes, pods, services, slices cache.Indexer
	serviceMonitors, podMonitors, hpas        cache.Indexer
	secrets, configMaps                       cache.Indexer

	byResource map[schema.GroupResource]cache.Indexer // never changes
	references *References

	followersMtx sync.Mutex
	followers    []*Changes

	// batch is held for writing while a source makes changes that belong
	// together, and for reading while targets are computed.
	batch sync.RWMutex
}

// NewStore returns an empty Store.
func NewStore() *Store {
	s := &Store{
		namespaces:      newIndexer[corev1.Namespace](nil),
		nodes:           newIndexer[corev1.Node](nil),
		pods:            newIndexer[corev1.Pod](cache.Indexers{labelIndex: indexByLabel}),
		services:        newIndexer[corev1.Service](nil),
		slices:          newIndexer[discoveryv1.EndpointSlice](cache.Indexers{serviceIndex: indexByService, labelIndex: indexByLabel}),
		serviceMonitors: newIndexer[monitoringv1.ServiceMonitor](nil),
		podMonitors:     newIndexer[monitoringv1.PodMonitor](nil),
		hpas:            newIndexer[autoscalingv2.HorizontalPodAutoscaler](nil),
		secrets:         newIndexer[corev1.Secret](nil),
		configMaps:      newIndexer[corev1.ConfigMap](nil),
	}
	s.references = newReferences(func() { s.tell(func(c *Changed) { c.Monitors = true }) })
	s.track()
	s.byResource = map[schema.GroupResource]cache.Indexer{
		corev1.Resource("namespaces"):                      s.namespaces,
		corev1.Resource("nodes"):                           s.nodes,
		corev1.Resource("pods"):                            s.pods,
		corev1.Resource("services"):                        s.services,
		discoveryv1.Resource("endpointslices"):             s.slices,
		monitoringv1.Resource("servicemonitors"):           s.serviceMonitors,
		monitoringv1.Resource("podmonitors"):               s.podMonitors,
		autoscalingv2.Resource("horizontalpodautoscalers"): s.hpas,
		corev1.Resource("secrets"):                         s.secrets,
		corev1.Resource("configmaps"):                      s.configMaps,
	}
	return s
}

func newIndexer[T any](extra cache.Indexers) cache.Indexer {
	indexers := cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
	maps.Copy(indexers, extra)
	return cache.NewIndexer(keyOf[T], indexers)
}

// keyOf returns the key of an object of type *T, and an error for other types.
func keyOf[T any](obj any) (string, error) {
	switch obj.(type) {
	case *T, cache.DeletedFinalStateUnknown, cache.ExplicitKey:
		return cache.DeletionHandlingMetaNamespaceKeyFunc(obj)
	}
	return "", fmt.Errorf("object is a %T, but the indexer holds %T", obj, (*T)(nil))
}

func indexByService(obj any) ([]string, error) {
	slice, ok := obj.(*discoveryv1.EndpointSlice)
	if !ok {
		return nil, nil
	}
	name, ok := slice.Labels[discoveryv1.LabelServiceName]
	if !ok {
		return nil, nil
	}
	return []string{slice.Namespace + "/" + name}, nil
}

// Lister reads the current objects of one kind, which is named by its
// group-resource: pods, services, nodes, namespaces,
// endpointslices.discovery.k8s.io, horizontalpodautoscalers.autoscaling,
// servicemonitors.monitoring.coreos.com, podmonitors.monitoring.coreos.com, secrets,
// configmaps.
// The objects returned are shared: read only. ok is false for a kind not held.
func (s *Store) Lister(gr schema.GroupResource) (lister cache.GenericLister, ok bool) {
	indexer, ok := s.byResource[gr]
	if !ok {
		return nil, false
	}
	if _, byLabel := indexer.GetIndexers()[labelIndex]; byLabel {
		return newLabelLister(indexer, gr), true
	}
	return cache.NewGenericLister(indexer, gr), true
}

// Indexer is where a source puts the objects of one kind, which is named as for
// [Store.Lister]. It refuses objects of other Go types. ok is false for a kind not held.
func (s *Store) Indexer(gr schema.GroupResource) (indexer cache.Indexer, ok bool) {
	indexer, ok = s.byResource[gr]
	return indexer, ok
}

// References returns the Secrets and ConfigMaps that monitors refer to.
func (s *Store) References() *References { return s.references }

// Batch runs write, which fills or empties several indexers. [Store.Read] sees all of
// its work or none.
func (s *Store) Batch(write func()) {
	s.batch.Lock()
	defer s.batch.Unlock()
	write()
}

// Read runs read while no Batch runs.
func (s *Store) Read(read func()) {
	s.batch.RLock()
	defer s.batch.RUnlock()
	read()
}

// Object is a kind of object that [Get] and [List] read.
type Object interface {
	corev1.Namespace | corev1.Node | corev1.Pod | corev1.Service | discoveryv1.EndpointSlice |
		monitoringv1.ServiceMonitor | monitoringv1.PodMonitor | corev1.Secret | corev1.ConfigMap
}

func indexerOf[T Object](s *Store) cache.Indexer {
	switch any((*T)(nil)).(type) {
	case *corev1.Namespace:
		return s.namespaces
	case *corev1.Node:
		return s.nodes
	case *corev1.Pod:
		return s.pods
	case *corev1.Service:
		return s.services
	case *discoveryv1.EndpointSlice:
		return s.slices
	case *monitoringv1.ServiceMonitor:
		return s.serviceMonitors
	case *monitoringv1.PodMonitor:
		return s.podMonitors
	case *corev1.Secret:
		return s.secrets
	default:
		return s.configMaps
	}
}

// Get returns the object of a key, "namespace/name" or the name of one that is in no
// namespace, or nil.
func Get[T Object](s *Store, key string) *T {
	obj, ok, err := indexerOf[T](s).GetByKey(key)
	if err != nil || !ok {
		return nil
	}
	typed, _ := obj.(*T)
	return typed
}

// List returns the objects of the namespaces in no order; nil means all namespaces.
func List[T Object](s *Store, namespaces []string) []*T {
	indexer := indexerOf[T](s)
	if namespaces == nil {
		return typed[T](indexer.List())
	}
	var found []*T
	for _, ns := range namespaces {
		found = append(found, byIndex[T](indexer, cache.NamespaceIndex, ns)...)
	}
	return found
}

// SlicesOf returns the EndpointSlices of a Service, given as "namespace/name", in no
// order.
func (s *Store) SlicesOf(service string) []*discoveryv1.EndpointSlice {
	return byIndex[discoveryv1.EndpointSlice](s.slices, serviceIndex, service)
}

func byIndex[T any](indexer cache.Indexer, index, value string) []*T {
	objs, err := indexer.ByIndex(index, value)
	if err != nil { // the index does not exist, which newIndexer rules out
		return nil
	}
	return typed[T](objs)
}

func typed[T any](objs []any) []*T {
	out := make([]*T, 0, len(objs))
	for _, obj := range objs {
		if t, ok := obj.(*T); ok {
			out = append(out, t)
		}
	}
	return out
}
