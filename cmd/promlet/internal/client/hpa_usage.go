package client

import (
	"cmp"
	"context"
	"fmt"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/promlet/promlet/adapter/explain"
)

// ofUsage returns a metric of metrics.k8s.io with the value in the HPA's status.
func ofUsage(h *readHPA, name, of string, target autoscalingv2.MetricTarget) readMetric {
	m := readMetric{name: name, of: of, target: target.AverageValue, average: true, usage: true}
	if target.Type == autoscalingv2.UtilizationMetricType && target.AverageUtilization != nil {
		m.percent, m.target = true, resource.NewQuantity(int64(*target.AverageUtilization), resource.DecimalSI)
	}
	for i := range h.hpa.Status.CurrentMetrics {
		var current *autoscalingv2.MetricValueStatus
		switch s := &h.hpa.Status.CurrentMetrics[i]; {
		case s.Resource != nil && of == "pods" && s.Resource.Name.String() == name:
			current = &s.Resource.Current
		case s.ContainerResource != nil && of == "container "+s.ContainerResource.Container && s.ContainerResource.Name.String() == name:
			current = &s.ContainerResource.Current
		default:
			continue
		}
		switch {
		case !m.percent:
			m.now = current.AverageValue
		case current.AverageUtilization != nil:
			m.now = resource.NewQuantity(int64(*current.AverageUtilization), resource.DecimalSI)
		}
	}
	return m
}

// explainUsage asks promlet to explain a metric of metrics.k8s.io of the pods that an HPA scales. It returns nil if the pods
// are not known, or if promlet does not serve that API.
func (c *connection) explainUsage(ctx context.Context, mapper meta.RESTMapper, h *readHPA, m *readMetric) *explain.Explanation {
	selector, err := c.podSelector(ctx, mapper, h)
	if err != nil {
		return nil
	}
	parameters := question{selector: selector}.parameters()
	parameters.Set(explain.Parameter, explain.UsageParameter)
	path := described{GroupResource: schema.GroupResource{Resource: "pods"}, namespaced: true}.path(h.hpa.Namespace, m.name)
	body, err := c.get(ctx, path, parameters)
	if err != nil {
		return nil
	}
	explanation, err := parseExplanation(body)
	if err != nil || explanation.Unit == "" { // an older promlet takes it for a custom metric
		return nil
	}
	return explanation
}

// whyNoUsage returns the text that says why the controller has no value of a metric of metrics.k8s.io.
func (c *connection) whyNoUsage(ctx context.Context, mapper meta.RESTMapper, h *readHPA, m *readMetric) string {
	why := "the controller has no value from metrics.k8s.io, which metrics-server or promlet serves"
	if e := c.explainUsage(ctx, mapper, h, m); e != nil && e.Reason != "" {
		why = cmp.Or(e.Lacking, m.of) + " has none: " + e.Reason
	}
	return fmt.Sprintf("%s of %s: %s", m.name, m.of, why)
}
