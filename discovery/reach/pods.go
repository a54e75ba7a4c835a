package reach

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/discovery/targets"
)

// pod is a pod as PodMonitors see it.
type pod struct {
	store   *objects.Store
	pod     *corev1.Pod // nil: there is none
	through string      // the annotated Service it is scraped through, if any
}

func (r *pod) exists() bool { return r.pod != nil }

func (r *pod) noun() string { return "the pod" }

func (r *pod) labels() map[string]string { return r.pod.Labels }

func (r *pod) selectedBy(s *targets.Selection) bool { return s.Objects.Matches(r.pod.Labels) }

func (r *pod) reach(s *targets.Selection) (count int, missing string) {
	node := s.NodeOf(r.store, r.pod)
	if count = size(s.PodGroup(r.pod, node)); count > 0 {
		return count, ""
	}
	// Lift one condition after the other.
	without, pod := *s, *r.pod
	gives := func() bool { return without.PodGroup(&pod, node) != nil }
	without.AttachNode = false
	if gives() {
		if pod.Spec.NodeName == "" {
			return 0, "the pod is on no node, and attachMetadata.node wants one"
		}
		return 0, fmt.Sprintf("the pod's node %q is not known, and attachMetadata.node wants it", pod.Spec.NodeName)
	}
	pod.Status.PodIP = anyIP
	if gives() {
		return 0, "the pod has no IP address yet" + phases([]*corev1.Pod{r.pod})
	}
	without.KeepFinished = true
	if gives() {
		return 0, "the pod is not running" + phases([]*corev1.Pod{r.pod})
	}
	return 0, noContainerPort(&s.Port, r.pod)
}

// noContainerPort is why no container of a pod has a port that the rule wants.
func noContainerPort(rule *targets.PortRule, pod *corev1.Pod) string {
	port := containerPort(rule)
	if port == "" {
		return "the pod has no containers"
	}
	return "no container of the pod has a " + port + have("they have ", declared(rule, []*corev1.Pod{pod}))
}

func (r *pod) annotated() *Monitor {
	monitor, what := annotatedMonitor("Pod", targets.JobAnnotatedPods, &r.pod.ObjectMeta)
	if monitor == nil || monitor.Err != nil {
		return monitor
	}
	job := &monitor.Jobs[0]
	if r.through != "" {
		job.Missing = fmt.Sprintf("the pod is scraped through the annotated Service %s already", r.through)
		return monitor
	}
	if job.Targets = size(what.PodGroup(r.pod)); job.Targets == 0 {
		job.Missing = r.missingAnnotated(&what)
	}
	return monitor
}

// missingAnnotated is why a pod's own annotations give no target.
func (r *pod) missingAnnotated(what *targets.Annotated) string {
	without := *r.pod
	without.Status.PodIP = anyIP
	if what.PodGroup(&without) != nil {
		return "the pod has no IP address yet" + phases([]*corev1.Pod{r.pod})
	}
	without.Status.Phase = corev1.PodRunning
	if what.PodGroup(&without) != nil {
		return "the pod is not running" + phases([]*corev1.Pod{r.pod})
	}
	return "no container of the pod declares a TCP port, and the annotation " + targets.AnnotationPort + " names none"
}

// anyIP stands for the address of a pod that has none.
const anyIP = "0.0.0.0"
