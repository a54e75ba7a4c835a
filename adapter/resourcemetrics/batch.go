package resourcemetrics

import (
	"fmt"
	"math"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// maxContainers bounds the containers of one kubelet. A kubelet runs 110 pods by default; some clusters have 500 pods of
// ten containers each. A batch with more is refused as a whole: if some containers of a pod were left out, the pod's value
// would be too low.
const maxContainers = 10_000

// The longest names that Kubernetes accepts. No object has a longer one.
const (
	maxNamespace = 63
	maxContainer = 63
	maxPod       = 253
)

// The names that a kubelet serves at /metrics/resource and that a Batch reads.
const (
	nodeCPU         = "node_cpu_usage_seconds_total"
	nodeMemory      = "node_memory_working_set_bytes"
	nodeSwap        = "node_swap_usage_bytes"
	containerCPU    = "container_cpu_usage_seconds_total"
	containerMemory = "container_memory_working_set_bytes"
	containerSwap   = "container_swap_usage_bytes"
	containerStart  = "container_start_time_seconds"
	// kubeletError is 1 if the kubelet could not read its containers. It then serves nothing else.
	kubeletError = "resource_scrape_error"
)

// Names returns the names of all metrics that a Batch reads.
func Names() []string {
	return []string{nodeCPU, nodeMemory, nodeSwap, containerCPU, containerMemory, containerSwap, containerStart, kubeletError}
}

// Batch is what one scrape of one kubelet returned. It is not safe for concurrent use. The zero Batch is empty.
type Batch struct {
	node       sample
	containers []reported
	index      map[containerKey]int // into containers
	tooMany    bool
	failed     bool // the kubelet said that it could not read its containers
}

type containerKey struct{ namespace, pod, container string }

// reported is what a kubelet reports about one container.
type reported struct {
	containerKey
	sample
}

// Grow makes room for so many containers. It is optional, and saves memory if their number is known.
func (b *Batch) Grow(containers int) {
	if containers = min(containers, maxContainers); b.index == nil && containers > 0 {
		b.containers, b.index = make([]reported, 0, containers), make(map[containerKey]int, containers)
	}
}

// Add adds one sample: its labels with __name__, its timestamp in milliseconds, and its value. It ignores metrics other
// than those of Names, names that no object can have, and impossible values. It keeps the strings of the labels until the
// Batch is stored. The labels namespace, pod and container must be those that the kubelet exposes, not those of a target.
//
// Of several samples of a series the last one counts.
func (b *Batch) Add(series labels.Labels, timestamp int64, value float64) {
	switch name := series.Get(model.MetricNameLabel); name {
	case nodeCPU, nodeMemory, nodeSwap:
		b.node.set(name, timestamp, value)
	case containerCPU, containerMemory, containerStart:
		if s := b.container(keyOf(series)); s != nil {
			s.set(name, timestamp, value)
		}
	case containerSwap: // kubelets expose it after CPU and memory; without those it is not used
		if i, ok := b.index[keyOf(series)]; ok {
			b.containers[i].set(name, timestamp, value)
		}
	case kubeletError:
		b.failed = value != 0
	}
}

func keyOf(series labels.Labels) containerKey {
	return containerKey{series.Get("namespace"), series.Get("pod"), series.Get("container")}
}

// container returns the sample to fill in for a container, nil if the container is not stored.
func (b *Batch) container(key containerKey) *sample {
	if i, ok := b.index[key]; ok {
		return &b.containers[i].sample
	}
	if !fits(key.namespace, maxNamespace) || !fits(key.pod, maxPod) || !fits(key.container, maxContainer) {
		return nil
	}
	if len(b.containers) == maxContainers {
		b.tooMany = true
		return nil
	}
	if b.index == nil {
		b.index = map[containerKey]int{}
	}
	b.index[key] = len(b.containers)
	b.containers = append(b.containers, reported{containerKey: key})
	return &b.containers[len(b.containers)-1].sample
}

func fits(name string, most int) bool { return name != "" && len(name) <= most }

// check returns an error for a batch that cannot be stored.
func (b *Batch) check() error {
	if b.tooMany {
		return fmt.Errorf("the kubelet reports more than %d containers", maxContainers)
	}
	if b.failed && len(b.containers) == 0 && b.node == (sample{}) {
		return fmt.Errorf("the kubelet could not read its containers (%s is 1)", kubeletError)
	}
	return nil
}

// sample is what a kubelet reports about a container or node at one time.
type sample struct {
	point
	memory  int64 // bytes; 0: not reported
	swap    int64 // bytes
	hasSwap bool
}

// point is one reading of a CPU counter.
type point struct {
	start int64  // ns since 1970, when the counter was zero; 0: unknown
	time  int64  // ns since 1970; 0: there is no reading
	cpu   uint64 // core nanoseconds
}

// complete reports whether the kubelet reported CPU and memory. As in metrics-server, 0 counts as not reported.
func (s *sample) complete() bool { return s.cpu != 0 && s.memory != 0 }

// set fills in the value of one metric of a container or node.
func (s *sample) set(name string, timestamp int64, value float64) {
	switch name {
	case nodeCPU, containerCPU:
		nanoseconds := value * float64(time.Second)
		if s.cpu, s.time = 0, 0; nanoseconds >= 0 && nanoseconds < math.MaxUint64 && validTime(timestamp) {
			s.cpu, s.time = uint64(nanoseconds), timestamp*int64(time.Millisecond)
		}
	case nodeMemory, containerMemory:
		if s.memory = 0; validBytes(value) {
			s.memory = int64(value)
		}
	case nodeSwap, containerSwap:
		if s.swap, s.hasSwap = 0, validBytes(value); s.hasSwap {
			s.swap = int64(value)
		}
	case containerStart:
		if s.start = 0; value > 0 && value < float64(math.MaxInt64/int64(time.Second)) {
			s.start = int64(value * float64(time.Second))
		}
	}
}

// validBytes reports whether a value is a size that a quantity can hold: neither negative, NaN nor too large.
func validBytes(value float64) bool { return value >= 0 && value < math.MaxInt64 }

// validTime reports whether a timestamp in milliseconds is after 1970 and can be converted to nanoseconds.
func validTime(timestamp int64) bool {
	return timestamp > 0 && timestamp < math.MaxInt64/int64(time.Millisecond)
}
