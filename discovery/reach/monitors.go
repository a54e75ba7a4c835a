package reach

import (
	"cmp"
	"fmt"
	"slices"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/discovery/objects"
)

// maxObjects is the maximum number of objects that NoTargets compares with a monitor.
const maxObjects = 1000

// NoTargets returns why a monitor has no targets. If it selects a Service or Pod, the text says
// what that object lacks. Otherwise the text names the object that is closest to being selected.
// The text is empty if the monitor is unknown or rejected. It may name objects of all namespaces
// that the monitor looks into.
func (e *Explainer) NoTargets(kind, namespace, name string) string {
	for _, m := range e.Monitors {
		if s := &m.Status; s.Kind == kind && s.Namespace == namespace && s.Name == name && s.Err == nil && m.ScopeErr == nil {
			return e.noTargets(m)
		}
	}
	return ""
}

// named is an object with its namespace and name.
type named struct {
	object

	namespace, name string
}

func (e *Explainer) noTargets(m *monitors.Monitor) string {
	all, noun := e.objectsOf(m)
	var tried []*candidate
	reasons := map[string]object{}
	for _, of := range all {
		place := of.name
		if of.namespace != m.Status.Namespace {
			place = of.namespace + "/" + of.name
		}
		if !of.selectedBy(&m.Scope) {
			c := newCandidate(m.Status.Kind, m.Object, &m.Scope, nil, of)
			c.name, c.named = place, nil // the namespace needs no check: the monitor looks into it
			tried, reasons[place] = append(tried, c), of
			continue
		}
		for _, job := range selecting(m, of).Jobs {
			if job.Missing != "" {
				return fmt.Sprintf("it selects %s %s: %s", noun, place, job.Missing)
			}
		}
		return fmt.Sprintf("it selects %s %s, but its relabelings drop all targets", noun, place)
	}
	within := "in no namespace"
	switch namespaces := m.Scope.Namespaces; {
	case namespaces == nil:
		within = "in any namespace"
	case len(namespaces) == 1:
		within = "in namespace " + namespaces[0]
	case len(namespaces) > 1:
		within = "in the namespaces " + enumerate(namespaces)
	}
	closest := closestCandidate(tried, func(c *candidate) map[string]string { return reasons[c.name].labels() })
	if closest == nil {
		only := ""
		if slices.Equal(m.Scope.Namespaces, []string{m.Status.Namespace}) {
			only = ", and the monitor looks into no other: its namespaceSelector can name more"
		}
		return fmt.Sprintf("there is no %s %s%s", noun, within, only)
	}
	return fmt.Sprintf("it selects no %s %s; the closest is %s: %s", noun, within, closest.name, closest.reason(reasons[closest.name]))
}

// closestCandidate returns the candidate with the fewest differences. Among several it returns
// the one with the closest labels. labelsOf returns the labels of a candidate's object.
func closestCandidate(all []*candidate, labelsOf func(*candidate) map[string]string) *candidate {
	if len(all) == 0 {
		return nil
	}
	least := slices.MinFunc(all, func(a, b *candidate) int { return cmp.Compare(a.differences(), b.differences()) }).differences()
	all = slices.DeleteFunc(slices.Clone(all), func(c *candidate) bool { return c.differences() > least })
	return slices.MinFunc(all[:min(len(all), maxMeasured)], func(a, b *candidate) int {
		return cmp.Compare(a.distance(labelsOf(a)), b.distance(labelsOf(b)))
	})
}

// objectsOf returns the Services or Pods in the namespaces that a monitor looks into, sorted by
// namespace and name. noun is "Service" or "Pod".
func (e *Explainer) objectsOf(m *monitors.Monitor) (all []named, noun string) {
	noun = "Service"
	if m.Status.Kind == monitoringv1.PodMonitorsKind {
		noun = "Pod"
		for _, p := range objects.List[corev1.Pod](e.Store, m.Scope.Namespaces) {
			all = append(all, named{&pod{store: e.Store, pod: p}, p.Namespace, p.Name})
		}
	} else {
		for _, s := range objects.List[corev1.Service](e.Store, m.Scope.Namespaces) {
			slices := e.Store.SlicesOf(s.Namespace + "/" + s.Name)
			all = append(all, named{&service{store: e.Store, service: s, slices: slices}, s.Namespace, s.Name})
		}
	}
	slices.SortFunc(all, func(a, b named) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
	})
	return all[:min(len(all), maxObjects)], noun
}
