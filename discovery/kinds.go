package discovery

import (
	"context"
	"fmt"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// kind is one kind of object to watch.
type kind struct {
	gvr       schema.GroupVersionResource
	indexer   cache.Indexer
	example   runtime.Object
	client    any // what listWatch calls
	listWatch *cache.ListWatch
	transform func(any) any
	targets   bool // a change may change targets
}

// indispensable tells whether nothing can be known without a kind.
func indispensable(resource string) bool {
	switch resource {
	case "namespaces", "pods", "services", "endpointslices":
		return true
	}
	return false
}

// builtinKinds are the kinds every API server has.
func (s *ClusterSource) builtinKinds(o *Objects) []*kind {
	core, v1 := s.clients.Kubernetes.CoreV1(), corev1.SchemeGroupVersion
	slices := s.clients.Kubernetes.DiscoveryV1().EndpointSlices("")
	hpas := s.clients.Kubernetes.AutoscalingV2().HorizontalPodAutoscalers("")
	return []*kind{
		s.metadataKind(v1.WithResource("namespaces"), o.namespaces, true),
		s.metadataKind(v1.WithResource("nodes"), o.nodes, true),
		{
			gvr: v1.WithResource("pods"), indexer: o.pods, example: &corev1.Pod{}, client: s.clients.Kubernetes,
			listWatch: listWatch[*corev1.PodList](core.Pods("")), transform: slim, targets: true,
		},
		{
			gvr: v1.WithResource("services"), indexer: o.services, example: &corev1.Service{}, client: s.clients.Kubernetes,
			listWatch: listWatch[*corev1.ServiceList](core.Services("")), transform: slim, targets: true,
		},
		{
			gvr:     discoveryv1.SchemeGroupVersion.WithResource("endpointslices"),
			indexer: o.slices, example: &discoveryv1.EndpointSlice{}, client: s.clients.Kubernetes,
			listWatch: listWatch[*discoveryv1.EndpointSliceList](slices), transform: slim, targets: true,
		},
		{
			gvr:     autoscalingv2.SchemeGroupVersion.WithResource("horizontalpodautoscalers"),
			indexer: o.hpas, example: &autoscalingv2.HorizontalPodAutoscaler{}, client: s.clients.Kubernetes,
			listWatch: listWatch[*autoscalingv2.HorizontalPodAutoscalerList](hpas), transform: slim,
		},
	}
}

// monitorKinds are the kinds that need a CRD.
func (s *ClusterSource) monitorKinds(o *Objects) []*kind {
	monitor := func(resource, kindName string, indexer cache.Indexer) *kind {
		gvr := monitoringv1.SchemeGroupVersion.WithResource(resource)
		example := &unstructured.Unstructured{}
		example.SetGroupVersionKind(gvr.GroupVersion().WithKind(kindName))
		return &kind{
			gvr: gvr, indexer: indexer, example: example, client: s.clients.Dynamic,
			listWatch: listWatch[*unstructured.UnstructuredList](s.clients.Dynamic.Resource(gvr)),
			transform: fromUnstructured(resource), targets: true,
		}
	}
	return []*kind{
		monitor(monitoringv1.ServiceMonitorName, monitoringv1.ServiceMonitorsKind, o.serviceMonitors),
		monitor(monitoringv1.PodMonitorName, monitoringv1.PodMonitorsKind, o.podMonitors),
	}
}

func (s *ClusterSource) metadataKind(gvr schema.GroupVersionResource, indexer cache.Indexer, targets bool) *kind {
	return &kind{
		gvr: gvr, indexer: indexer, example: &metav1.PartialObjectMetadata{}, client: s.clients.Metadata,
		listWatch: listWatch[*metav1.PartialObjectMetadataList](s.clients.Metadata.Resource(gvr)),
		transform: fromMetadata(gvr.Resource), targets: targets,
	}
}

// listWatcher is what all of client-go's clients of one kind have.
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

// watching is a running informer.
type watching struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when all its goroutines have ended
}

func (w *watching) stop() {
	w.cancel()
	<-w.done
}

// watchKind watches all objects of a kind.
func (s *ClusterSource) watchKind(ctx context.Context, k *kind, changed func()) (*watching, error) {
	return s.watch(ctx, k, cache.ToListWatcherWithWatchListSemantics(s.observed(k, changed), k.client), changed, func() {
		s.setState(k, listed)
		s.updateSynced(changed)
	})
}

// watch starts an informer that keeps a kind's indexer current until ctx is done.
// listed is called when all objects have been listed once.
func (*ClusterSource) watch(ctx context.Context, k *kind, lw cache.ListerWatcher, changed, listed func()) (*watching, error) {
	informer := cache.NewSharedIndexInformer(lw, k.example, 0, cache.Indexers{})
	if err := informer.SetTransform(func(obj any) (any, error) { return k.transform(obj), nil }); err != nil {
		return nil, fmt.Errorf("prepare informer of %s: %w", k.gvr.Resource, err)
	}
	// The default handler would write to the log at every attempt.
	err := informer.SetWatchErrorHandlerWithContext(func(context.Context, *cache.Reflector, error) {})
	if err != nil {
		return nil, fmt.Errorf("prepare informer of %s: %w", k.gvr.Resource, err)
	}
	registration, err := informer.AddEventHandler(k.handler(changed))
	if err != nil {
		return nil, fmt.Errorf("prepare informer of %s: %w", k.gvr.Resource, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &watching{cancel: cancel, done: make(chan struct{})}
	listedOnce := make(chan struct{})
	go func() {
		defer close(listedOnce)
		select {
		case <-ctx.Done():
		case <-registration.HasSyncedChecker().Done():
			listed()
		}
	}()
	go func() {
		defer close(w.done)
		informer.RunWithContext(ctx)
		cancel() // already done, unless the informer has ended by itself
		<-listedOnce
	}()
	return w, nil
}

// handler copies an informer's objects into the kind's indexer.
func (k *kind) handler(changed func()) cache.ResourceEventHandler {
	notify := func() {
		if k.targets {
			changed()
		}
	}
	// An indexer fails only for objects without metadata, which informers do not
	// have.
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) {
			_ = k.indexer.Add(obj)
			notify()
		},
		UpdateFunc: func(before, obj any) {
			if sameVersion(before, obj) {
				return
			}
			_ = k.indexer.Update(obj)
			notify()
		},
		DeleteFunc: func(obj any) {
			_ = k.indexer.Delete(obj)
			notify()
		},
	}
}

// sameVersion tells whether an update brings nothing new, as after a new list.
func sameVersion(a, b any) bool {
	x, err1 := meta.Accessor(a)
	y, err2 := meta.Accessor(b)
	return err1 == nil && err2 == nil && x.GetResourceVersion() != "" &&
		x.GetResourceVersion() == y.GetResourceVersion() && x.GetUID() == y.GetUID()
}

// observed wraps a kind's list and watch calls to keep Problems.
func (s *ClusterSource) observed(k *kind, changed func()) *cache.ListWatch {
	list, watchVerb := "list "+k.gvr.Resource, "watch "+k.gvr.Resource
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			obj, err := k.listWatch.ListWithContext(ctx, opts)
			if ctx.Err() != nil || expired(err) {
				return obj, err
			}
			s.problems.set(list, err)
			s.count("list", k, err)
			if apierrors.IsForbidden(err) {
				s.setState(k, refused)
				s.updateSynced(changed)
			}
			return obj, err
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			w, err := k.listWatch.WatchWithContext(ctx, opts)
			streamed := deref(opts.SendInitialEvents) // a list in the form of a watch
			switch {
			case ctx.Err() != nil || expired(err):
			case err != nil && streamed: // the informer goes on to list
			case streamed:
				s.problems.set(list, nil)
				s.problems.set(watchVerb, nil)
			default:
				s.problems.set(watchVerb, err)
				s.count("watch", k, err)
			}
			return w, err
		},
	}
}

// expired tells of the ordinary end of what a watch can resume from.
func expired(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err)
}
