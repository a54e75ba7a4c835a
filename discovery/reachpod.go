package discovery

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// reachedPod is a pod as PodMonitors see it.
type reachedPod struct {
	objects *Objects
	pod     *corev1.Pod // nil: there is none
	through string      // the annotated Service it is scraped through, if any
}

func (r *reachedPod) exists() bool { return r.pod != nil }

func (r *reachedPod) noun() string { return "the pod" }

func (r *reachedPod) labels() map[string]string { return r.pod.Labels }

func (r *reachedPod) selectedBy(s *selection) bool { return s.objects.matches(r.pod.Labels) }

func (r *reachedPod) reach(s *selection) (targets int, missing string) {
	node := r.objects.nodeOf(s, r.pod)
	if targets = size(s.podGroup(r.pod, node)); targets > 0 {
		return targets, ""
	}
	// Ask again without one condition after the other.
	without, pod := *s, *r.pod
	gives := func() bool { return without.podGroup(&pod, node) != nil }
	without.attachNode = false
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
	without.keepFinished = true
	if gives() {
		return 0, "the pod is not running" + phases([]*corev1.Pod{r.pod})
	}
	return 0, noContainerPort(&s.port, r.pod)
}

// noContainerPort is why no container of a pod has a port that the rule wants.
func noContainerPort(rule *portRule, pod *corev1.Pod) string {
	port := rule.containerPort()
	if port == "" {
		return "the pod has no containers"
	}
	return "no container of the pod has a " + port + have("they have ", declared(rule, []*corev1.Pod{pod}))
}

func (r *reachedPod) annotated() *Reacher {
	reacher, what, ok := annotatedReacher("Pod", jobAnnotatedPods, &r.pod.ObjectMeta)
	if !ok || reacher.Err != nil {
		return reacher
	}
	job := &reacher.Jobs[0]
	if r.through != "" {
		job.Missing = fmt.Sprintf("the pod is scraped through the annotated Service %s already", r.through)
		return reacher
	}
	if job.Targets = size(what.podGroup(r.pod)); job.Targets == 0 {
		job.Missing = r.missingAnnotated(&what)
	}
	return reacher
}

// missingAnnotated is why a pod's own annotations give no target.
func (r *reachedPod) missingAnnotated(what *annotated) string {
	without := *r.pod
	without.Status.PodIP = anyIP
	if what.podGroup(&without) != nil {
		return "the pod has no IP address yet" + phases([]*corev1.Pod{r.pod})
	}
	without.Status.Phase = corev1.PodRunning
	if what.podGroup(&without) != nil {
		return "the pod is not running" + phases([]*corev1.Pod{r.pod})
	}
	return "no container of the pod declares a TCP port, and the annotation " + annotationPort + " names none"
}

// anyIP stands for the address of a pod that has none.
const anyIP = "0.0.0.0"

// maxListed bounds how many of a kind a text enumerates.
const maxListed = 5

// have writes in brackets what there is instead of what is wanted.
func have(intro string, values []string) string {
	if len(values) == 0 {
		return " (" + intro + "none)"
	}
	return " (" + intro + enumerate(values) + ")"
}

// enumerate lists each value once, in order.
func enumerate(values []string) string {
	values = slices.Compact(slices.Sorted(slices.Values(values)))
	if more := len(values) - maxListed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(values[:maxListed], ", "), more)
	}
	return strings.Join(values, ", ")
}

// phases writes in brackets the phases of pods that are known.
func phases(pods []*corev1.Pod) string {
	var found []string
	for _, pod := range pods {
		if pod.Status.Phase != "" {
			found = append(found, string(pod.Status.Phase))
		}
	}
	if len(found) == 0 {
		return ""
	}
	return " (" + enumerate(found) + ")"
}

// portText is a port's name or, for want of one, its number.
func portText(name string, number int32) string {
	if name != "" {
		return strconv.Quote(name)
	}
	return strconv.Itoa(int(number))
}

// containerPort is what texts call the container's port that a rule wants; empty when
// it wants none.
func (r *portRule) containerPort() string {
	switch r.by {
	case containerPortName:
		return fmt.Sprintf("port named %q", r.name)
	case containerPortNumber:
		return fmt.Sprintf("port %d", r.number)
	}
	return ""
}

// declares tells whether a container of the pods has a port that the rule wants.
func declares(r *portRule, pods []*corev1.Pod) bool {
	return slices.ContainsFunc(pods, func(pod *corev1.Pod) bool {
		return slices.ContainsFunc(containerPorts(pod), func(c containerPort) bool { return c.number != 0 && r.matches("", c) })
	})
}

// declared writes the ports that the containers of the pods have, by number where the
// rule goes by number.
func declared(r *portRule, pods []*corev1.Pod) []string {
	var out []string
	for _, pod := range pods {
		for _, c := range containerPorts(pod) {
			switch {
			case c.number == 0:
			case r.by == containerPortNumber:
				out = append(out, portText("", c.number))
			default:
				out = append(out, portText(c.portName, c.number))
			}
		}
	}
	return out
}
