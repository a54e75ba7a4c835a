// Command providing answers what the value of a metric is, as the HorizontalPodAutoscaler asks, without an API server.
package main

import (
	"context"

	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/bench/stranger/internal/instance"
	"github.com/promlet/promlet/bench/stranger/internal/queue"
)

func main() { instance.Main(open) }

type program struct{ *queue.Queue }

func open(config instance.Config) (program, error) {
	depth, err := queue.Open(config)
	return program{depth}, err
}

// Ask implements instance.Instance.
func (p program) Ask(ctx context.Context) (float64, error) {
	pod := types.NamespacedName{Namespace: "default", Name: "worker-1"}
	metric := provider.CustomMetricInfo{GroupResource: schema.GroupResource{Resource: "pods"}, Namespaced: true, Metric: "queue_depth"}
	value, err := p.Provider.GetMetricByName(ctx, pod, metric, apilabels.Everything())
	if err != nil {
		return 0, err
	}
	return value.Value.AsApproximateFloat64(), nil
}
