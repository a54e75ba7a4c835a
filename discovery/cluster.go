package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// DefaultCRDPoll is how often the API server is asked whether it has the CRDs of
// ServiceMonitor and PodMonitor. It is one small request, and an operator that is
// installed after promlet can wait that long.
const DefaultCRDPoll = 30 * time.Second

// Clients are the clients a ClusterSource uses. All but References must be set.
type Clients struct {
	Kubernetes kubernetes.Interface
	Dynamic    dynamic.Interface
	Metadata   metadata.Interface
	// References reads the Secrets and ConfigMaps of monitors. One of its own keeps
	// monitors from slowing down everything else. nil means Kubernetes.
	References kubernetes.Interface
}

// Requests a second for Secrets and ConfigMaps, and at first.
const (
	referenceQPS   = 50
	referenceBurst = 100
)

// NewClients makes the clients for an API server. Core kinds come as protobuf,
// which costs both sides less than JSON.
func NewClients(cfg *rest.Config) (Clients, error) {
	typedCfg := rest.CopyConfig(cfg)
	typedCfg.ContentType = "application/vnd.kubernetes.protobuf"
	typedCfg.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	referenceCfg := rest.CopyConfig(typedCfg)
	referenceCfg.QPS, referenceCfg.Burst, referenceCfg.RateLimiter = referenceQPS, referenceBurst, nil
	var (
		c                      Clients
		err1, err2, err3, err4 error
	)
	c.References, err4 = kubernetes.NewForConfig(referenceCfg)
	c.Kubernetes, err1 = kubernetes.NewForConfig(typedCfg)
	c.Dynamic, err2 = dynamic.NewForConfig(cfg)
	c.Metadata, err3 = metadata.NewForConfig(cfg)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return Clients{}, fmt.Errorf("make clients: %w", err)
	}
	return c, nil
}

// ClusterOptions are the settings of a ClusterSource. The zero value is usable.
type ClusterOptions struct {
	// Logger gets troubles with the API server when they come and go. nil is silent.
	Logger *slog.Logger
	// CRDPoll is how often to look whether the CRDs of the monitors are there.
	// Zero or negative means DefaultCRDPoll.
	CRDPoll time.Duration
	// Registerer has promlet_discovery_request_errors_total while Run runs. Nil: it is
	// not exported.
	Registerer prometheus.Registerer
}

// ClusterSource is a [Source] that watches a Kubernetes API server.
type ClusterSource struct {
	clients  Clients
	crdPoll  time.Duration
	problems *problems

	registerer    prometheus.Registerer // nil for none
	requestErrors *prometheus.CounterVec

	mtx    sync.Mutex
	state  map[string]kindState // by resource
	crds   bool                 // it is known which CRDs there are
	synced bool
}

// kindState says how far the list of one kind is.
type kindState int

const (
	listing kindState = iota
	refused           // the API server does not let us list it
	listed
)

// Cluster returns a Source that watches, through shared informers, Namespaces and
// Nodes (metadata only), Pods, Services, EndpointSlices and
// HorizontalPodAutoscalers, and ServiceMonitors and PodMonitors whenever their
// CRDs are there. It needs the verbs list and watch on each. The Secrets and
// ConfigMaps that monitors refer to it watches one by one; where it has not these
// verbs for one of them, the monitor is rejected.
//
// Objects are kept without what nobody reads: managed fields, finalizers, the last
// applied configuration; of pods all but node, IP addresses, phase, readiness and
// the names, images, IDs and ports of containers; status of Services; hints of
// EndpointSlices; status of monitors.
//
// It has synced when all kinds have been listed once. Nodes,
// HorizontalPodAutoscalers and monitors that it may not list are not waited for;
// see [ClusterSource.Problems].
func Cluster(clients Clients, opts ClusterOptions) *ClusterSource {
	logger := opts.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if opts.CRDPoll <= 0 {
		opts.CRDPoll = DefaultCRDPoll
	}
	return &ClusterSource{
		clients:  clients,
		crdPoll:  opts.CRDPoll,
		problems: newProblems(logger, "trouble with the API server"),
		state:    map[string]kindState{},

		registerer:    opts.Registerer,
		requestErrors: newRequestErrors(),
	}
}

// HasSynced implements [Source].
func (s *ClusterSource) HasSynced() bool {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	return s.synced
}

// Problems implements [Source]: one line for each kind and verb that the API server
// refuses or fails, such as a missing permission.
func (s *ClusterSource) Problems() []string { return s.problems.list() }

// Run implements [Source]. It may be called once.
func (s *ClusterSource) Run(ctx context.Context, objects *Objects, changed func()) error {
	if s.registerer != nil {
		if err := s.registerer.Register(s.requestErrors); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
		defer s.registerer.Unregister(s.requestErrors)
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer func() {
		cancel()
		wg.Wait()
	}()
	kinds := s.builtinKinds(objects)
	for _, k := range kinds {
		s.setState(k, listing)
	}
	for _, k := range kinds {
		watching, err := s.watchKind(ctx, k, changed)
		if err != nil {
			return err
		}
		wg.Go(func() { <-watching.done })
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.followCRDs(ctx, objects, changed) })
	group.Go(func() error { return s.followReferences(ctx, objects, changed) })
	return group.Wait()
}

// followCRDs watches monitors for as long as their CRDs are there.
func (s *ClusterSource) followCRDs(ctx context.Context, objects *Objects, changed func()) error {
	running := map[string]*watching{}
	defer func() {
		for _, w := range running {
			w.stop()
		}
	}()
	ticker := time.NewTicker(s.crdPoll)
	defer ticker.Stop()
	for {
		if err := s.updateCRDs(ctx, objects, running, changed); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// updateCRDs starts and stops watches so that running has the monitors that the API
// server has now.
func (s *ClusterSource) updateCRDs(ctx context.Context, objects *Objects, running map[string]*watching, changed func()) error {
	served, err := s.servedMonitors(ctx)
	if ctx.Err() != nil {
		return nil
	}
	s.problems.set("discover "+monitoringv1.SchemeGroupVersion.String(), err)
	if err != nil {
		return nil // what there was is still there, as far as is known
	}
	for _, k := range s.monitorKinds(objects) {
		name := k.gvr.Resource
		switch w := running[name]; {
		case served[name] && w == nil:
			s.setState(k, listing)
			if running[name], err = s.watchKind(ctx, k, changed); err != nil {
				return err
			}
		case !served[name] && w != nil:
			w.stop()
			delete(running, name)
			s.forget(k)
			changed()
		}
	}
	s.mtx.Lock()
	s.crds = true
	s.mtx.Unlock()
	s.updateSynced(changed)
	return nil
}

// servedMonitors asks which kinds of monitors the API server has.
func (s *ClusterSource) servedMonitors(ctx context.Context) (map[string]bool, error) {
	list, err := s.clients.Kubernetes.Discovery().
		ServerResourcesForGroupVersionWithContext(ctx, monitoringv1.SchemeGroupVersion.String())
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	served := map[string]bool{}
	for i := range list.APIResources {
		served[list.APIResources[i].Name] = true
	}
	return served, nil
}

func (s *ClusterSource) setState(k *kind, state kindState) {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	// A kind that was listed once is known, even if the list is refused later.
	if s.state[k.gvr.Resource] != listed {
		s.state[k.gvr.Resource] = state
	}
}

// forget removes all that is known of a kind that the API server no longer has.
func (s *ClusterSource) forget(k *kind) {
	s.mtx.Lock()
	delete(s.state, k.gvr.Resource)
	s.mtx.Unlock()
	s.problems.clear(k.gvr.Resource)
	// Replacing all by nothing cannot fail: there are no keys to make.
	_ = k.indexer.Replace(nil, "")
}

// updateSynced notices that the last kind waited for has arrived.
func (s *ClusterSource) updateSynced(changed func()) {
	s.mtx.Lock()
	before := s.synced
	settled := true
	for name, state := range s.state {
		settled = settled && (state == listed || state == refused && !indispensable(name))
	}
	s.synced = s.synced || s.crds && settled
	after := s.synced
	s.mtx.Unlock()
	if after && !before {
		changed()
	}
}
