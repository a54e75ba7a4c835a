package controlplane

import (
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Use is what a container or a node uses.
type Use struct {
	Cores float64 // CPU time per second
	Bytes int64   // the working set
}

// idle is the use of everything until SetUsage is called. It is not zero: kubelets do not report
// zero, and metrics-server takes it for a missing value.
var idle = Use{Cores: 0.001, Bytes: 1 << 20}

// Usage says what everything uses. The functions are called often, and must not call the Kubelet.
type Usage struct {
	Container func(pod *corev1.Pod, name string) Use
	Node      func(name string) Use
}

// counters count what nodes and containers use. A counter rises evenly between two changes of its
// use, and is exact at every millisecond, the resolution of a sample's timestamp.
type counters struct {
	mtx   sync.Mutex
	usage Usage
	nodes map[string]*counter
	pods  map[types.UID]*podCounters
}

type podCounters struct {
	pod        *corev1.Pod
	node       string
	start      time.Time
	containers []counter // in the order of the spec
}

type counter struct {
	Use
	nanos float64 // CPU time until at, in nanoseconds
	at    time.Time
}

func newCounters() *counters {
	return &counters{
		usage: Usage{
			Container: func(*corev1.Pod, string) Use { return idle },
			Node:      func(string) Use { return idle },
		},
		nodes: map[string]*counter{}, pods: map[types.UID]*podCounters{},
	}
}

// count adds what was used until now at the old use, and goes on with a new one.
func (c *counter) count(now time.Time, use Use) {
	if passed := now.Sub(c.at); passed > 0 {
		c.nanos += c.Cores * float64(passed)
		c.at = now
	}
	c.Use = use
}

// startNode begins to count what a node uses.
func (c *counters) startNode(name string) {
	c.mtx.Lock()
	defer c.mtx.Unlock()
	c.nodes[name] = &counter{at: now(), Use: c.usage.Node(name)}
}

// startPod begins to count what the containers of a pod use, from zero, also when it was counted
// before.
func (c *counters) startPod(node string, pod *corev1.Pod) {
	c.mtx.Lock()
	defer c.mtx.Unlock()
	p := &podCounters{pod: pod, node: node, start: now()}
	for i := range pod.Spec.Containers {
		p.containers = append(p.containers, counter{at: p.start, Use: c.usage.Container(pod, pod.Spec.Containers[i].Name)})
	}
	c.pods[pod.UID] = p
}

func (c *counters) endPod(pod *corev1.Pod) {
	c.mtx.Lock()
	defer c.mtx.Unlock()
	delete(c.pods, pod.UID)
}

// set changes the usage from now on.
func (c *counters) set(usage Usage) {
	c.mtx.Lock()
	defer c.mtx.Unlock()
	at := now()
	c.usage = usage
	for name, node := range c.nodes {
		node.count(at, usage.Node(name))
	}
	for _, pod := range c.pods {
		pod.count(at, usage)
	}
}

func (p *podCounters) count(at time.Time, usage Usage) {
	for i := range p.containers {
		p.containers[i].count(at, usage.Container(p.pod, p.pod.Spec.Containers[i].Name))
	}
}

// of returns the counters of a node and of its pods as they are now.
func (c *counters) of(node string) (counter, []podCounters) {
	c.mtx.Lock()
	defer c.mtx.Unlock()
	at := now()
	whole := c.nodes[node]
	whole.count(at, c.usage.Node(node))
	var pods []podCounters
	for _, p := range c.pods {
		if p.node == node {
			p.count(at, c.usage)
			copied := *p
			copied.containers = slices.Clone(p.containers)
			pods = append(pods, copied)
		}
	}
	return *whole, pods
}

// now is the time in milliseconds.
func now() time.Time { return time.Now().Truncate(time.Millisecond) }
