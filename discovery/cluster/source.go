package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/promlet/promlet/discovery/objects"
)

// DefaultCRDPoll is how often the API server is asked whether it has the CRDs of
// ServiceMonitor and PodMonitor. It is one small request, and an operator that is
// installed after promlet can wait that long.
const DefaultCRDPoll = 30 * time.Second

// Options are the settings of a Source. The zero value is usable.
type Options struct {
	// Logger gets problems with the API server when they come and when they are over.
	// nil is silent.
	Logger *slog.Logger
	// CRDPoll is how often to look whether the CRDs of the monitors are there.
	// Zero or negative means DefaultCRDPoll.
	CRDPoll time.Duration
	// NoMonitors leaves out ServiceMonitors, PodMonitors and the objects that they name, because nothing is scraped. The
	// Source is then also synced if it may not list EndpointSlices.
	NoMonitors bool
	// NodeAddresses watches Nodes with their addresses, which are needed to scrape kubelets.
	// False: only their metadata is watched. The rest of a Node is large, and changes more often.
	NodeAddresses bool
	// PodRequests keeps what pods and their containers request. It is needed for
	// HorizontalPodAutoscalers with a target utilization.
	PodRequests bool
	// Registerer has promlet_discovery_request_errors_total while Run runs. Nil: it is
	// not exported.
	Registerer prometheus.Registerer
}

// Source watches a Kubernetes API server. It is a discovery.Source.
type Source struct {
	clients  Clients
	crdPoll  time.Duration
	scrapes  bool // monitors are watched
	nodes    bool // Nodes are watched with their addresses
	requests bool // requests of pods are kept
	problems *objects.Problems

	registerer    prometheus.Registerer // nil for none
	requestErrors *prometheus.CounterVec

	mtx    sync.Mutex
	state  map[string]kindState // by resource
	crds   bool                 // it is known which CRDs there are
	synced bool
}

// kindState is how far the list of one kind is.
type kindState int

const (
	listing kindState = iota
	refused           // the API server forbids listing it
	listed
)

// New returns a Source. It needs the verbs list and watch on each kind that it watches.
// A monitor that refers to a Secret or ConfigMap without these verbs is rejected.
//
// It has synced when all kinds have been listed once. It does not wait for Nodes,
// HorizontalPodAutoscalers and monitors whose list is forbidden; see [Source.Problems].
func New(clients Clients, opts Options) *Source {
	logger := opts.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if opts.CRDPoll <= 0 {
		opts.CRDPoll = DefaultCRDPoll
	}
	return &Source{
		clients:  clients,
		crdPoll:  opts.CRDPoll,
		scrapes:  !opts.NoMonitors,
		nodes:    opts.NodeAddresses,
		requests: opts.PodRequests,
		problems: objects.NewProblems(logger, "trouble with the API server"),
		state:    map[string]kindState{},

		registerer:    opts.Registerer,
		requestErrors: newRequestErrors(),
	}
}

// HasSynced implements discovery.Source.
func (s *Source) HasSynced() bool {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	return s.synced
}

// Problems implements discovery.Source: one line for each kind and verb that the API
// server refuses or fails, such as a missing permission.
func (s *Source) Problems() []string { return s.problems.List() }

// Run implements discovery.Source. It may be called once.
func (s *Source) Run(ctx context.Context, store *objects.Store, changed func()) error {
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
	kinds := s.builtinKinds(store)
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
	if !s.scrapes {
		s.mtx.Lock()
		s.crds = true
		s.mtx.Unlock()
		s.updateSynced(changed)
		<-ctx.Done()
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.followCRDs(ctx, store, changed) })
	group.Go(func() error { return s.followReferences(ctx, store, changed) })
	return group.Wait()
}

func (s *Source) setState(k *kind, state kindState) {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	// A kind that was listed once is known, even if the list is refused later.
	if s.state[k.gvr.Resource] != listed {
		s.state[k.gvr.Resource] = state
	}
}

// forget removes all that is known of a kind that the API server no longer has.
func (s *Source) forget(k *kind) {
	s.mtx.Lock()
	delete(s.state, k.gvr.Resource)
	s.mtx.Unlock()
	s.problems.Forget(k.gvr.Resource)
	// Replacing all by nothing cannot fail: there are no keys to make.
	_ = k.indexer.Replace(nil, "")
}

// updateSynced sets synced, and calls changed, when the last kind waited for has
// arrived.
func (s *Source) updateSynced(changed func()) {
	s.mtx.Lock()
	before := s.synced
	settled := true
	for name, state := range s.state {
		settled = settled && (state == listed || state == refused && !s.indispensable(name))
	}
	s.synced = s.synced || s.crds && settled
	after := s.synced
	s.mtx.Unlock()
	if after && !before {
		changed()
	}
}
