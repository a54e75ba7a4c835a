package adapter

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
)

// GetExternalMetric returns the values of an external metric in a namespace, one for
// each result of its rule's query, with the result's labels: 404 with the reason when
// there is none, 500 when they cannot be computed. A nil selector selects everything.
func (p *Provider) GetExternalMetric(ctx context.Context, namespace string, sel apilabels.Selector, info provider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	start := time.Now()
	var found []values.Value
	req, err := values.ExternalRequest(info.Metric, namespace, orEverything(sel))
	if err == nil {
		found, err = p.Explainer.External(ctx, req)
	}
	p.answered(rules.ExternalAPI, info.Metric, start, values.OutcomeOf(err))
	if err != nil {
		return nil, apiStatus(err, info.Metric, "namespace "+namespace)
	}
	list := &external_metrics.ExternalMetricValueList{Items: make([]external_metrics.ExternalMetricValue, len(found))}
	for i, v := range found {
		p.metrics.valueOf(rules.ExternalAPI, p.values.Now().Sub(v.Last))
		list.Items[i] = external_metrics.ExternalMetricValue{
			MetricName:    info.Metric,
			MetricLabels:  v.Labels.Map(),
			Timestamp:     metav1.NewTime(v.Last),
			WindowSeconds: v.WindowSeconds(),
			Value:         v.Quantity,
		}
	}
	return list, nil
}

// ListAllExternalMetrics returns every external metric that there are series for. It never
// fails: what cannot be read anew is answered as it was last.
func (p *Provider) ListAllExternalMetrics() []provider.ExternalMetricInfo {
	return p.listing().External
}
