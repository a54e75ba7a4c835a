package adapter

import (
	"context"

	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
)

// noExternalMetrics answers external.metrics.k8s.io until external rules are
// served: an APIService that points here is available and has no metrics,
// rather than failing discovery for the whole cluster.
type noExternalMetrics struct{}

func (noExternalMetrics) GetExternalMetric(_ context.Context, namespace string, _ apilabels.Selector, info provider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	err := absent("promlet does not serve externalRules yet: use a Pods or Object metric")
	return nil, apiStatus(err, info.Metric, "namespace "+namespace)
}

func (noExternalMetrics) ListAllExternalMetrics() []provider.ExternalMetricInfo { return nil }
