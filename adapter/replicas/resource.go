package replicas

import (
	"errors"
	"fmt"
	"math"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
)

const (
	// cpuInitialization is how long after a pod's start its CPU may still be that of starting: the controller's default of
	// --horizontal-pod-autoscaler-cpu-initialization-period.
	cpuInitialization = 5 * time.Minute
	// initialReadiness: a pod that became unready within this time after its start counts as never ready. It is the
	// controller's default of --horizontal-pod-autoscaler-initial-readiness-delay.
	initialReadiness = 30 * time.Second
)

// ResourceMetric is a Resource or ContainerResource metric that an HPA scales on.
type ResourceMetric struct {
	Resource  corev1.ResourceName
	Container string // "": all containers
	Target    autoscalingv2.MetricTarget
}

// Usage is what a pod uses of a resource, in thousandths, with the time and the window of the measurement.
type Usage struct {
	Milli  int64
	Time   time.Time
	Window time.Duration
}

// ResourceValue is what the controller computes from a resource metric.
type ResourceValue struct {
	// Milli is the value to compare with the target: the mean usage of the pods that count, in thousandths. For a target of
	// type Utilization it is their usage in thousandths of a percent of their requests.
	Milli int64
	// Pods counts the pods. Pods whose CPU does not count yet are Pending.
	Pods Pods
	// Replicas is how many replicas the metric asks for.
	Replicas int
}

// errUnready is returned where no pod has a usage that counts.
var errUnready = errors.New("no pod has a value that counts: values of pods that are not ready, or have just started, do not count")

// ForResource returns the value of a resource metric. pods are those of the HPA's target, used has their usage by name, and
// current is the number of replicas now. The error says why there is no value.
func ForResource(spec *autoscalingv2.HorizontalPodAutoscalerSpec, m ResourceMetric, pods []*corev1.Pod, used map[string]Usage, current int, now time.Time) (ResourceValue, error) {
	g, err := m.group(pods, used, now)
	switch {
	case err != nil:
		return ResourceValue{}, err
	case g.pods.With == 0:
		return ResourceValue{Pods: g.pods}, errUnready
	case m.Target.Type != autoscalingv2.UtilizationMetricType || m.Target.AverageUtilization == nil:
		return ResourceValue{Milli: g.used / int64(g.pods.With), Pods: g.pods, Replicas: ForPods(spec, m.Target, g.used, current, g.pods)}, nil
	case g.requests.With == 0:
		return ResourceValue{Pods: g.pods}, fmt.Errorf("the pods request no %s", m.Resource)
	}
	return ResourceValue{Milli: 1000 * percent(g.used, g.requests.With), Pods: g.pods, Replicas: g.forUtilization(spec, int64(*m.Target.AverageUtilization), current)}, nil
}

// percent returns the utilization in percent, rounded down as by the controller.
func percent(used, requested int64) int64 { return used * 100 / requested }

// grouped counts pods by what their usage means, and adds up what they use and request, in thousandths.
type grouped struct {
	pods     Pods
	used     int64 // by the pods with a value that counts
	requests struct{ With, Missing, Pending int64 }
}

// group groups the pods as the controller does. Pods that are being deleted or have failed do not count. If the target is a
// utilization, the error names a missing request: even a pod that does not count needs one.
func (m ResourceMetric) group(pods []*corev1.Pod, used map[string]Usage, now time.Time) (g grouped, err error) {
	for _, pod := range pods {
		var requested int64
		if m.Target.Type == autoscalingv2.UtilizationMetricType {
			if requested, err = m.requestOf(pod); err != nil {
				return g, err
			}
		}
		usage, found := used[pod.Name]
		switch {
		case pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodFailed:
		case pod.Status.Phase == corev1.PodPending, found && m.Resource == corev1.ResourceCPU && initializes(pod, usage, now):
			g.pods.Pending++
			g.requests.Pending += requested
		case !found:
			g.pods.Missing++
			g.requests.Missing += requested
		default:
			g.pods.With++
			g.requests.With += requested
			g.used += usage.Milli
		}
	}
	return g, nil
}

// initializes reports whether the CPU of a pod may be that of its start.
func initializes(pod *corev1.Pod, usage Usage, now time.Time) bool {
	start := pod.Status.StartTime
	for i := range pod.Status.Conditions {
		ready := &pod.Status.Conditions[i]
		switch {
		case ready.Type != corev1.PodReady:
			continue
		case start == nil:
			return true
		case start.Add(cpuInitialization).After(now):
			return ready.Status == corev1.ConditionFalse || usage.Time.Before(ready.LastTransitionTime.Add(usage.Window))
		}
		return ready.Status == corev1.ConditionFalse && start.Add(initialReadiness).After(ready.LastTransitionTime.Time)
	}
	return true
}

// requestOf returns what a pod, or its container, requests, in thousandths. A request of the pod as a whole overrides those
// of its containers.
func (m ResourceMetric) requestOf(pod *corev1.Pod) (milli int64, err error) {
	if of := pod.Spec.Resources; of != nil && m.Container == "" {
		if request, ok := of.Requests[m.Resource]; ok {
			return request.MilliValue(), nil
		}
	}
	add := func(c *corev1.Container) error {
		request, ok := c.Resources.Requests[m.Resource]
		if !ok {
			return fmt.Errorf("container %s of pod %s requests no %s, so there is no utilization: set resources.requests", c.Name, pod.Name, m.Resource)
		}
		milli += request.MilliValue()
		return nil
	}
	found := false
	for _, c := range running(pod) {
		if m.Container == "" || c.Name == m.Container {
			found = true
			if err := add(c); err != nil {
				return 0, err
			}
		}
	}
	if !found && m.Container != "" {
		return 0, fmt.Errorf("pod %s has no container %s", pod.Name, m.Container)
	}
	return milli, nil
}

// running returns the containers of a pod that run as long as it does.
func running(pod *corev1.Pod) (all []*corev1.Container) {
	for i := range pod.Spec.Containers {
		all = append(all, &pod.Spec.Containers[i])
	}
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			all = append(all, c)
		}
	}
	return all
}

// forUtilization returns how many replicas a target utilization in percent asks for. When scaling down, a pod without a value
// counts as if it used 100 % of its request, or the target if that is more.
func (g *grouped) forUtilization(spec *autoscalingv2.HorizontalPodAutoscalerSpec, target int64, current int) int {
	ratio := float64(percent(g.used, g.requests.With)) / float64(target)
	used, requested, counted := g.used, g.requests.With, g.pods.With
	switch {
	case ratio < 1:
		used += g.requests.Missing * max(100, target) / 100
		requested += g.requests.Missing
		counted += g.pods.Missing
	case ratio > 1:
		requested += g.requests.Missing + g.requests.Pending
		counted += g.pods.Missing + g.pods.Pending
	}
	again := float64(percent(used, requested)) / float64(target)
	return g.pods.settled(spec, ratio, again, math.Ceil(again*float64(counted)), current)
}
