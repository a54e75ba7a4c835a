package cluster

import (
	"context"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/promlet/promlet/discovery/objects"
)

// kind is one kind of object to watch.
type kind struct {
	gvr       schema.GroupVersionResource
	indexer   cache.Indexer
	example   runtime.Object
	client    any // the client behind listWatch
	listWatch *cache.ListWatch
	transform func(any) any
	targets   bool // a change may change targets
}

// indispensable reports whether promlet cannot know its targets, or answer, without a kind.
func (s *Source) indispensable(resource string) bool {
	switch resource {
	case "namespaces", "pods", "services":
		return true
	case "endpointslices":
		return s.scrapes
	}
	return false
}

// builtinKinds are the kinds every API server has.
func (s *Source) builtinKinds(store *objects.Store) []*kind {
	core, v1 := s.clients.Kubernetes.CoreV1(), corev1.SchemeGroupVersion
	slices := s.clients.Kubernetes.DiscoveryV1().EndpointSlices("")
	hpas := s.clients.Kubernetes.AutoscalingV2().HorizontalPodAutoscalers("")
	kinds := []*kind{
		s.metadataKind(v1.WithResource("namespaces")),
		s.nodeKind(v1.WithResource("nodes")),
		{
			gvr: v1.WithResource("pods"), example: &corev1.Pod{}, client: s.clients.Kubernetes,
			listWatch: listWatch[*corev1.PodList](core.Pods("")), transform: s.trimPods(), targets: true,
		},
		{
			gvr: v1.WithResource("services"), example: &corev1.Service{}, client: s.clients.Kubernetes,
			listWatch: listWatch[*corev1.ServiceList](core.Services("")), transform: objects.Trim, targets: true,
		},
		{
			gvr:     discoveryv1.SchemeGroupVersion.WithResource("endpointslices"),
			example: &discoveryv1.EndpointSlice{}, client: s.clients.Kubernetes,
			listWatch: listWatch[*discoveryv1.EndpointSliceList](slices), transform: objects.Trim, targets: true,
		},
		{
			gvr:     autoscalingv2.SchemeGroupVersion.WithResource("horizontalpodautoscalers"),
			example: &autoscalingv2.HorizontalPodAutoscaler{}, client: s.clients.Kubernetes,
			listWatch: listWatch[*autoscalingv2.HorizontalPodAutoscalerList](hpas), transform: objects.Trim,
		},
	}
	return into(store, kinds...)
}

// trimPods returns the transformation of pods.
func (s *Source) trimPods() func(any) any {
	if s.requests {
		return objects.TrimWithRequests
	}
	return objects.Trim
}

// into sets the indexers of kinds.
func into(store *objects.Store, kinds ...*kind) []*kind {
	for _, k := range kinds {
		k.indexer, _ = store.Indexer(k.gvr.GroupResource())
	}
	return kinds
}

// monitorKinds are the kinds that need a CRD.
func (s *Source) monitorKinds(store *objects.Store) []*kind {
	monitor := func(resource, kindName string) *kind {
		gvr := monitoringv1.SchemeGroupVersion.WithResource(resource)
		example := &unstructured.Unstructured{}
		example.SetGroupVersionKind(gvr.GroupVersion().WithKind(kindName))
		return &kind{
			gvr: gvr, example: example, client: s.clients.Dynamic,
			listWatch: listWatch[*unstructured.UnstructuredList](s.clients.Dynamic.Resource(gvr)),
			transform: fromUnstructured(resource), targets: true,
		}
	}
	return into(store,
		monitor(monitoringv1.ServiceMonitorName, monitoringv1.ServiceMonitorsKind),
		monitor(monitoringv1.PodMonitorName, monitoringv1.PodMonitorsKind))
}

func (s *Source) nodeKind(gvr schema.GroupVersionResource) *kind {
	if !s.nodes {
		return s.metadataKind(gvr)
	}
	return &kind{
		gvr: gvr, example: &corev1.Node{}, client: s.clients.Kubernetes,
		listWatch: listWatch[*corev1.NodeList](s.clients.Kubernetes.CoreV1().Nodes()), transform: objects.Trim, targets: true,
	}
}

func (s *Source) metadataKind(gvr schema.GroupVersionResource) *kind {
	return &kind{
		gvr: gvr, example: &metav1.PartialObjectMetadata{}, client: s.clients.Metadata,
		listWatch: listWatch[*metav1.PartialObjectMetadataList](s.clients.Metadata.Resource(gvr)),
		transform: fromMetadata(gvr.Resource), targets: true,
	}
}

// listWatcher is the part of client-go's typed clients that informers need.
type listWatcher[L runtime.Object] interface {
	List(ctx context.Context, opts metav1.ListOptions) (L, error)
	Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error)
}

func listWatch[L runtime.Object](client listWatcher[L]) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			return client.List(ctx, opts)
		},
		WatchFuncWithContext: client.Watch,
	}
}
