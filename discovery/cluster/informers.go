package cluster

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
)

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
func (s *Source) watchKind(ctx context.Context, k *kind, changed func()) (*watching, error) {
	return s.watch(ctx, k, cache.ToListWatcherWithWatchListSemantics(s.observed(k, changed), k.client), changed, func() {
		s.setState(k, listed)
		s.updateSynced(changed)
	})
}

// watch starts an informer that keeps a kind's indexer current until ctx is done.
// listed is called when all objects have been listed once.
func (*Source) watch(ctx context.Context, k *kind, lw cache.ListerWatcher, changed, listed func()) (*watching, error) {
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

// sameVersion reports whether an update brings nothing new, as after a new list.
func sameVersion(a, b any) bool {
	x, err1 := meta.Accessor(a)
	y, err2 := meta.Accessor(b)
	return err1 == nil && err2 == nil && x.GetResourceVersion() != "" &&
		x.GetResourceVersion() == y.GetResourceVersion() && x.GetUID() == y.GetUID()
}

// observed wraps a kind's list and watch calls to record how they went.
func (s *Source) observed(k *kind, changed func()) *cache.ListWatch {
	list, watchVerb := "list "+k.gvr.Resource, "watch "+k.gvr.Resource
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			obj, err := k.listWatch.ListWithContext(ctx, opts)
			if ctx.Err() != nil || expired(err) {
				return obj, err
			}
			s.problems.Set(list, err)
			s.countRequest("list", k, err)
			if apierrors.IsForbidden(err) {
				s.setState(k, refused)
				s.updateSynced(changed)
			}
			return obj, err
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			w, err := k.listWatch.WatchWithContext(ctx, opts)
			streamed := ptr.Deref(opts.SendInitialEvents, false) // a list in the form of a watch
			switch {
			case ctx.Err() != nil || expired(err):
			case err != nil && streamed: // the informer goes on to list
			case streamed:
				s.problems.Set(list, nil)
				s.problems.Set(watchVerb, nil)
			default:
				s.problems.Set(watchVerb, err)
				s.countRequest("watch", k, err)
			}
			return w, err
		},
	}
}

// expired reports whether a watch can no longer resume from its version, which is
// ordinary: a new list follows.
func expired(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err)
}
