package explain

import (
	"slices"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apilabels "k8s.io/apimachinery/pkg/labels"

	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
)

// object reports whether the object exists, and finds the pods behind it.
func (c *chain) object() bool {
	k, namespace := c.req.Kind, c.req.Namespace
	reader := c.x.values.Objects
	in := values.InNamespace(namespace)
	missing, err := reader.Missing(k, namespace, c.name)
	if err != nil {
		return c.broken(LinkObject, "%v", err)
	}
	if missing {
		others, _ := reader.Names(k, namespace, apilabels.Everything()) // only for the closest
		return c.broken(LinkObject, "there is no %s %s%s%s", k.Singular, c.name, in, closestOf(others, c.name))
	}
	if k.IsPod() {
		c.pods = []string{c.name}
	} else if k.Namespaced {
		if c.pods, err = reader.Pods(k, namespace, c.name); err != nil {
			return c.broken(LinkObject, "%v", err)
		}
	}
	switch {
	case k.IsService() && len(c.pods) > 0:
		c.ok(LinkObject, "%s %s has the pods %s", k.Singular, c.name, listed(c.pods))
	case reader.Watched(k):
		c.ok(LinkObject, "%s %s exists", k.Singular, c.name)
	case len(c.pods) > 0:
		c.ok(LinkObject, "%s %s owns the pods %s", k.Singular, c.name, listed(c.pods))
	default:
		owners, _ := reader.Names(k, namespace, apilabels.Everything()) // only for the closest
		c.note(LinkObject, "no pod%s is owned by a %s %s%s", in, k.Singular, c.name, closestOf(owners, c.name))
	}
	return true
}

// autoscalers notes who scales on the metric.
func (c *chain) autoscalers() {
	reader, hpaResource := c.x.values.Objects, autoscalingv2.Resource("horizontalpodautoscalers")
	if c.req.Namespace == "" || !reader.Watched(objects.Kind{GroupResource: hpaResource}) {
		return
	}
	hpas, _ := reader.Autoscalers(c.req.Namespace) // a cache has no errors
	var names []string
	for _, hpa := range hpas {
		if c.isRead(hpa) {
			names = append(names, hpa.Name)
		}
	}
	if len(names) == 0 && slices.ContainsFunc(c.refused(), func(attempt string) bool { return strings.HasSuffix(attempt, " "+hpaResource.Resource) }) {
		c.note(LinkAutoscaler, "unknown: promlet may not list HorizontalPodAutoscalers")
		return
	}
	if len(names) == 0 {
		c.note(LinkAutoscaler, "no HorizontalPodAutoscaler%s scales on it", values.InNamespace(c.req.Namespace))
		return
	}
	c.ok(LinkAutoscaler, "HorizontalPodAutoscaler %s %s on it", listed(names), plural(len(names), "scales", "scale"))
}

// isRead reports whether an HPA reads the metric of the object.
func (c *chain) isRead(hpa *autoscalingv2.HorizontalPodAutoscaler) bool {
	k, external, metric := c.req.Kind, c.req.Metric.API == rules.ExternalAPI, c.req.Metric.Name
	return slices.ContainsFunc(hpa.Spec.Metrics, func(m autoscalingv2.MetricSpec) bool {
		switch {
		case m.External != nil:
			return external && metric == m.External.Metric.Name
		case m.Object != nil:
			of := m.Object.DescribedObject
			return !external && metric == m.Object.Metric.Name && of.Kind == k.GVK.Kind && of.Name == c.name
		case m.Pods != nil:
			target := hpa.Spec.ScaleTargetRef
			return !external && metric == m.Pods.Metric.Name &&
				(k.IsPod() || target.Kind == k.GVK.Kind && target.Name == c.name)
		}
		return false
	})
}

func plural(n int, one, several string) string {
	if n == 1 {
		return one
	}
	return several
}
