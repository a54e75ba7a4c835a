package resourcemetrics

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"
)

// freshAge is the age from which the first sample of a container gives a rate since its start, as in metrics-server. A
// rate over a shorter time says little.
const freshAge = 10 * time.Second

// measured is the last sample of a container or node, and the earlier one that the rate starts at.
type measured struct {
	sample
	prev   point // time 0: none
	reason Reason
}

// container takes 96 bytes, and its name.
type container struct {
	name string
	measured
}

// pod is what a kubelet reports about one pod.
type pod struct {
	namespace, name string
	containers      []container // ordered by name
	// incomplete: a container lacks CPU or memory. Then the pod has no value now, and its next sample counts as the first
	// one.
	incomplete bool
}

func (p *pod) compare(namespace, name string) int {
	return cmp.Or(strings.Compare(p.namespace, namespace), strings.Compare(p.name, name))
}

// snapshot is what a kubelet reported last. It never changes.
type snapshot struct {
	node measured
	pods []pod // ordered by namespace and name
}

// pod returns a pod, nil if the kubelet does not report it.
func (s *snapshot) pod(namespace, name string) *pod {
	i, ok := slices.BinarySearchFunc(s.pods, containerKey{namespace: namespace, pod: name}, func(p pod, key containerKey) int {
		return p.compare(key.namespace, key.pod)
	})
	if !ok {
		return nil
	}
	return &s.pods[i]
}

func (p *pod) container(name string) *container {
	i, ok := slices.BinarySearchFunc(p.containers, name, func(c container, name string) int { return strings.Compare(c.name, name) })
	if !ok {
		return nil
	}
	return &p.containers[i]
}

// next returns the snapshot after a batch. It shares strings with the snapshot before, and copies new ones.
func (s *snapshot) next(b *Batch, resolution time.Duration) *snapshot {
	slices.SortFunc(b.containers, func(x, y reported) int {
		return cmp.Or(strings.Compare(x.namespace, y.namespace), strings.Compare(x.pod, y.pod), strings.Compare(x.container, y.container))
	})
	made := &snapshot{node: s.nextNode(b.node)}
	containers := make([]container, len(b.containers))
	made.pods = make([]pod, 0, countPods(b.containers))
	for first := 0; first < len(b.containers); {
		of := b.containers[first]
		last := first
		for last < len(b.containers) && b.containers[last].namespace == of.namespace && b.containers[last].pod == of.pod {
			last++
		}
		before := s.pod(of.namespace, of.pod)
		p := pod{containers: containers[first:last:last]}
		switch {
		case before != nil:
			p.namespace, p.name = before.namespace, before.name
		case len(made.pods) > 0 && made.pods[len(made.pods)-1].namespace == of.namespace:
			p.namespace, p.name = made.pods[len(made.pods)-1].namespace, strings.Clone(of.pod)
		default:
			p.namespace, p.name = strings.Clone(of.namespace), strings.Clone(of.pod)
		}
		p.fill(b.containers[first:last], before, resolution)
		made.pods = append(made.pods, p)
		first = last
	}
	return made
}

// countPods returns the number of pods that sorted containers belong to.
func countPods(sorted []reported) (n int) {
	for i := range sorted {
		if i == 0 || sorted[i].pod != sorted[i-1].pod || sorted[i].namespace != sorted[i-1].namespace {
			n++
		}
	}
	return n
}

// fill fills in the containers of a pod from the samples reported now and the pod before, which is nil for a new pod.
func (p *pod) fill(now []reported, before *pod, resolution time.Duration) {
	for i := range now {
		c, old := &p.containers[i], (*container)(nil)
		if before != nil {
			old = before.container(now[i].container)
		}
		if c.sample = now[i].sample; old != nil {
			c.name = old.name
		} else {
			c.name = strings.Clone(now[i].container)
		}
		if !c.complete() {
			c.reason, p.incomplete = c.lack(), true
			continue
		}
		switch {
		case c.fresh(resolution):
			c.prev = point{start: c.start, time: c.start}
		case old == nil || before.incomplete:
			c.reason = OneSample
		default:
			c.follow(&old.measured)
		}
		c.check()
	}
}

// nextNode returns what is measured of the node after a sample. Kubelets do not report when a node started.
func (s *snapshot) nextNode(now sample) measured {
	m := measured{sample: now}
	switch {
	case !now.complete():
		m.reason = m.lack()
		if now == (sample{}) {
			m.reason = NotReported
		}
	case !s.node.complete():
		m.reason = OneSample
	default:
		m.follow(&s.node)
	}
	m.check()
	return m
}

// lack returns what an incomplete sample lacks.
func (m *measured) lack() Reason {
	if m.cpu == 0 {
		return NoCPU
	}
	return NoMemory
}

// fresh reports whether a container started less than one resolution before its sample, so that no earlier sample can
// exist, but long enough before it for a rate since the start.
func (m *measured) fresh(resolution time.Duration) bool {
	age := time.Duration(m.time - m.start)
	return m.start > 0 && age >= freshAge && age < resolution
}

// follow chooses the earlier point that the rate starts at.
func (m *measured) follow(old *measured) {
	switch {
	case m.start >= old.time:
		m.reason = Restarted
	case m.time > old.time:
		m.prev = old.point
	case old.prev.time == 0:
		m.reason = OneSample
	case old.prev.time < m.time:
		m.prev = old.prev
	default:
		m.reason = OutOfOrder
	}
}

// check sets the reason if the two points give no rate. The points stay, so that a later sample can be compared with them.
func (m *measured) check() {
	switch {
	case m.reason != Measured:
	case m.cpu < m.prev.cpu || m.start < m.prev.start:
		m.reason = CounterReset
	case m.rate() >= math.MaxInt64:
		m.reason = Implausible
	}
}

// window is the time that the rate is taken over.
func (m *measured) window() time.Duration { return time.Duration(m.time - m.prev.time) }

// rate is the CPU usage in nanocores.
func (m *measured) rate() float64 { return float64(m.cpu-m.prev.cpu) / m.window().Seconds() }
