package adapter

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	discoveryv1 "k8s.io/api/discovery/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
)

// object tells whether there is the object, and finds the pods behind it.
func (t *trail) object(name string) bool {
	k, namespace := t.req.kind, t.req.namespace
	gone, err := t.objects.missing(k, namespace, name)
	if err != nil {
		return t.broken(LinkObject, "%v", err)
	}
	if gone {
		others, _ := t.objects.names(k, namespace, apilabels.Everything()) // only for the closest
		return t.broken(LinkObject, "there is no %s %s%s%s", k.Singular, name, inNamespace(namespace), closestOf(others, name))
	}
	switch {
	case t.req.metric.api == externalAPI:
		return true
	case k.GroupResource == podResource:
		t.pods = []string{name}
	case k.Namespaced:
		if t.pods, err = t.objects.pods(k, namespace, name); err != nil {
			return t.broken(LinkObject, "%v", err)
		}
	}
	switch _, watched := t.objects.lister(k.GroupResource); {
	case k.GroupResource == serviceResource && len(t.pods) > 0:
		t.ok(LinkObject, "%s %s has the pods %s", k.Singular, name, listed(t.pods))
	case watched:
		t.ok(LinkObject, "%s %s exists", k.Singular, name)
	case len(t.pods) > 0:
		t.ok(LinkObject, "%s %s owns the pods %s", k.Singular, name, listed(t.pods))
	default:
		owners, _ := t.objects.names(k, namespace, apilabels.Everything()) // only for the closest
		t.note(LinkObject, "no pod%s is owned by a %s %s%s", inNamespace(namespace), k.Singular, name, closestOf(owners, name))
	}
	return true
}

// autoscalers tells who scales on the metric.
func (t *trail) autoscalers(name string) {
	lister, ok := t.objects.lister(autoscalingv2.Resource("horizontalpodautoscalers"))
	if !ok || t.req.namespace == "" {
		return
	}
	hpas, err := lister.ByNamespace(t.req.namespace).List(apilabels.Everything())
	if err != nil {
		return // a cache has no errors
	}
	var names []string
	for _, obj := range hpas {
		if hpa, ok := obj.(*autoscalingv2.HorizontalPodAutoscaler); ok && t.asks(hpa, name) {
			names = append(names, hpa.Name)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		t.note(LinkAutoscaler, "no HorizontalPodAutoscaler%s scales on it", inNamespace(t.req.namespace))
		return
	}
	t.ok(LinkAutoscaler, "HorizontalPodAutoscaler %s %s on it", listed(names), plural(len(names), "scales", "scale"))
}

// asks tells whether an HPA reads the metric of the object.
func (t *trail) asks(hpa *autoscalingv2.HorizontalPodAutoscaler, name string) bool {
	k := t.req.kind
	return slices.ContainsFunc(hpa.Spec.Metrics, func(m autoscalingv2.MetricSpec) bool {
		switch {
		case m.External != nil:
			return t.req.metric == metricKey{externalAPI, m.External.Metric.Name}
		case m.Object != nil:
			of := m.Object.DescribedObject
			return t.req.metric == metricKey{customAPI, m.Object.Metric.Name} && of.Kind == k.GVK.Kind && of.Name == name
		case m.Pods != nil:
			target := hpa.Spec.ScaleTargetRef
			return t.req.metric == metricKey{customAPI, m.Pods.Metric.Name} &&
				(k.GroupResource == podResource || target.Kind == k.GVK.Kind && target.Name == name)
		}
		return false
	})
}

// rule tells which rule makes the metric, and of what.
func (t *trail) rule(ctx context.Context, name string) bool {
	sources, err := t.sources(ctx)
	if err != nil {
		return t.broken(LinkRule, "%v", err)
	}
	if len(sources) == 0 {
		of := ""
		if t.req.metric.api == externalAPI {
			of = " of externalRules"
		}
		return t.broken(LinkRule, "no rule%s makes a metric called %s%s", of, t.req.metric.name, closestOf(t.metricsOf(name), t.req.metric.name))
	}
	var made []string
	for _, s := range sources {
		made = append(made, fmt.Sprintf("%s of %s", s.origin(), s.series))
	}
	t.ok(LinkRule, "made by %s", strings.Join(made[:min(len(made), 3)], ", or "))
	return true
}

// origin is where a rule comes from, for people who may have no configuration.
func (r *rule) origin() string {
	if r.byDefault() {
		return "a default rule"
	}
	return r.String()
}

// sources are the series that rules make the metric of: those that there are, or else
// those that there could be.
func (t *trail) sources(ctx context.Context) ([]candidate, error) {
	known, err := t.catalog.candidates(ctx, t.req.metric)
	if err != nil {
		return nil, err
	}
	var sources []candidate
	add := func(r *rule, series string) {
		metric, ok := r.metricName(series, t.catalog.typeOf(series))
		source := candidate{r, series}
		if ok && (metricKey{r.api, metric}) == t.req.metric && !slices.Contains(sources, source) {
			sources = append(sources, source)
		}
	}
	rules := t.catalog.currentRules()
	name := t.req.metric.name
	for _, r := range slices.Backward(rules) {
		for _, m := range r.matchers {
			if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
				add(r, m.Value)
			}
		}
	}
	for _, guess := range []string{name, name + "_total", name + "_seconds_total", "container_" + name, "container_" + name + "_total", "container_" + name + "_seconds_total"} {
		for _, r := range slices.Backward(rules) {
			add(r, guess)
		}
	}
	if len(sources) == 0 {
		return known, nil
	}
	return sources, nil
}

// metricsOf are the metrics that rules make of what the object's targets expose.
func (t *trail) metricsOf(name string) []string {
	t.findJobs(name)
	var metrics []string
	for _, e := range t.exposedBy(t.ownJobs()) {
		for _, r := range t.catalog.currentRules() {
			if metric, ok := r.metricName(e.Name, e.Type); ok && r.api == t.req.metric.api {
				metrics = append(metrics, metric)
			}
		}
	}
	return metrics
}

// readiness counts the endpoints of a Service.
func (t *trail) readiness(name string) (ready int, unready []string) {
	listed, err := t.objects.list(endpointSliceKind(), t.req.namespace, apilabels.SelectorFromSet(apilabels.Set{discoveryv1.LabelServiceName: name}))
	if err != nil {
		return 0, nil // a cache has no errors
	}
	for _, obj := range listed {
		slice, ok := obj.(*discoveryv1.EndpointSlice)
		if !ok {
			continue
		}
		for _, e := range slice.Endpoints {
			switch {
			case e.Conditions.Ready == nil || *e.Conditions.Ready:
				ready++
			case e.TargetRef != nil:
				unready = append(unready, e.TargetRef.Name)
			default:
				unready = append(unready, strings.Join(e.Addresses, ","))
			}
		}
	}
	slices.Sort(unready)
	return ready, slices.Compact(unready)
}

// closestOf names the nearest miss, if any comes near.
func closestOf(names []string, to string) string {
	if nearest := closest(names, to); nearest != "" {
		return fmt.Sprintf(" (closest: %s)", nearest)
	}
	return ""
}

// closest returns the name that differs least from one of those wanted, "" when all
// differ in more than a third.
func closest(names []string, wanted ...string) string {
	best, least := "", 0
	for _, name := range names {
		for _, want := range wanted {
			most := max(2, max(len(name), len(want))/3)
			if len(name)-len(want) > most || len(want)-len(name) > most {
				continue
			}
			d := levenshtein.ComputeDistance(name, want)
			if d <= most && (best == "" || d < least || d == least && name < best) {
				best, least = name, d
			}
		}
	}
	return best
}
