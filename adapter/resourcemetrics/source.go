package resourcemetrics

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/metrics/pkg/apis/metrics"
)

// Source gives what pods and nodes use. It is safe for concurrent use. A Store is a Source.
type Source interface {
	// PodMetrics returns the values of the pods, in their order. Pods without a value are left out. It does not change the pods.
	PodMetrics(ctx context.Context, pods []*corev1.Pod) ([]metrics.PodMetrics, error)
	// NodeMetrics returns the values of the nodes, in their order. Nodes without a value are left out. It does not change the
	// nodes.
	NodeMetrics(ctx context.Context, nodes []*corev1.Node) ([]metrics.NodeMetrics, error)
	// Pod reports why a pod has a value or none.
	Pod(ctx context.Context, pod *corev1.Pod) Report
	// Node reports why a node has a value or none.
	Node(ctx context.Context, name string) Report
}
