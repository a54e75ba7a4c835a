package resourcemetrics

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/metrics/pkg/apis/metrics"
)

// Source gives values. It is safe for concurrent use. A Store is one.
type Source interface {
	// PodMetrics returns the values of those pods that have some, in their order. The pods are only read.
	PodMetrics(ctx context.Context, pods []*corev1.Pod) ([]metrics.PodMetrics, error)
	// NodeMetrics returns the values of those nodes that have some, in their order. The nodes are only read.
	NodeMetrics(ctx context.Context, nodes []*corev1.Node) ([]metrics.NodeMetrics, error)
	// Pod and Node report why one has no value.
	Pod(ctx context.Context, pod *corev1.Pod) Report
	Node(ctx context.Context, name string) Report
}
