package adapter

import (
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/tsdb"
)

var _ provider.ExternalMetricsProvider = (*Provider)(nil)

// GetExternalMetric returns the values of an external metric in a namespace, one for
// each result of its rule's query, with the result's labels: 404 with the reason when
// there is none, 500 when they cannot be computed.
func (p *Provider) GetExternalMetric(ctx context.Context, namespace string, sel apilabels.Selector, info provider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	start := time.Now()
	list, err := p.external(ctx, namespace, sel, info.Metric)
	if err != nil {
		err = p.whyExternal(ctx, namespace, sel, info.Metric, err)
	}
	p.metrics.answered(externalAPI, start, answerOf(err))
	if err != nil {
		return nil, apiStatus(err, info.Metric, "namespace "+namespace)
	}
	for i := range list.Items {
		p.metrics.valueOf(externalAPI, p.now().Sub(list.Items[i].Timestamp.Time))
	}
	return list, nil
}

// ListAllExternalMetrics returns every external metric there are series for. It never
// fails: what cannot be read anew is answered as it was last.
func (p *Provider) ListAllExternalMetrics() []provider.ExternalMetricInfo {
	return p.list().external
}

func (p *Provider) external(ctx context.Context, namespace string, sel apilabels.Selector, metric string) (*external_metrics.ExternalMetricValueList, error) {
	req := request{namespace: namespace, metric: metricKey{externalAPI, metric}}
	var err error
	if req.matchers, err = selectorMatchers(sel); err != nil {
		return nil, err
	}
	var list *external_metrics.ExternalMetricValueList
	err = p.firstCandidate(ctx, req, func(cand candidate) (bool, error) {
		asked := req
		if !cand.namespaced() {
			asked.namespace = ""
		}
		list, err = p.externalCandidate(ctx, asked, cand)
		return err == nil, err
	})
	return list, err
}

func (p *Provider) externalCandidate(ctx context.Context, req request, cand candidate) (*external_metrics.ExternalMetricValueList, error) {
	e, err := p.prepare(req, cand)
	if err != nil {
		return nil, err
	}
	_, vector, err := e.query(ctx, slices.Concat(e.matchers, e.scope), "")
	if err != nil {
		return nil, err
	}
	if len(vector) == 0 {
		if _, err := e.labelNames(ctx); err != nil {
			return nil, err
		}
		return nil, e.nothing()
	}
	asked := len(vector)
	if vector = e.withoutBrief(vector); len(vector) < asked {
		return nil, e.tooBrief()
	}
	list := &external_metrics.ExternalMetricValueList{Items: make([]external_metrics.ExternalMetricValue, 0, len(vector))}
	for _, sample := range vector {
		v := e.value(sample)
		if v.err != nil {
			// The HPA adds the items up: without one of them the sum would be too small.
			return nil, settled(answerNotANumber, "%v, of %s", v.err, sample.Labels)
		}
		list.Items = append(list.Items, externalValue(req.metric.name, sample, v))
	}
	return list, nil
}

func externalValue(metric string, sample tsdb.Sample, v value) external_metrics.ExternalMetricValue {
	return external_metrics.ExternalMetricValue{
		MetricName:    metric,
		MetricLabels:  sample.Labels.Map(),
		Timestamp:     metav1.NewTime(v.last),
		WindowSeconds: v.windowSeconds(),
		Value:         v.quantity,
	}
}
