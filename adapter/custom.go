package adapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
)

// GetMetricByName returns the value of a metric for one object: 404 with the reason when
// there is none, 500 when it cannot be computed. A nil selector selects everything.
func (p *Provider) GetMetricByName(ctx context.Context, name types.NamespacedName, info provider.CustomMetricInfo, sel apilabels.Selector) (*custom_metrics.MetricValue, error) {
	start := time.Now()
	var v values.Value
	req, err := p.values.Request(info.Metric, info.GroupResource, name.Namespace, orEverything(sel))
	if err == nil {
		v, err = p.Explainer.Value(ctx, req, name.Name)
	}
	p.answered(rules.CustomAPI, info.Metric, start, values.OutcomeOf(err))
	if err != nil {
		return nil, apiStatus(err, info.Metric, fmt.Sprintf("%s %s", info.GroupResource, name.Name))
	}
	p.metrics.valueOf(rules.CustomAPI, p.values.Now().Sub(v.Last))
	answer := customValue(&req, name.Name, &v)
	return &answer, nil
}

// GetMetricBySelector returns the values of a metric for the objects that a selector
// picks: those that have one. Picking no object is 404; picking some that all have no
// value is an empty list. A nil selector selects everything.
func (p *Provider) GetMetricBySelector(ctx context.Context, namespace string, selector apilabels.Selector, info provider.CustomMetricInfo, sel apilabels.Selector) (*custom_metrics.MetricValueList, error) {
	start := time.Now()
	list, none, err := p.bySelector(ctx, namespace, selector, info, sel)
	p.answered(rules.CustomAPI, info.Metric, start, values.OutcomeOf(errors.Join(none, err)))
	if err != nil {
		return nil, apiStatus(err, info.Metric, info.GroupResource.String())
	}
	for i := range list.Items {
		p.metrics.valueOf(rules.CustomAPI, p.values.Now().Sub(list.Items[i].Timestamp.Time))
	}
	return list, nil
}

// bySelector also returns why a list is empty, which is no error.
func (p *Provider) bySelector(ctx context.Context, namespace string, selector apilabels.Selector, info provider.CustomMetricInfo, sel apilabels.Selector) (list *custom_metrics.MetricValueList, none, err error) {
	req, err := p.values.Request(info.Metric, info.GroupResource, namespace, orEverything(sel))
	if err != nil {
		return nil, nil, err
	}
	if req.Names, err = p.values.Picked(req, orEverything(selector)); err != nil {
		return nil, nil, p.Explainer.NoObjects(req, err)
	}
	found, err := p.values.Values(ctx, req)
	switch absent, ok := errors.AsType[*values.Absence](err); {
	case err == nil:
		none = values.Absent(values.OutcomeNotANumber, "no value")
	case !ok || absent.Outcome == values.OutcomeNoMetric || absent.Outcome == values.OutcomeStarting:
		return nil, nil, p.Explainer.Why(ctx, req, req.Names[0], err)
	default:
		none = err
	}
	list = &custom_metrics.MetricValueList{Items: make([]custom_metrics.MetricValue, 0, len(req.Names))}
	for _, name := range req.Names {
		switch v, ok := found[name]; {
		case !ok:
		case v.Err != nil:
			p.values.Logger.Debug("no value", "metric", info.Metric, "resource", req.Kind.GroupResource, "name", name, "reason", v.Err)
		default:
			list.Items = append(list.Items, customValue(&req, name, &v))
			none = nil
		}
	}
	return list, none, nil
}

func customValue(req *values.Request, name string, v *values.Value) custom_metrics.MetricValue {
	apiVersion, kind := req.Kind.GVK.ToAPIVersionAndKind()
	return custom_metrics.MetricValue{
		DescribedObject: custom_metrics.ObjectReference{APIVersion: apiVersion, Kind: kind, Namespace: req.Namespace, Name: name},
		Metric:          custom_metrics.MetricIdentifier{Name: req.Metric.Name, Selector: req.Selector},
		Timestamp:       metav1.NewTime(v.Last),
		WindowSeconds:   v.WindowSeconds(),
		Value:           v.Quantity,
	}
}

// ListAllMetrics returns every metric that a request could ask for now. It never fails:
// what cannot be read anew is answered as it was last.
func (p *Provider) ListAllMetrics() []provider.CustomMetricInfo { return p.listing().Custom }

func orEverything(selector apilabels.Selector) apilabels.Selector {
	if selector == nil {
		return apilabels.Everything()
	}
	return selector
}
