package resourcemetrics

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Reason is why a container, pod or node has no value.
type Reason uint8

// The reasons, in the order in which a value passes them on its way from the kubelet.
const (
	Measured     Reason = iota // it has a value
	NotScheduled               // the pod has no node yet
	UnknownNode                // the kubelet of the node is not scraped
	NotScraped                 // no scrape of the kubelet has ended yet
	ScrapeFailed               // the kubelet's last scrapes failed
	NotReported                // the kubelet does not report it
	NoCPU                      // the kubelet reports a container without its CPU
	NoMemory                   // the kubelet reports a container without its memory
	OneSample                  // there is one sample, and a rate takes two
	Restarted                  // there is one sample since the container started again
	OutOfOrder                 // the last sample is older than those before
	CounterReset               // the CPU counter ran backwards
	Implausible                // the CPU counter rose by more than a value can hold

	// The reasons if resourceRules give the values. Report.Detail says more.
	NoQuery     // a query is missing in the configuration
	NotReady    // no value can be right yet, as after a start
	Collecting  // the collection of the series that the queries read has just begun
	QueryFailed // a query could not be evaluated
	NoResult    // a query has no result for it
	BadResult   // the result of a query cannot be a value
)

// Kubelet is what is known about the kubelet of one node.
type Kubelet struct {
	Node string
	// Known: the kubelet is scraped.
	Known bool
	// Scraped is when it last answered, zero if it never did.
	Scraped time.Time
	// Err is why its last scrape failed, nil if it succeeded.
	Err error
	// Failed is when it failed.
	Failed time.Time
	// Pods and Containers are how many it reports.
	Pods, Containers int
}

// Sample is what a kubelet reported at one time.
type Sample struct {
	// Time is the kubelet's own, zero if there is no sample.
	Time time.Time
	// Start is when the CPU counter was 0, zero if that is not known.
	Start time.Time
	// CPU is the counter, in core seconds.
	CPU float64
}

// Usage is what is known about the usage of a container or node.
type Usage struct {
	// Name is the name of the container or node.
	Name string
	// Reason is why it has no value, or Measured.
	Reason Reason
	// Last and Previous are the samples that the CPU rate is computed from.
	Last, Previous Sample
	// Cores is the CPU rate between them, if the Reason is Measured.
	Cores float64
	// Memory is the last working set in bytes.
	Memory int64
}

// Report says why a pod or node has a value or none, from the kubelet to the samples.
type Report struct {
	// Kubelet is the kubelet of the pod's node, or of the node. It is empty if resourceRules give the values.
	Kubelet Kubelet
	// Reason is the first reason for no value, or Measured.
	Reason Reason
	// Container is the name of the container with the Reason, empty if it is not one container's.
	Container string
	// Usages are the usages of the containers that the kubelet reports, or the one of the node. If resourceRules give the
	// values, they have no CPU counters.
	Usages []Usage
	// Interval is the resolution of the Store.
	Interval time.Duration
	// Queries are the queries of resourceRules that were evaluated. Empty if kubelets give the values.
	Queries []Query
	// Detail is the text of a Reason of resourceRules.
	Detail  string
	subject string // what texts call the pod or node
}

// Query is a query of resourceRules.
type Query struct {
	// Rule is the key of the configuration, such as resourceRules.cpu.nodeQuery.
	Rule string
	Expr string
}

// Pod reports why a pod has a value or none.
func (s *Store) Pod(_ context.Context, object *corev1.Pod) Report {
	r, reports := s.report(object.Spec.NodeName)
	r.subject = "the pod"
	if object.Spec.NodeName == "" {
		r.Reason = NotScheduled
	}
	if reports == nil {
		return r
	}
	p := reports.pod(object.Namespace, object.Name)
	if p == nil {
		r.Reason = NotReported
		return r
	}
	for i := range p.containers {
		r.Usages = append(r.Usages, p.containers[i].usageReport(p.containers[i].name))
	}
	if c := p.lacking(); c != nil {
		r.Reason, r.Container = c.reason, c.name
	}
	return r
}

// Node reports why a node has a value or none.
func (s *Store) Node(_ context.Context, name string) Report {
	r, reports := s.report(name)
	r.subject = "the node"
	if reports != nil {
		r.Reason = reports.node.reason
		if r.Reason != NotReported {
			r.Usages = []Usage{reports.node.usageReport(name)}
		}
	}
	return r
}

// report returns the Report with the part about the kubelet of a node, and what the kubelet reports. reports is nil if the
// kubelet is the reason for no value.
func (s *Store) report(node string) (r Report, reports *snapshot) {
	k, reports := s.kubelet(node)
	r = Report{Kubelet: Kubelet{Node: node}, Interval: s.resolution}
	if k == nil {
		r.Reason = UnknownNode
		return r, nil
	}
	r.Kubelet = Kubelet{Node: node, Known: true, Scraped: k.scraped, Err: k.err, Failed: k.failed}
	switch {
	case reports != nil:
		r.Kubelet.Pods = len(reports.pods)
		for i := range reports.pods {
			r.Kubelet.Containers += len(reports.pods[i].containers)
		}
	case k.err != nil:
		r.Reason = ScrapeFailed
	default:
		r.Reason = NotScraped
	}
	return r, reports
}

func (m *measured) usageReport(name string) Usage {
	u := Usage{Name: name, Reason: m.reason, Last: m.sampleReport(), Previous: m.prev.sampleReport(), Memory: m.memory}
	if m.reason == Measured {
		u.Cores = m.rate() / float64(time.Second)
	}
	return u
}

func (p *point) sampleReport() Sample {
	s := Sample{CPU: float64(p.cpu) / float64(time.Second)}
	if p.time != 0 {
		s.Time = time.Unix(0, p.time)
	}
	if p.start != 0 {
		s.Start = time.Unix(0, p.start)
	}
	return s
}

// String returns the Reason as a sentence without a full stop. It is empty if there is a value.
func (r Report) String() string {
	text := r.text()
	if r.Kubelet.Err != nil && r.Reason != ScrapeFailed && text != "" {
		text += fmt.Sprintf(" (the last scrape failed: %v)", r.Kubelet.Err)
	}
	return text
}

func (r Report) text() string {
	kubelet := fmt.Sprintf("the kubelet of node %q", r.Kubelet.Node)
	of := r.subject
	if r.Container != "" {
		of = fmt.Sprintf("container %q", r.Container)
	}
	switch r.Reason {
	case NotScheduled:
		return "the pod has no node yet"
	case UnknownNode:
		return fmt.Sprintf("node %q is not scraped", r.Kubelet.Node)
	case NotScraped:
		if !r.Kubelet.Scraped.IsZero() {
			return kubelet + " has not been scraped since " + r.Kubelet.Scraped.UTC().Format(time.RFC3339)
		}
		return kubelet + " has not been scraped yet"
	case ScrapeFailed:
		return fmt.Sprintf("scraping %s failed: %v", kubelet, r.Kubelet.Err)
	case NotReported:
		return fmt.Sprintf("%s does not report %s", kubelet, of)
	case NoCPU:
		return fmt.Sprintf("%s reports no CPU usage of %s", kubelet, of)
	case NoMemory:
		return fmt.Sprintf("%s reports no memory usage of %s", kubelet, of)
	case OneSample:
		return fmt.Sprintf("one sample of %s is not enough for a CPU rate: the next one follows within %v", of, r.Interval)
	case Restarted:
		return fmt.Sprintf("%s has restarted: a CPU rate needs two samples since then, and the next one follows within %v", of, r.Interval)
	case OutOfOrder:
		return fmt.Sprintf("the last sample of %s is older than those before: check the clock of node %q", of, r.Kubelet.Node)
	case CounterReset:
		return fmt.Sprintf("the CPU counter of %s ran backwards", of)
	case Implausible:
		return fmt.Sprintf("the CPU counter of %s jumped", of)
	}
	return r.Detail
}
