package adapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/promlet/promlet/adapter/replicas"
)

// Autoscaler is a HorizontalPodAutoscaler, what it is told, and what follows from that.
type Autoscaler struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	UID       types.UID `json:"-"`
	Target    string    `json:"target"` // what it scales: Deployment/x
	Min       int       `json:"minReplicas"`
	Max       int       `json:"maxReplicas"`
	// Replicas are those there are: as the HPA's status says, or else the pods that the
	// target owns.
	Replicas int `json:"replicas"`
	// Asks is how many the controller would ask for now by the metrics that have a value;
	// 0 when none has.
	Asks int `json:"asksFor,omitempty"`
	// Stuck is why the controller scales nothing, whatever the metrics say, in its own
	// words; empty when it does.
	Stuck   string         `json:"stuck,omitempty"`
	Metrics []ScaledMetric `json:"metrics"`
}

// ScaledMetric is a metric that an HPA scales on.
type ScaledMetric struct {
	Metric string `json:"metric"`
	Object string `json:"object"` // services/x, pods, external; resource for one of metrics.k8s.io, which is not promlet's
	// Question is the request for it, to be explained. For Pods metrics it is about the
	// first pod without a value, or about the target of the HPA.
	Question Question `json:"-"`
	// Value is what the HPA compares with Target, in milli-units; nil when there is none,
	// and then Reason says why. Of a Pods metric it is the mean of the pods that have one.
	Value  *int64 `json:"valueMilli,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Pods are how many a Pods metric is about, With those of them that have a value.
	Pods int `json:"pods,omitempty"`
	With int `json:"podsWithValue,omitempty"`
	// Target is in milli-units. Average means that it is for each pod; so is Value.
	Target  int64 `json:"targetMilli"`
	Average bool  `json:"average,omitempty"`
	// Last is the time of the last sample used, Window what was computed over.
	Last   time.Time     `json:"last,omitzero"`
	Window time.Duration `json:"windowNanoseconds,omitempty"`
	Asks   int           `json:"asksFor,omitempty"`
	// History are the values of the last hour, as they were then, oldest first; see
	// Provider.RunAutoscalers.
	History []Point `json:"history,omitempty"`
}

// Point is a value that there was.
type Point struct {
	At    time.Time `json:"at"`
	Milli int64     `json:"milli"`
}

// ofResource is the Object of a metric that is not promlet's.
const ofResource = "resource"

// Served tells whether the metric is one of promlet's APIs.
func (m *ScaledMetric) Served() bool { return m.Object != ofResource }

// Autoscalers returns the HPAs that a filter takes (nil: all), ordered by namespace and
// name, with the values that their metrics have now.
func (p *Provider) Autoscalers(ctx context.Context, filter func(namespace, name string) bool) ([]Autoscaler, error) {
	hpas, err := p.objects.hpas()
	if err != nil {
		return nil, err
	}
	hpas = slices.DeleteFunc(hpas, func(h *autoscalingv2.HorizontalPodAutoscaler) bool {
		return filter != nil && !filter(h.Namespace, h.Name)
	})
	if len(hpas) == 0 {
		return nil, nil
	}
	owned, err := p.objects.podsByOwner()
	if err != nil {
		return nil, err
	}
	ctx = unread(ctx)
	all := make([]Autoscaler, 0, len(hpas))
	for _, hpa := range hpas {
		s := scaling{Provider: p, hpa: hpa, pods: owned[targetOf(hpa)]}
		all = append(all, s.autoscaler(ctx))
	}
	return all, ctx.Err()
}

// scaling is an HPA being looked at.
type scaling struct {
	*Provider
	hpa     *autoscalingv2.HorizontalPodAutoscaler
	pods    []*corev1.Pod // of its target, as far as owners tell
	current int           // replicas
}

func (s *scaling) autoscaler(ctx context.Context) Autoscaler {
	spec := &s.hpa.Spec
	a := Autoscaler{
		Namespace: s.hpa.Namespace, Name: s.hpa.Name, UID: s.hpa.UID,
		Target: spec.ScaleTargetRef.Kind + "/" + spec.ScaleTargetRef.Name,
		Min:    1, Max: int(spec.MaxReplicas), Replicas: int(s.hpa.Status.CurrentReplicas),
		Stuck: stuck(s.hpa),
	}
	if spec.MinReplicas != nil {
		a.Min = int(*spec.MinReplicas)
	}
	if a.Replicas == 0 {
		a.Replicas = len(s.pods)
	}
	s.current = a.Replicas
	lacking := false
	for i := range spec.Metrics {
		m := s.metric(ctx, &spec.Metrics[i])
		m.History = s.history.points(historySeries(a.Namespace, a.Name, i, &m), s.now())
		a.Asks = max(a.Asks, m.Asks)
		lacking = lacking || m.Served() && m.Value == nil
		a.Metrics = append(a.Metrics, m)
	}
	switch {
	case a.Replicas > a.Max: // then the controller looks at no metrics
		a.Asks = a.Max
	case a.Replicas > 0 && a.Replicas < a.Min:
		a.Asks = a.Min
	case lacking && a.Asks != 0: // it adds replicas and takes none away
		a.Asks = max(a.Asks, replicas.Clamp(spec, a.Replicas))
	}
	return a
}

// metric evaluates a metric of the HPA as its controller does.
func (s *scaling) metric(ctx context.Context, spec *autoscalingv2.MetricSpec) ScaledMetric {
	switch {
	case spec.Object != nil:
		return s.objectMetric(ctx, spec.Object)
	case spec.Pods != nil:
		return s.podsMetric(ctx, spec.Pods)
	case spec.External != nil:
		return s.externalMetric(ctx, spec.External)
	}
	m := ScaledMetric{Metric: string(spec.Type), Object: ofResource, Reason: "metrics-server's, not promlet's"}
	switch {
	case spec.Resource != nil:
		m.Metric = spec.Resource.Name.String()
	case spec.ContainerResource != nil:
		m.Metric = spec.ContainerResource.Name.String() + " of container " + spec.ContainerResource.Container
	}
	return m
}

func (s *scaling) objectMetric(ctx context.Context, spec *autoscalingv2.ObjectMetricSource) ScaledMetric {
	of := spec.DescribedObject
	m := ScaledMetric{Metric: spec.Metric.Name, Object: of.Kind + "/" + of.Name}
	m.aim(spec.Target)
	k, err := s.kinds.ofObject(of.APIVersion, of.Kind)
	if err != nil {
		m.Reason = err.Error()
		return m
	}
	m.Object = k.GroupResource.String() + "/" + of.Name
	m.Question = Question{Metric: m.Metric, Object: k.GroupResource, Namespace: s.hpa.Namespace, Name: of.Name}
	if m.Question.MetricSelector, err = metricSelector(spec.Metric); err != nil {
		m.Reason = err.Error()
		return m
	}
	info := provider.CustomMetricInfo{GroupResource: k.GroupResource, Metric: m.Metric, Namespaced: k.Namespaced}
	found, err := s.byName(ctx, types.NamespacedName{Namespace: s.hpa.Namespace, Name: of.Name}, info, m.Question.MetricSelector)
	if err != nil {
		m.Reason = err.Error()
	} else {
		m.Last = found.Timestamp.Time
		m.window(found.WindowSeconds)
		s.total(&m, spec.Target, found.Value.MilliValue())
	}
	return m
}

func (s *scaling) externalMetric(ctx context.Context, spec *autoscalingv2.ExternalMetricSource) ScaledMetric {
	m := ScaledMetric{Metric: spec.Metric.Name, Object: "external"}
	m.Question = Question{Metric: m.Metric, Namespace: s.hpa.Namespace, External: true}
	m.aim(spec.Target)
	var err error
	if m.Question.MetricSelector, err = metricSelector(spec.Metric); err != nil {
		m.Reason = err.Error()
		return m
	}
	list, err := s.external(ctx, s.hpa.Namespace, m.Question.MetricSelector, m.Metric)
	if err != nil {
		m.Reason = s.whyExternal(ctx, s.hpa.Namespace, m.Question.MetricSelector, m.Metric, err).Error()
		return m
	}
	var sum int64
	for i := range list.Items {
		item := &list.Items[i]
		sum += item.Value.MilliValue()
		if at := item.Timestamp.Time; m.Last.IsZero() || at.Before(m.Last) {
			m.Last = at
		}
		m.window(item.WindowSeconds)
	}
	s.total(&m, spec.Target, sum)
	return m
}

// total settles a metric that is one value for all pods.
func (s *scaling) total(m *ScaledMetric, target autoscalingv2.MetricTarget, milli int64) {
	if s.current > 0 {
		m.Asks = replicas.ForTotal(&s.hpa.Spec, target, milli, s.current, s.ready())
		if m.Average {
			milli = int64(math.Ceil(float64(milli) / float64(s.current)))
		}
	}
	m.Value = &milli
}

// ready is how many pods of the target run and are ready; of pods that are not known, all.
func (s *scaling) ready() (n int) {
	if len(s.pods) == 0 {
		return s.current
	}
	for _, pod := range s.pods {
		for i := range pod.Status.Conditions {
			if c := &pod.Status.Conditions[i]; pod.Status.Phase == corev1.PodRunning && c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				n++
			}
		}
	}
	return n
}

func (s *scaling) podsMetric(ctx context.Context, spec *autoscalingv2.PodsMetricSource) ScaledMetric {
	m := ScaledMetric{Metric: spec.Metric.Name, Object: podResource.Resource}
	m.aim(spec.Target)
	selector, err := metricSelector(spec.Metric)
	if err == nil {
		err = s.podValues(ctx, &m, selector, spec.Target)
	}
	if err != nil {
		m.Reason = err.Error()
	}
	return m
}

func (s *scaling) podValues(ctx context.Context, m *ScaledMetric, selector apilabels.Selector, target autoscalingv2.MetricTarget) error {
	m.Question = Question{Metric: m.Metric, Namespace: s.hpa.Namespace, MetricSelector: selector, Object: podResource}
	names, pending := s.started()
	if len(names) == 0 {
		return s.withoutPods(m, target)
	}
	req, err := s.request(provider.CustomMetricInfo{GroupResource: podResource, Metric: m.Metric, Namespaced: true}, s.hpa.Namespace, selector)
	if err != nil {
		return err
	}
	req.names = names
	values, err := s.evaluate(ctx, req)
	var gone *absence
	if err != nil && !errors.As(err, &gone) {
		return err
	}
	var sum int64
	m.Pods = len(names)
	for _, name := range names {
		v, ok := values[name]
		if !ok || v.err != nil {
			m.Question.Name = cmp.Or(m.Question.Name, name)
			continue
		}
		m.With++
		sum += v.quantity.MilliValue()
		m.Window = max(m.Window, v.window)
		if m.Last.IsZero() || v.last.Before(m.Last) {
			m.Last = v.last
		}
	}
	if m.With == 0 {
		return s.whyNoPod(ctx, req, values, err)
	}
	if m.With == m.Pods {
		m.Question.Name = names[0]
	}
	mean := sum / int64(m.With)
	m.Value = &mean
	m.Asks = replicas.ForPods(&s.hpa.Spec, target, sum, s.current, replicas.Pods{With: m.With, Missing: m.Pods - m.With, Pending: pending})
	return nil
}

// started are the names of the pods that are not pending, sorted, and how many are.
func (s *scaling) started() (names []string, pending int) {
	for _, pod := range s.pods {
		if pod.Status.Phase == corev1.PodPending {
			pending++
			continue
		}
		names = append(names, pod.Name)
	}
	slices.Sort(names)
	return names, pending
}

// withoutPods settles a Pods metric of pods that are not known. The HPA finds them by
// labels, promlet by their owners: those of a custom workload may be owned by something
// of which only its controller knows. Then there is what the HPA has noted itself.
func (s *scaling) withoutPods(m *ScaledMetric, target autoscalingv2.MetricTarget) error {
	of := s.hpa.Spec.ScaleTargetRef
	for i := range s.hpa.Status.CurrentMetrics {
		noted := s.hpa.Status.CurrentMetrics[i].Pods
		if len(s.pods) > 0 || noted == nil || noted.Metric.Name != m.Metric || noted.Current.AverageValue == nil {
			continue
		}
		mean := noted.Current.AverageValue.MilliValue()
		m.Value = &mean
		m.Asks = replicas.ForPods(&s.hpa.Spec, target, mean*int64(s.current), s.current, replicas.Pods{With: s.current})
		return nil
	}
	return absent("no pod that has started is owned by %s %s", of.Kind, of.Name)
}

// whyNoPod tells why the first of several pods has no value.
func (s *scaling) whyNoPod(ctx context.Context, req request, values map[string]value, err error) error {
	first := req.names[0]
	req.names = req.names[:1]
	switch v, ok := values[first]; {
	case ok:
		err = v.err
	case err == nil:
		err = s.why(ctx, req, first, absent("no value"))
	default:
		err = s.why(ctx, req, first, err)
	}
	return fmt.Errorf("pod %s: %w", first, err)
}

func (m *ScaledMetric) window(seconds *int64) {
	if seconds != nil {
		m.Window = max(m.Window, time.Duration(*seconds)*time.Second)
	}
}

func (m *ScaledMetric) aim(target autoscalingv2.MetricTarget) {
	switch {
	case target.Type == autoscalingv2.AverageValueMetricType && target.AverageValue != nil:
		m.Target, m.Average = target.AverageValue.MilliValue(), true
	case target.Value != nil:
		m.Target = target.Value.MilliValue()
	}
}

// metricSelector is nil for a metric without one.
func metricSelector(of autoscalingv2.MetricIdentifier) (apilabels.Selector, error) {
	if of.Selector == nil {
		return nil, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(of.Selector)
	if err != nil {
		return nil, fmt.Errorf("metric.selector: %w", err)
	}
	return selector, nil
}
