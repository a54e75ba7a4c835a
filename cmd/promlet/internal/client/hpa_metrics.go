package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/promlet/promlet/adapter/autoscalers"
	"github.com/promlet/promlet/adapter/replicas"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
)

// hpaState is the state of an HPA or of one of its metrics. The first states need attention first.
type hpaState int

const (
	stateNoValue hpaState = iota
	stateStuck
	stateAbove
	stateAtZero
	stateOK
)

func (s hpaState) String() string {
	return [...]string{"no value", "cannot scale", "above target", "at zero", "ok"}[s]
}

// colour returns the colour of a state on a terminal.
func (s hpaState) colour() colour {
	return [...]colour{red, red, yellow, plain, green}[s]
}

// readHPA is an HPA with the current values of its metrics.
type readHPA struct {
	hpa     *autoscalingv2.HorizontalPodAutoscaler
	stuck   string // why the controller scales nothing
	metrics []readMetric
}

func (h *readHPA) place() string { return h.hpa.Namespace + "/" + h.hpa.Name }

func (h *readHPA) scales() string {
	return h.hpa.Spec.ScaleTargetRef.Kind + "/" + h.hpa.Spec.ScaleTargetRef.Name
}

// replicas returns the current replicas, the recommended ones if they differ, and the bounds.
func (h *readHPA) replicas() string {
	current := fmt.Sprint(h.hpa.Status.CurrentReplicas)
	if desired := h.hpa.Status.DesiredReplicas; desired != h.hpa.Status.CurrentReplicas && h.isRecommended(desired) {
		current += fmt.Sprintf(" -> %d", desired)
	}
	return fmt.Sprintf("%s (%d-%d)", current, h.minReplicas(), h.hpa.Spec.MaxReplicas)
}

func (h *readHPA) minReplicas() int32 {
	if h.hpa.Spec.MinReplicas == nil {
		return 1
	}
	return *h.hpa.Spec.MinReplicas
}

// isRecommended reports whether the desired replicas of the status are a recommendation. They are 0 before the first one,
// and without values they are those of an earlier one. The controller needs no values when the replicas are out of bounds.
func (h *readHPA) isRecommended(desired int32) bool {
	least, current := h.minReplicas(), h.hpa.Status.CurrentReplicas
	if desired == 0 && least > 0 {
		return false
	}
	outOfBounds := current > h.hpa.Spec.MaxReplicas || current > 0 && current < least
	return outOfBounds || h.hasValue()
}

// hasValue reports whether any metric has a value.
func (h *readHPA) hasValue() bool {
	return slices.ContainsFunc(h.metrics, func(m readMetric) bool { return m.now != nil })
}

// state returns the worst state of the HPA and its metrics.
func (h *readHPA) state() hpaState {
	state := stateOK
	if h.stuck != "" {
		state = stateStuck
	}
	for i := range h.metrics {
		state = min(state, h.metrics[i].state)
	}
	return state
}

// readMetric is a metric of an HPA with its current value.
type readMetric struct {
	name, of string
	path     string // of the metrics API; empty for a metric of metrics.k8s.io
	question question
	average  bool // value and target are for each pod
	usage    bool // of metrics.k8s.io
	target   *resource.Quantity
	percent  bool // value and target are percentages of what the pods request
	now      *resource.Quantity
	with     string // how many pods have a value
	state    hpaState
	reason   string // why there is no value
}

func (m *readMetric) value() string {
	if m.now == nil {
		return "-"
	}
	return m.text(m.now) + m.with
}

func (m *readMetric) targetText() string {
	if m.target == nil {
		return "-"
	}
	return m.text(m.target)
}

func (m *readMetric) text(q *resource.Quantity) string {
	text := values.Decimal(*q)
	switch {
	case m.percent:
		return text + "%"
	case m.usage && m.name == string(corev1.ResourceCPU):
		text = values.Cores(q.MilliValue())
	case m.usage:
		text = values.Bytes(q.Value())
	}
	if m.average {
		text += " per pod"
	}
	return text
}

// read requests the metrics of HPAs.
func (c *connection) read(ctx context.Context, hpas []autoscalingv2.HorizontalPodAutoscaler) []readHPA {
	mapper := NewMapper(c.discovery)
	all := make([]readHPA, len(hpas))
	var asking errgroup.Group
	asking.SetLimit(maxTopRequests)
	for i := range hpas {
		all[i] = readHPA{hpa: &hpas[i], stuck: autoscalers.Stuck(&hpas[i])}
		asking.Go(func() error {
			c.readMetrics(ctx, mapper, &all[i])
			return nil // each metric has its reason
		})
	}
	_ = asking.Wait()
	return all
}

func (c *connection) readMetrics(ctx context.Context, mapper meta.RESTMapper, h *readHPA) {
	for i := range h.hpa.Spec.Metrics {
		m, err := c.metricOf(ctx, mapper, h, &h.hpa.Spec.Metrics[i])
		switch {
		case err != nil:
			m.reason = err.Error()
		case m.usage && m.now == nil && !h.isAtZero():
			m.reason = c.whyNoUsage(ctx, mapper, h, &m)
		case m.path != "":
			if err := c.readValue(ctx, h, &m); err != nil {
				m.reason = m.shortReason(message(err), len(h.hpa.Spec.Metrics) > 1)
			}
		}
		m.state = m.judge(h)
		h.metrics = append(h.metrics, m)
	}
	if !h.isAtZero() || !h.hasValue() {
		return
	}
	for i := range h.metrics { // a metric with a value can scale the target up
		if m := &h.metrics[i]; m.of == "pods" && m.now == nil {
			m.state = stateAtZero
		}
	}
}

// shortReason returns the reason in a message of the metrics API. The metric and its object precede it if the HPA has others.
func (m *readMetric) shortReason(message string, hasOthers bool) string {
	found, ok := strings.CutPrefix(message, "the server could not find the metric "+m.name+" for ")
	_, reason, cut := strings.Cut(found, ": ")
	switch {
	case !ok || !cut:
		return message
	case hasOthers:
		return fmt.Sprintf("%s of %s: %s", m.name, m.of, reason)
	}
	return reason
}

// isAtZero reports whether the controller has scaled the target to zero replicas.
func (h *readHPA) isAtZero() bool {
	return h.hpa.Status.CurrentReplicas == 0 && h.hpa.Status.DesiredReplicas == 0
}

// isAbove reports whether the value exceeds the target by more than the controller tolerates.
func (m *readMetric) isAbove(spec *autoscalingv2.HorizontalPodAutoscalerSpec) bool {
	if m.target == nil || m.target.IsZero() {
		return false
	}
	ratio := m.now.AsApproximateFloat64() / m.target.AsApproximateFloat64()
	return ratio > 1 && !replicas.Tolerated(spec, ratio)
}

func (m *readMetric) judge(h *readHPA) hpaState {
	switch {
	case h.isAtZero() && m.path == "":
		return stateAtZero
	case m.now == nil:
		return stateNoValue
	case h.stuck != "":
		return stateStuck
	case m.isAbove(&h.hpa.Spec):
		return stateAbove
	case h.isAtZero():
		return stateAtZero
	}
	return stateOK
}

// metricOf returns a metric of an HPA. It has a value only if it is one of metrics.k8s.io. The error
// says why the metric cannot be requested.
func (c *connection) metricOf(ctx context.Context, mapper meta.RESTMapper, h *readHPA, spec *autoscalingv2.MetricSpec) (readMetric, error) {
	switch {
	case spec.Object != nil:
		of := spec.Object.DescribedObject
		m, err := newReadMetric(spec.Object.Metric, of.Kind+"/"+of.Name, &spec.Object.Target)
		gvk := schema.FromAPIVersionAndKind(of.APIVersion, of.Kind)
		mapping, mapErr := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
		if mapErr != nil || err != nil {
			return m, cmp.Or(err, mapErr)
		}
		d := described{GroupResource: mapping.Resource.GroupResource(), namespaced: mapping.Scope.Name() == meta.RESTScopeNameNamespace, name: of.Name}
		m.of, m.path = d.String(), d.path(h.hpa.Namespace, m.name)
		return m, nil
	case spec.Pods != nil:
		m, err := newReadMetric(spec.Pods.Metric, "pods", &spec.Pods.Target)
		if err != nil {
			return m, err
		}
		m.path = described{GroupResource: schema.GroupResource{Resource: "pods"}, namespaced: true}.path(h.hpa.Namespace, m.name)
		if m.question.selector, err = c.podSelector(ctx, mapper, h); err != nil {
			err = fmt.Errorf("%s of pods: spec.scaleTargetRef: %w", m.name, err)
		}
		return m, err
	case spec.External != nil:
		m, err := newReadMetric(spec.External.Metric, "external", &spec.External.Target)
		m.question.external = true
		m.path = externalPath(h.hpa.Namespace, m.name)
		return m, err
	case spec.Resource != nil:
		return ofUsage(h, spec.Resource.Name.String(), "pods", spec.Resource.Target), nil
	case spec.ContainerResource != nil:
		return ofUsage(h, spec.ContainerResource.Name.String(), "container "+spec.ContainerResource.Container, spec.ContainerResource.Target), nil
	}
	return readMetric{name: string(spec.Type)}, fmt.Errorf("metrics of type %s are not known", spec.Type)
}

func newReadMetric(of autoscalingv2.MetricIdentifier, object string, target *autoscalingv2.MetricTarget) (readMetric, error) {
	m := readMetric{name: of.Name, of: object, target: target.Value}
	if target.Type == autoscalingv2.AverageValueMetricType {
		m.target, m.average = target.AverageValue, true
	}
	if err := checkNames(of.Name); err != nil {
		return m, err
	}
	selector, err := metav1.LabelSelectorAsSelector(of.Selector)
	if err != nil {
		return m, fmt.Errorf("metric.selector: %w", rules.BadSelector(err))
	}
	if of.Selector != nil {
		m.question.metricSelector = selector.String()
	}
	return m, nil
}

// podSelector returns the label selector of the pods that an HPA scales.
func (c *connection) podSelector(ctx context.Context, mapper meta.RESTMapper, h *readHPA) (string, error) {
	of := h.hpa.Spec.ScaleTargetRef
	gvk := schema.FromAPIVersionAndKind(of.APIVersion, of.Kind)
	mapping, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return "", err
	}
	group := "/apis/" + mapping.Resource.Group
	if mapping.Resource.Group == "" {
		group = "/api"
	}
	var scale struct {
		Status struct {
			Selector string `json:"selector"`
		} `json:"status"`
	}
	path := fmt.Sprintf("%s/%s/namespaces/%s/%s/%s/scale", group, mapping.Resource.Version, h.hpa.Namespace, mapping.Resource.Resource, of.Name)
	if err = c.object(ctx, path, &scale); err == nil && scale.Status.Selector == "" {
		err = errors.New("its scale has no selector") // that of all pods
	}
	return scale.Status.Selector, err
}

// readValue requests the value of a metric from a metrics API. The error says why there is none.
func (c *connection) readValue(ctx context.Context, h *readHPA, m *readMetric) error {
	o := topOptions{question: m.question}
	request := topRequest{namespace: h.hpa.Namespace, path: m.path}
	found, err := o.values(ctx, c, request)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		reason, _ := o.reason(ctx, c, request, nil)
		return errors.New(reason)
	}
	var sum resource.Quantity
	for _, v := range found {
		sum.Add(v.quantity)
	}
	parts := len(found)
	switch {
	case m.of == "pods":
		m.with = fmt.Sprintf(" (%d pods)", parts)
	case m.average:
		parts = max(1, int(h.hpa.Status.CurrentReplicas))
	default:
		parts = 1
	}
	m.now = resource.NewMilliQuantity(sum.MilliValue()/int64(parts), resource.DecimalSI)
	return nil
}
