package autoscalers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/replicas"
)

// ofResource returns a Resource or ContainerResource metric with its value.
func (s *scaling) ofResource(ctx context.Context, of replicas.ResourceMetric) (m Metric, err error) {
	if s.resources == nil {
		name := of.Resource.String()
		if of.Container != "" {
			name += " of container " + of.Container
		}
		return notServed(name), nil
	}
	m = s.newResource(of)
	names, _ := s.started()
	if len(names) == 0 {
		return m, s.fromStatus(&m, of.Target, func(noted *autoscalingv2.MetricStatus) *autoscalingv2.MetricValueStatus {
			switch r, c := noted.Resource, noted.ContainerResource; {
			case of.Container == "" && r != nil && r.Name == of.Resource:
				return &r.Current
			case of.Container != "" && c != nil && c.Name == of.Resource && c.Container == of.Container:
				return &c.Current
			}
			return nil
		})
	}
	used, err := s.used(ctx, of, &m)
	if err != nil {
		return m, err
	}
	value, err := replicas.ForResource(&s.hpa.Spec, of, s.pods, used, s.current, s.values.Now())
	lacking, why := s.lacking(ctx, of, used)
	m.Question.Name = cmp.Or(lacking, names[0])
	switch {
	case len(used) == 0 && why != "":
		m.Pods = len(names)
		return m, errors.New(why)
	case err != nil:
		m.Pods = len(names)
		return m, err
	}
	m.With, m.Pods = value.Pods.With, value.Pods.With+value.Pods.Missing
	m.Value, m.Asks = &value.Milli, value.Replicas
	return m, nil
}

// newResource returns a metric of metrics.k8s.io without its value.
func (s *scaling) newResource(of replicas.ResourceMetric) Metric {
	m := Metric{Metric: of.Resource.String(), Object: objects.Pod().Resource, Unit: UnitCores, Average: true}
	if of.Resource != corev1.ResourceCPU {
		m.Unit = UnitBytes
	}
	if of.Container != "" {
		m.Object = "container " + of.Container
	}
	switch {
	case of.Target.Type == autoscalingv2.UtilizationMetricType && of.Target.AverageUtilization != nil:
		m.Unit, m.Average, m.Target = UnitPercent, false, 1000*int64(*of.Target.AverageUtilization)
	case of.Target.AverageValue != nil:
		m.Target = of.Target.AverageValue.MilliValue()
	}
	m.Question = explain.Question{Metric: m.Metric, Namespace: s.hpa.Namespace, Object: objects.Pod().GroupResource, Usage: true}
	return m
}

// used returns what pods use, by their names. Pods without a value are left out. It sets the time and window of the metric.
func (s *scaling) used(ctx context.Context, of replicas.ResourceMetric, m *Metric) (map[string]replicas.Usage, error) {
	found, err := s.resources.PodMetrics(ctx, s.pods)
	if err != nil {
		return nil, err
	}
	used := make(map[string]replicas.Usage, len(found))
	for i := range found {
		pod := &found[i]
		usage := replicas.Usage{Time: pod.Timestamp.Time, Window: pod.Window.Duration}
		has := len(pod.Containers) > 0
		for _, c := range pod.Containers {
			q, ok := c.Usage[of.Resource]
			if of.Container == c.Name {
				usage.Milli, has = q.MilliValue(), ok
				break
			}
			usage.Milli += q.MilliValue()
			has = has && ok && of.Container == ""
		}
		if !has {
			continue
		}
		used[pod.Name] = usage
		if m.Last.IsZero() || usage.Time.Before(m.Last) {
			m.Last = usage.Time
		}
		m.Window = max(m.Window, usage.Window.Round(time.Second))
	}
	return used, nil
}

// lacking returns the first started pod without a value, and why it has none.
func (s *scaling) lacking(ctx context.Context, of replicas.ResourceMetric, used map[string]replicas.Usage) (name, why string) {
	pods := slices.SortedFunc(slices.Values(s.pods), func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	for _, pod := range pods {
		if _, ok := used[pod.Name]; ok || pod.Status.Phase == corev1.PodPending {
			continue
		}
		why := s.explainer.NoUsage(ctx, pod)
		if why == "" && of.Container != "" {
			why = fmt.Sprintf("it reports no %s of a container %s", of.Resource, of.Container)
		}
		return pod.Name, fmt.Sprintf("pod %s: %s", pod.Name, cmp.Or(why, "no value"))
	}
	return "", ""
}
