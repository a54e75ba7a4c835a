package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"

	"github.com/promlet/promlet/adapter/replicas"
)

// loadMetric is the metric that the demo's load makes, and so can be compared with it.
const loadMetric = "http_requests"

// row is one line of the table.
type row struct {
	object, metric string
	target         string
	asks           string // for how many replicas
	value          resource.Quantity
	at             time.Time
	window         time.Duration // 0: an instant value
	load           float64       // driven in the window; negative: not known
	filling        bool          // the load began within the window
	err            error         // why there is no value
	scales         bool          // an HPA has the metric
}

// poll asks for all metrics of the HPA, and for those of each pod.
func (d *demo) poll(ctx context.Context) []row {
	var rows []row
	for _, m := range d.example.hpa.Spec.Metrics {
		switch m.Type {
		case autoscalingv2.ObjectMetricSourceType:
			rows = append(rows, d.objectRow(ctx, *m.Object))
		case autoscalingv2.PodsMetricSourceType:
			rows = append(rows, d.podsRow(ctx, *m.Pods))
		}
	}
	return append(rows, d.podRows(ctx)...)
}

// objectRow asks for a metric of one object by its name.
func (d *demo) objectRow(ctx context.Context, m autoscalingv2.ObjectMetricSource) row {
	object := resourceOf(m.DescribedObject) + "/" + m.DescribedObject.Name
	r := row{object: object, metric: m.Metric.Name, target: targetOf(m.Target), load: -1, scales: true}
	values, err := d.api.values(ctx, d.example.hpa.Namespace, object, m.Metric.Name, selectorOf(m.Metric))
	if err == nil && len(values) != 1 {
		err = fmt.Errorf("%d values instead of one", len(values))
	}
	if err != nil {
		r.err = err
		return r
	}
	r.take(values[0])
	r.asks = d.asks(m.Target, r.value.MilliValue())
	if m.DescribedObject.Kind == "Service" && m.DescribedObject.Name == d.example.service.Name {
		r.compare(d.loads...)
	}
	return r
}

// podsRow asks for a metric of all pods, and adds up: the target is one per pod.
func (d *demo) podsRow(ctx context.Context, m autoscalingv2.PodsMetricSource) row {
	r := row{object: "pods/*", metric: m.Metric.Name, target: targetOf(m.Target), load: -1, scales: true}
	values, err := d.api.values(ctx, d.example.hpa.Namespace, "pods/*", m.Metric.Name, selectorOf(m.Metric))
	if err == nil && len(values) == 0 {
		err = errors.New("no values")
	}
	if err != nil {
		r.err = err
		return r
	}
	r.take(values[0])
	for _, v := range values[1:] {
		r.value.Add(v.Value)
		if v.Timestamp.Time.Before(r.at) {
			r.at = v.Timestamp.Time
		}
	}
	r.asks = d.asks(m.Target, r.value.MilliValue())
	r.compare(d.loads...)
	return r
}

// podRows asks for the requests of all pods at once and gives each a line, in the order of the applications.
func (d *demo) podRows(ctx context.Context) []row {
	values, err := d.api.values(ctx, d.example.service.Namespace, "pods/*", loadMetric, "")
	rows := make([]row, len(d.example.pods))
	for i, name := range d.example.pods {
		r := row{object: "pods/" + name, metric: loadMetric, load: -1, err: errors.New("no value for this pod")}
		if err != nil {
			r.err = err
		}
		for _, v := range values {
			if v.DescribedObject.Name == name {
				r.err = nil
				r.take(v)
				r.compare(d.loads[i])
			}
		}
		rows[i] = r
	}
	return rows
}

func (r *row) take(v v1beta2.MetricValue) {
	r.value, r.at = v.Value, v.Timestamp.Time
	if v.WindowSeconds != nil {
		r.window = time.Duration(*v.WindowSeconds) * time.Second
	}
}

// compare puts beside a rate the load at some applications in the very same window.
func (r *row) compare(loads ...*load) {
	if r.metric != loadMetric || r.window <= 0 {
		return
	}
	r.load = 0
	for _, l := range loads {
		r.load += l.over(r.window, r.at)
		r.filling = r.filling || l.beganAfter(r.at.Add(-r.window))
	}
}

// asks is how many replicas the HPA would ask for, beside what it has and may have.
func (d *demo) asks(target autoscalingv2.MetricTarget, milli int64) string {
	spec, ready := d.example.hpa.Spec, len(d.example.pods)
	least := int32(1)
	if spec.MinReplicas != nil {
		least = *spec.MinReplicas
	}
	return fmt.Sprintf("%d replicas (has %d, may %d-%d)", replicas.ForTotal(&spec, target, milli, ready, ready), ready, least, spec.MaxReplicas)
}

func targetOf(t autoscalingv2.MetricTarget) string {
	switch {
	case t.Value != nil:
		return t.Value.String()
	case t.AverageValue != nil:
		return t.AverageValue.String() + " a pod"
	}
	return "?"
}

func selectorOf(m autoscalingv2.MetricIdentifier) string {
	if m.Selector == nil {
		return ""
	}
	return metav1.FormatLabelSelector(m.Selector)
}

// resourceOf names an object's resource as the API's path does: services, deployments.apps. The controller asks the
// API server; the usual plural will do here.
func resourceOf(o autoscalingv2.CrossVersionObjectReference) string {
	kind := schema.FromAPIVersionAndKind(o.APIVersion, o.Kind)
	plural, _ := meta.UnsafeGuessKindToResource(kind)
	return strings.TrimSuffix(plural.Resource+"."+plural.Group, ".")
}
