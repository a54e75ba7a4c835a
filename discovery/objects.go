package discovery

import (
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

// Objects holds what is known of the cluster: one cache.Indexer for each kind,
// filled by a [Source]. Kinds held, as client-go's Go types: Namespace, Node, Pod,
// Service, EndpointSlice, ServiceMonitor, PodMonitor, HorizontalPodAutoscaler
// (autoscaling/v2), and of Secrets and ConfigMaps at least those that monitors refer
// to.
//
// Objects are stripped of what nobody reads (see [Cluster]) and shared by all
// readers: none may be changed. All methods may be called at any time.
type Objects struct {
	namespaces, nodes, pods, services, slices cache.Indexer
	serviceMonitors, podMonitors, hpas        cache.Indexer
	secrets, configMaps                       cache.Indexer

	byResource map[schema.GroupResource]cache.Indexer // never changes
	references *references

	followersMtx sync.Mutex
	followers    []*changes

	// batch is held for writing while a source makes changes that belong
	// together, and for reading while targets are computed.
	batch sync.RWMutex
}

// NewObjects returns an Objects that holds nothing yet.
func NewObjects() *Objects {
	o := &Objects{
		namespaces:      newIndexer(nil),
		nodes:           newIndexer(nil),
		pods:            newIndexer(cache.Indexers{labelIndex: indexByLabel}),
		services:        newIndexer(nil),
		slices:          newIndexer(cache.Indexers{serviceIndex: indexByService, labelIndex: indexByLabel}),
		serviceMonitors: newIndexer(nil),
		podMonitors:     newIndexer(nil),
		hpas:            newIndexer(nil),
		secrets:         newIndexer(nil),
		configMaps:      newIndexer(nil),
		references:      newReferences(),
	}
	o.track()
	o.byResource = map[schema.GroupResource]cache.Indexer{
		corev1.Resource("namespaces"):                      o.namespaces,
		corev1.Resource("nodes"):                           o.nodes,
		corev1.Resource("pods"):                            o.pods,
		corev1.Resource("services"):                        o.services,
		discoveryv1.Resource("endpointslices"):             o.slices,
		monitoringv1.Resource("servicemonitors"):           o.serviceMonitors,
		monitoringv1.Resource("podmonitors"):               o.podMonitors,
		autoscalingv2.Resource("horizontalpodautoscalers"): o.hpas,
		corev1.Resource("secrets"):                         o.secrets,
		corev1.Resource("configmaps"):                      o.configMaps,
	}
	return o
}

func newIndexer(extra cache.Indexers) cache.Indexer {
	indexers := cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
	for name, f := range extra {
		indexers[name] = f
	}
	return cache.NewIndexer(cache.DeletionHandlingMetaNamespaceKeyFunc, indexers)
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
func (o *Objects) Lister(gr schema.GroupResource) (lister cache.GenericLister, ok bool) {
	indexer, ok := o.byResource[gr]
	if !ok {
		return nil, false
	}
	if _, byLabel := indexer.GetIndexers()[labelIndex]; byLabel {
		return newLabelLister(indexer, gr), true
	}
	return cache.NewGenericLister(indexer, gr), true
}

// Indexer is where a [Source] puts the objects of one kind, which is named as for
// [Objects.Lister]. ok is false for a kind not held.
func (o *Objects) Indexer(gr schema.GroupResource) (indexer cache.Indexer, ok bool) {
	indexer, ok = o.byResource[gr]
	return indexer, ok
}

// Batch runs change, which fills or empties several indexers, in such a way that
// targets are computed from all of its work or none.
func (o *Objects) Batch(change func()) {
	o.batch.Lock()
	defer o.batch.Unlock()
	change()
}

// get returns the object with the key, or nil.
func get[T any](indexer cache.Indexer, key string) *T {
	obj, ok, err := indexer.GetByKey(key)
	if err != nil || !ok {
		return nil
	}
	typed, _ := obj.(*T)
	return typed
}

// inNamespaces returns the objects of the namespaces in no order; nil means all
// namespaces.
func inNamespaces[T any](indexer cache.Indexer, namespaces []string) []*T {
	if namespaces == nil {
		return typed[T](indexer.List())
	}
	var found []*T
	for _, ns := range namespaces {
		found = append(found, byIndex[T](indexer, cache.NamespaceIndex, ns)...)
	}
	return found
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
