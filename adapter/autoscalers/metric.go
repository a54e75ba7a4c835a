package autoscalers

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
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/replicas"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
)

// scaling is an HPA being looked at.
type scaling struct {
	*Autoscalers

	hpa     *autoscalingv2.HorizontalPodAutoscaler
	pods    []*corev1.Pod // of its target, as far as owners tell
	current int           // replicas
}

// metric evaluates a metric of the HPA as its controller does.
func (s *scaling) metric(ctx context.Context, spec *autoscalingv2.MetricSpec) Metric {
	var m Metric
	var err error
	switch {
	case spec.Object != nil:
		of := spec.Object.DescribedObject
		if m, err = s.newMetric(spec.Object.Metric, of.Kind+"/"+of.Name, spec.Object.Target); err == nil {
			err = s.ofObject(ctx, &m, spec.Object)
		}
	case spec.Pods != nil:
		if m, err = s.newMetric(spec.Pods.Metric, objects.Pod().Resource, spec.Pods.Target); err == nil {
			err = s.ofPods(ctx, &m, spec.Pods)
		}
	case spec.External != nil:
		if m, err = s.newMetric(spec.External.Metric, "external", spec.External.Target); err == nil {
			err = s.external(ctx, &m, spec.External)
		}
	case spec.Resource != nil:
		m, err = s.ofResource(ctx, replicas.ResourceMetric{Resource: spec.Resource.Name, Target: spec.Resource.Target})
	case spec.ContainerResource != nil:
		of := spec.ContainerResource
		m, err = s.ofResource(ctx, replicas.ResourceMetric{Resource: of.Name, Container: of.Container, Target: of.Target})
	default:
		m = notServed(string(spec.Type))
	}
	if err != nil {
		m.Reason = err.Error()
	}
	return m
}

func notServed(name string) Metric {
	return Metric{Metric: name, Object: ofResource, Reason: "metrics-server's, not promlet's"}
}

// newMetric returns a metric without its value. The error is that of its selector.
func (s *scaling) newMetric(of autoscalingv2.MetricIdentifier, object string, target autoscalingv2.MetricTarget) (m Metric, err error) {
	m = Metric{Metric: of.Name, Object: object, Question: explain.Question{Metric: of.Name, Namespace: s.hpa.Namespace}}
	switch {
	case target.Type == autoscalingv2.AverageValueMetricType && target.AverageValue != nil:
		m.Target, m.Average = target.AverageValue.MilliValue(), true
	case target.Value != nil:
		m.Target = target.Value.MilliValue()
	}
	if of.Selector != nil {
		if m.Question.MetricSelector, err = metav1.LabelSelectorAsSelector(of.Selector); err != nil {
			err = fmt.Errorf("metric.selector: %w", rules.BadSelector(err))
		}
	}
	return m, err
}

func (s *scaling) ofObject(ctx context.Context, m *Metric, spec *autoscalingv2.ObjectMetricSource) error {
	of := spec.DescribedObject
	k, err := s.values.Kinds.OfObject(of.APIVersion, of.Kind)
	if err != nil {
		return err
	}
	m.Object = k.GroupResource.String() + "/" + of.Name
	m.Question.Object, m.Question.Name = k.GroupResource, of.Name
	req, err := s.values.Request(m.Metric, k.GroupResource, s.hpa.Namespace, m.Question.MetricSelector)
	if err != nil {
		return err
	}
	v, err := s.explainer.Value(ctx, req, of.Name)
	if err != nil {
		return err
	}
	m.use(v)
	s.total(m, spec.Target, v.Quantity.MilliValue())
	return nil
}

func (s *scaling) external(ctx context.Context, m *Metric, spec *autoscalingv2.ExternalMetricSource) error {
	m.Question.External = true
	req, err := values.ExternalRequest(m.Metric, s.hpa.Namespace, m.Question.MetricSelector)
	if err != nil {
		return err
	}
	all, err := s.explainer.External(ctx, req)
	if err != nil {
		return err
	}
	var sum int64
	for _, v := range all {
		sum += v.Quantity.MilliValue()
		m.use(v)
	}
	s.total(m, spec.Target, sum)
	return nil
}

// use notes the time of a value that the metric's is made of.
func (m *Metric) use(v values.Value) {
	if m.Last.IsZero() || v.Last.Before(m.Last) {
		m.Last = v.Last
	}
	m.Window = max(m.Window, v.Window.Round(time.Second))
}

// total sets a value that is one for all pods.
func (s *scaling) total(m *Metric, target autoscalingv2.MetricTarget, milli int64) {
	if s.current > 0 || s.atZero() {
		m.Asks = replicas.ForTotal(&s.hpa.Spec, target, milli, s.current, s.ready())
	}
	if s.current > 0 && m.Average {
		milli = int64(math.Ceil(float64(milli) / float64(s.current)))
	}
	m.Value = &milli
}

// atZero reports whether the controller has scaled the target to zero replicas.
func (s *scaling) atZero() bool {
	least := s.hpa.Spec.MinReplicas
	return s.current == 0 && least != nil && *least == 0
}

// ready is how many pods of the target run and are ready; where pods are not known, all.
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

func (s *scaling) ofPods(ctx context.Context, m *Metric, spec *autoscalingv2.PodsMetricSource) error {
	m.Question.Object = objects.Pod().GroupResource
	names, pending := s.started()
	if len(names) == 0 {
		return s.fromStatus(m, spec.Target, func(noted *autoscalingv2.MetricStatus) *autoscalingv2.MetricValueStatus {
			if of := noted.Pods; of != nil && of.Metric.Name == m.Metric {
				return &of.Current
			}
			return nil
		})
	}
	req, err := s.values.Request(m.Metric, m.Question.Object, s.hpa.Namespace, m.Question.MetricSelector)
	if err != nil {
		return err
	}
	req.Names = names
	found, err := s.values.Values(ctx, req)
	if _, absent := errors.AsType[*values.Absence](err); err != nil && !absent {
		return err
	}
	var sum int64
	m.Pods = len(names)
	for _, name := range names {
		v, ok := found[name]
		if !ok || v.Err != nil {
			m.Question.Name = cmp.Or(m.Question.Name, name)
			continue
		}
		m.With++
		sum += v.Quantity.MilliValue()
		m.use(v)
	}
	if m.With == 0 {
		if odd := found[names[0]].Err; odd != nil {
			err = values.Absent(values.OutcomeNotANumber, "%v", odd)
		}
		err = cmp.Or(err, values.Absent(values.OutcomeNoSeries, "no value"))
		return fmt.Errorf("pod %s: %w", names[0], s.explainer.Why(ctx, req, names[0], err))
	}
	m.Question.Name = cmp.Or(m.Question.Name, names[0])
	mean := sum / int64(m.With)
	m.Value = &mean
	m.Asks = replicas.ForPods(&s.hpa.Spec, spec.Target, sum, s.current, replicas.Pods{With: m.With, Missing: m.Pods - m.With, Pending: pending})
	return nil
}

// started returns the names of the pods that are not pending, sorted, and how many are.
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

// fromStatus sets a metric from the HPA's status if promlet does not know the pods. The HPA finds pods by labels, promlet by
// their owners; the owners of some custom workloads are known only to their controller. current returns the value of the
// metric in an item of the status, nil if the item is about another metric.
func (s *scaling) fromStatus(m *Metric, target autoscalingv2.MetricTarget, current func(*autoscalingv2.MetricStatus) *autoscalingv2.MetricValueStatus) error {
	for i := range s.hpa.Status.CurrentMetrics {
		noted := current(&s.hpa.Status.CurrentMetrics[i])
		if len(s.pods) > 0 || noted == nil {
			continue
		}
		mean := noted.AverageValue
		if m.Unit == UnitPercent { // the arithmetic is that of a mean
			if noted.AverageUtilization == nil {
				continue
			}
			mean = resource.NewQuantity(int64(*noted.AverageUtilization), resource.DecimalSI)
			target.AverageValue = resource.NewMilliQuantity(m.Target, resource.DecimalSI)
		}
		if mean == nil {
			continue
		}
		milli := mean.MilliValue()
		m.Value = &milli
		m.Asks = replicas.ForPods(&s.hpa.Spec, target, milli*int64(s.current), s.current, replicas.Pods{With: s.current})
		return nil
	}
	of := s.hpa.Spec.ScaleTargetRef
	if s.atZero() {
		return fmt.Errorf("%s/%s has no pods, so %s", of.Kind, of.Name, explain.AtZeroAdvice)
	}
	return fmt.Errorf("no pod that has started is owned by %s %s", of.Kind, of.Name)
}
