package resourcemetrics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/metrics/pkg/apis/metrics"
)

// DefaultResolution is the default of Options.Resolution. It is that of metrics-server's manifests: a kubelet makes new
// samples every 10 to 15 seconds.
const DefaultResolution = 15 * time.Second

const (
	// intervalsKept is for how many intervals the values of a kubelet count without a good scrape. One scrape may fail, and
	// the next one may be late.
	intervalsKept = 3
	// intervalsToReady is for how many intervals a Store waits for kubelets that do not answer. Two samples take two
	// intervals, and a kubelet may expose the same sample twice.
	intervalsToReady = 4
)

// ResourceSwap is the resource that kubectl top --show-swap reads.
const ResourceSwap corev1.ResourceName = "swap"

// Options configure a Store. The zero Options are valid.
type Options struct {
	// Resolution is the time between two scrapes of a kubelet. A container that is at least 10 seconds old, but younger than
	// Resolution, has the rate since its start. Zero or less means DefaultResolution.
	Resolution time.Duration
	// Now is the clock for the times of scrapes. Samples have times of their own. Nil is time.Now.
	Now func() time.Time
}

// Store keeps what each kubelet reported last, and answers from it. Make it with NewStore.
type Store struct {
	resolution time.Duration
	now        func() time.Time

	mu       sync.RWMutex
	kubelets map[string]*kubelet // by the name of their node
	listed   time.Time           // when SetNodes was first called; zero: it was not
	ready    bool
}

// kubelet is what the Store knows about the kubelet of one node. It is replaced, not changed.
type kubelet struct {
	*snapshot
	scraped time.Time // the last good scrape; zero: none
	failed  time.Time // the last scrape, if it failed
	err     error     // why it failed
}

// NewStore returns a Store that knows no nodes.
func NewStore(opts Options) *Store {
	s := &Store{resolution: opts.Resolution, now: opts.Now, kubelets: map[string]*kubelet{}}
	if s.resolution <= 0 {
		s.resolution = DefaultResolution
	}
	if s.now == nil {
		s.now = time.Now
	}
	return s
}

// SetNodes sets the nodes whose kubelets are scraped. The Store forgets what it has of other nodes. Call it before the first
// scrape, and whenever a node comes or goes.
func (s *Store) SetNodes(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listed.IsZero() {
		s.listed = s.now()
	}
	kubelets := make(map[string]*kubelet, len(names))
	for _, name := range names {
		if known, ok := s.kubelets[name]; ok {
			kubelets[name] = known
		} else {
			kubelets[name] = &kubelet{}
		}
	}
	s.kubelets = kubelets
}

// Put stores what a scrape of a node's kubelet returned. Call it for the scrapes of one node in their order. The batch must
// not be used again. Put ignores a node that SetNodes did not name. If the batch cannot be stored, Put returns an error, and
// the scrape counts as failed.
func (s *Store) Put(node string, b *Batch) error {
	if err := b.check(); err != nil {
		s.Failed(node, err)
		return fmt.Errorf("store resource metrics of node %s: %w", node, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.kubelets[node]
	if !ok {
		return nil
	}
	now, before := s.now(), k.snapshot
	if !s.counts(k, now) {
		before = &snapshot{}
	}
	s.kubelets[node] = &kubelet{snapshot: before.next(b, s.resolution), scraped: now}
	return nil
}

// Failed notes that a scrape of a node's kubelet failed. Reports on missing values give the error as the reason. What the
// kubelet reported before counts for three intervals.
func (s *Store) Failed(node string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.kubelets[node]
	if !ok {
		return
	}
	now, kept := s.now(), k.snapshot
	if !s.counts(k, now) {
		kept = nil
	}
	s.kubelets[node] = &kubelet{snapshot: kept, scraped: k.scraped, failed: now, err: err}
}

// Failing returns the kubelets whose last scrape failed, by the names of their nodes, with the error. of is the number of
// all kubelets.
func (s *Store) Failing() (failing map[string]error, of int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	failing = map[string]error{}
	for node, k := range s.kubelets {
		if k.err != nil {
			failing[node] = k.err
		}
	}
	return failing, len(s.kubelets)
}

// counts reports whether what a kubelet reported last still counts.
func (s *Store) counts(k *kubelet, now time.Time) bool {
	return k.snapshot != nil && now.Sub(k.scraped) <= intervalsKept*s.resolution
}

// kubelet returns what is known about a node's kubelet, and what it reports. k is nil for an unknown node. reports is nil if
// nothing that it reported counts.
func (s *Store) kubelet(node string) (k *kubelet, reports *snapshot) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	k = s.kubelets[node]
	if k == nil || !s.counts(k, s.now()) {
		return k, nil
	}
	return k, k.snapshot
}

// Ready returns nil once two samples of each known kubelet that answers are stored, or once four intervals have passed since
// the first SetNodes. After that it always returns nil. The error may be shown to anyone.
func (s *Store) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready {
		return nil
	}
	waiting := 0
	for _, k := range s.kubelets {
		if k.err == nil && (k.snapshot == nil || !k.hasRate()) {
			waiting++
		}
	}
	switch {
	case s.listed.IsZero():
		return errors.New("the nodes are not listed yet")
	case waiting > 0 && s.now().Sub(s.listed) < intervalsToReady*s.resolution:
		return fmt.Errorf("%d of %d kubelets have not reported two samples yet", waiting, len(s.kubelets))
	}
	s.ready = true
	return nil
}

// hasRate reports whether the node or any container has a CPU rate.
func (s *snapshot) hasRate() bool {
	return s.node.reason == Measured || slices.ContainsFunc(s.pods, func(p pod) bool {
		return slices.ContainsFunc(p.containers, func(c container) bool { return c.reason == Measured })
	})
}

// PodMetrics returns the values of the pods, in their order. Pods without a value are left out. Only what the kubelet of a
// pod's node reports counts. The values share the pods' labels.
func (s *Store) PodMetrics(_ context.Context, pods []*corev1.Pod) ([]metrics.PodMetrics, error) {
	values := make([]metrics.PodMetrics, 0, len(pods))
	for _, object := range pods {
		if _, reports := s.kubelet(object.Spec.NodeName); reports != nil {
			if p := reports.pod(object.Namespace, object.Name); p != nil && p.lacking() == nil {
				values = append(values, p.metrics(object))
			}
		}
	}
	return values, nil
}

// NodeMetrics returns the values of the nodes, in their order. Nodes without a value are left out. The values share the
// nodes' labels.
func (s *Store) NodeMetrics(_ context.Context, nodes []*corev1.Node) ([]metrics.NodeMetrics, error) {
	values := make([]metrics.NodeMetrics, 0, len(nodes))
	for _, object := range nodes {
		if _, reports := s.kubelet(object.Name); reports != nil && reports.node.reason == Measured {
			values = append(values, reports.node.metrics(object))
		}
	}
	return values, nil
}

// lacking returns the first container without a value, nil if the pod has a value.
func (p *pod) lacking() *container {
	for i := range p.containers {
		if c := &p.containers[i]; c.reason == NoCPU || c.reason == NoMemory || !p.incomplete && c.reason != Measured {
			return c
		}
	}
	return nil
}

// metrics returns the value of a pod, with the earliest timestamp of its containers and the window of that container.
func (p *pod) metrics(object *corev1.Pod) metrics.PodMetrics {
	value := metrics.PodMetrics{
		ObjectMeta: metav1.ObjectMeta{Name: object.Name, Namespace: object.Namespace, Labels: object.Labels},
		Containers: make([]metrics.ContainerMetrics, len(p.containers)),
	}
	earliest := &p.containers[0].measured
	for i := range p.containers {
		c := &p.containers[i]
		value.Containers[i] = metrics.ContainerMetrics{Name: c.name, Usage: c.usage()}
		if c.time < earliest.time {
			earliest = &c.measured
		}
	}
	value.Timestamp, value.Window = earliest.interval()
	value.CreationTimestamp = value.Timestamp
	return value
}

func (m *measured) metrics(object *corev1.Node) metrics.NodeMetrics {
	timestamp, window := m.interval()
	return metrics.NodeMetrics{
		ObjectMeta: metav1.ObjectMeta{Name: object.Name, Labels: object.Labels, CreationTimestamp: timestamp},
		Timestamp:  timestamp,
		Window:     window,
		Usage:      m.usage(),
	}
}

func (m *measured) interval() (metav1.Time, metav1.Duration) {
	return metav1.NewTime(time.Unix(0, m.time)), metav1.Duration{Duration: m.window()}
}

func (m *measured) usage() corev1.ResourceList {
	cpu := resource.NewScaledQuantity(int64(m.rate()), resource.Nano)
	cpu.Format = resource.DecimalSI
	usage := corev1.ResourceList{
		corev1.ResourceCPU:    *cpu,
		corev1.ResourceMemory: *resource.NewQuantity(m.memory, resource.BinarySI),
	}
	if m.hasSwap {
		usage[ResourceSwap] = *resource.NewQuantity(m.swap, resource.BinarySI)
	}
	return usage
}
