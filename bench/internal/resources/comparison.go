package resources

import (
	"fmt"
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// tolerance is by how many cores an answer may differ from the counter's slope: both programs count whole nanoseconds.
const tolerance = 1e-7

// comparison counts answers for nodes and pods. Two numbers are promlet's and metrics-server's.
type comparison struct {
	asked   int
	missing [2]int
	// wrong are those that are not what the kubelet's counters say for their timestamp and window.
	wrong [2]int
	// equal and unequal have the timestamp and window of the other program's answer; other has not.
	equal, unequal, other int
	firstWrong            string
}

// add compares what both answered for a node or a pod.
func (c *comparison) add(m *measured, answers [2]map[string]answer) {
	c.asked++
	var both [2]answer
	complete := true
	for i, all := range answers {
		var found bool
		if both[i], found = all[m.name]; !found {
			c.missing[i]++
			complete = false
			continue
		}
		if err := both[i].check(m); err != nil {
			c.wrong[i]++
			if c.firstWrong == "" {
				c.firstWrong = fmt.Sprintf("%s of side %d: %v", m.name, i, err)
			}
		}
	}
	switch {
	case !complete:
	case !both[0].at.Equal(both[1].at) || both[0].window != both[1].window:
		c.other++
	case both[0].same(both[1]):
		c.equal++
	default:
		c.unequal++
	}
}

// same reports whether the CPU and the memory of two answers are the same. metrics-server has no swap.
func (a answer) same(b answer) bool {
	if len(a.usages) != len(b.usages) {
		return false
	}
	for i := range a.usages {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			x, y := a.usages[i][name], b.usages[i][name]
			if x.String() != y.String() {
				return false
			}
		}
	}
	return true
}

// check returns how an answer differs from what the kubelet measured at its timestamp and over its window.
func (a answer) check(m *measured) error {
	at, ok := m.sampleOf(a.at)
	if !ok {
		return fmt.Errorf("no sample is of %v", a.at)
	}
	from := at.Add(-a.window)
	if !m.last(from).Equal(from) {
		return fmt.Errorf("no sample is of %v, %v before", from, a.window)
	}
	if len(a.usages) != len(m.meters) {
		return fmt.Errorf("%d containers, want %d", len(a.usages), len(m.meters))
	}
	for i, of := range m.meters {
		cores, want := a.usages[i].Cpu().AsApproximateFloat64(), (of.coreSeconds(at)-of.coreSeconds(from))/a.window.Seconds()
		if math.Abs(cores-want) > tolerance {
			return fmt.Errorf("%g cores, want %g", cores, want)
		}
		if bytes, want := a.usages[i].Memory().Value(), int64(of.workingSet(at)); bytes != want {
			return fmt.Errorf("%d bytes, want %d", bytes, want)
		}
	}
	return nil
}

// mean returns the mean of some numbers.
func mean(all []float64) float64 {
	sum := 0.0
	for _, v := range all {
		sum += v
	}
	return sum / float64(len(all))
}

// millicores returns the share of one CPU that was used over a time.
func millicores(used, over time.Duration) float64 { return 1000 * used.Seconds() / over.Seconds() }
