package queried

import (
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/metrics/pkg/apis/metrics"

	"github.com/promlet/promlet/adapter/resourcemetrics"
)

// podMetrics returns the value of a pod, with the earliest timestamp of its containers.
func podMetrics(pod *corev1.Pod, report *resourcemetrics.Report, window time.Duration) metrics.PodMetrics {
	value := metrics.PodMetrics{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, Labels: pod.Labels},
		Window:     metav1.Duration{Duration: window},
		Containers: make([]metrics.ContainerMetrics, len(report.Usages)),
	}
	earliest := report.Usages[0].Last.Time
	for i := range report.Usages {
		u := &report.Usages[i]
		value.Containers[i] = metrics.ContainerMetrics{Name: u.Name, Usage: resources(u)}
		if u.Last.Time.Before(earliest) {
			earliest = u.Last.Time
		}
	}
	value.Timestamp = metav1.NewTime(earliest)
	value.CreationTimestamp = value.Timestamp
	return value
}

func nodeMetrics(node *corev1.Node, report *resourcemetrics.Report, window time.Duration) metrics.NodeMetrics {
	u := &report.Usages[0]
	timestamp := metav1.NewTime(u.Last.Time)
	return metrics.NodeMetrics{
		ObjectMeta: metav1.ObjectMeta{Name: node.Name, Labels: node.Labels, CreationTimestamp: timestamp},
		Timestamp:  timestamp,
		Window:     metav1.Duration{Duration: window},
		Usage:      resources(u),
	}
}

func resources(u *resourcemetrics.Usage) corev1.ResourceList {
	cpu := resource.NewScaledQuantity(int64(math.Round(u.Cores*float64(time.Second))), resource.Nano)
	cpu.Format = resource.DecimalSI
	return corev1.ResourceList{corev1.ResourceCPU: *cpu, corev1.ResourceMemory: *resource.NewQuantity(u.Memory, resource.BinarySI)}
}
