package explain

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
)

// AtZeroAdvice says what to do if a workload without pods is to scale on a metric of its own pods.
const AtZeroAdvice = "a metric of its own pods cannot scale it up: also scale on an Object or External metric, such as the length of a queue"

// autoscalers adds the step about the HPAs that scale on the metric.
func (c *chain) autoscalers() {
	reader, resource := c.x.values.Objects, autoscalingv2.Resource("horizontalpodautoscalers")
	if c.req.Namespace == "" || !reader.Watched(objects.Kind{GroupResource: resource}) {
		return
	}
	hpas, _ := reader.Autoscalers(c.req.Namespace) // a cache has no errors
	var names, others []string
	for _, hpa := range hpas {
		switch of := c.metricsOf(hpa); {
		case len(of) == 0:
		case slices.ContainsFunc(of, c.hasSelector):
			names = append(names, hpa.Name)
			c.readers = append(c.readers, hpa)
		default:
			others = append(others, withSelector(hpa.Name, of[0].Selector))
		}
	}
	switch {
	case len(names) > 0:
		c.ok(LinkAutoscaler, "HorizontalPodAutoscaler %s %s on it", listed(names), plural(len(names), "scales", "scale"))
	case slices.ContainsFunc(c.forbiddenAttempts(), func(attempt string) bool { return strings.HasSuffix(attempt, " "+resource.Resource) }):
		c.note(LinkAutoscaler, "unknown: promlet may not list HorizontalPodAutoscalers")
	case len(others) > 0:
		c.note(LinkAutoscaler, "no HorizontalPodAutoscaler%s scales on it with this metric selector; HorizontalPodAutoscaler %s", values.InNamespace(c.req.Namespace), strings.Join(others[:min(len(others), maxOthers)], ", and HorizontalPodAutoscaler "))
	default:
		c.note(LinkAutoscaler, "no HorizontalPodAutoscaler%s scales on it", values.InNamespace(c.req.Namespace))
	}
}

// maxOthers is the maximum number of HPAs with another metric selector that a step names.
const maxOthers = 5

// withSelector says by which metric selector an HPA scales.
func withSelector(hpa string, selector *metav1.LabelSelector) string {
	if selector == nil || len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
		return hpa + " scales on it without one"
	}
	return hpa + " scales on it with " + metav1.FormatLabelSelector(selector)
}

// metricsOf returns the metrics of an HPA's spec that read the question's metric of the object, with any metric selector.
func (c *chain) metricsOf(hpa *autoscalingv2.HorizontalPodAutoscaler) (of []autoscalingv2.MetricIdentifier) {
	k, external, name := c.req.Kind, c.req.Metric.API == rules.ExternalAPI, c.req.Metric.Name
	for i := range hpa.Spec.Metrics {
		switch m := &hpa.Spec.Metrics[i]; {
		case c.ofUsage:
			if c.scalesOnUsage(hpa, m) {
				of = append(of, autoscalingv2.MetricIdentifier{})
			}
		case m.External != nil && external && m.External.Metric.Name == name:
			of = append(of, m.External.Metric)
		case m.Object != nil && !external && m.Object.Metric.Name == name:
			if as := m.Object.DescribedObject; as.Kind == k.GVK.Kind && as.Name == c.name {
				of = append(of, m.Object.Metric)
			}
		case m.Pods != nil && !external && m.Pods.Metric.Name == name:
			if target := hpa.Spec.ScaleTargetRef; k.IsPod() && c.mayOwn(&target) || target.Kind == k.GVK.Kind && target.Name == c.name {
				of = append(of, m.Pods.Metric)
			}
		}
	}
	return of
}

// mayOwn reports whether the target of an HPA owns the pod. It returns true for a kind that owns pods in a way that is not
// known, such as a Rollout.
func (c *chain) mayOwn(target *autoscalingv2.CrossVersionObjectReference) bool {
	if c.owners == nil {
		c.owners = c.x.values.Objects.Owners(c.req.Namespace, c.name)
	}
	group := schema.FromAPIVersionAndKind(target.APIVersion, target.Kind).Group
	if slices.Contains(c.owners, objects.Owner{Namespace: c.req.Namespace, Group: group, Kind: target.Kind, Name: target.Name}) {
		return true
	}
	return group != appsv1.GroupName
}

// hasSelector reports whether a metric of an HPA has the metric selector of the request.
func (c *chain) hasSelector(m autoscalingv2.MetricIdentifier) bool {
	var matchers []rules.Matcher
	if m.Selector != nil {
		selector, err := metav1.LabelSelectorAsSelector(m.Selector)
		if err != nil {
			return false
		}
		if matchers, err = rules.SelectorMatchers(selector); err != nil {
			return false
		}
	}
	return slices.Equal(sortedTexts(matchers), sortedTexts(c.req.Matchers))
}

func sortedTexts(matchers []rules.Matcher) []string {
	texts := make([]string, len(matchers))
	for i, m := range matchers {
		texts[i] = m.String()
	}
	slices.Sort(texts)
	return texts
}

// scaledToZero returns the text that an HPA which reads the metric has scaled its target to zero, "" if none has.
func (c *chain) scaledToZero() string {
	for _, hpa := range c.readers {
		if isAtZero(hpa) {
			of := hpa.Spec.ScaleTargetRef
			return fmt.Sprintf(": HorizontalPodAutoscaler %s has scaled %s/%s to zero, so %s", hpa.Name, of.Kind, of.Name, AtZeroAdvice)
		}
	}
	return ""
}

// podsScaledToZero is scaledToZero for a Pods metric if no pod exists: c.readers is not known then.
func (c *chain) podsScaledToZero() string {
	if !c.req.Kind.IsPod() {
		return ""
	}
	hpas, _ := c.x.values.Objects.Autoscalers(c.req.Namespace) // a cache has no errors
	for _, hpa := range hpas {
		if !slices.ContainsFunc(hpa.Spec.Metrics, func(m autoscalingv2.MetricSpec) bool { return m.Pods != nil && m.Pods.Metric.Name == c.req.Metric.Name }) {
			continue
		}
		if !isAtZero(hpa) {
			return "" // the selector may be for the pods of its target
		}
		c.readers = append(c.readers, hpa)
	}
	return c.scaledToZero()
}

func isAtZero(hpa *autoscalingv2.HorizontalPodAutoscaler) bool {
	least := hpa.Spec.MinReplicas
	return least != nil && *least == 0 && hpa.Status.CurrentReplicas == 0
}
