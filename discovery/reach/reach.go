package reach

import (
	"cmp"
	"slices"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/discovery/targets"
)

// Report says which monitors select a Service or a Pod, and what targets it has for them.
// The texts of a Monitor of another namespace quote that monitor; nothing else is from
// outside the namespace of the object.
type Report struct {
	// Monitors are those that select the object, rejected ones among them, ordered by
	// kind, namespace and name.
	Monitors []Monitor
	// Nearest is, when there are none, the monitor of the same namespace that comes
	// closest to selecting the object; nil when that namespace has none that is close.
	Nearest *Miss
	// Labels are the object's, if its namespace has monitors, and none of them is close.
	Labels string
	// Counted is the number of monitors that count and look into the namespace of the
	// object, whatever they select there; rejected ones too.
	Counted int
}

// Monitor is a monitor that selects an object, or the object's own annotations.
type Monitor struct {
	// Kind is as in [monitors.Status].
	Kind, Namespace, Name string
	Origin                monitors.Origin
	// Err is why it is rejected whole, as in [monitors.Status]; it has no Jobs then.
	Err error
	// Jobs are in the order of its endpoints.
	Jobs []Job
}

// Job is what one endpoint of a monitor makes of an object.
type Job struct {
	// Name is the job's; Field is the path of the endpoint in the monitor.
	Name, Field string
	// Targets is the number of targets of this object, before the monitor's own
	// relabelings. Pods that are not ready have theirs too.
	Targets int
	// Missing is the first reason why there are none: the port, the endpoints, the
	// state of the pods. It is empty when there are some.
	Missing string
}

// Explainer explains what is reached.
type Explainer struct {
	Store *objects.Store
	// Monitors are those of which targets were last computed.
	Monitors []*monitors.Monitor
	// Compiler made them.
	Compiler *monitors.Compiler
	// Annotations: the prometheus.io annotations of Services and Pods count too.
	Annotations bool
}

// object is a Service or Pod that monitors of one kind select.
type object interface {
	exists() bool
	// noun is what texts call it, and labels are what it is selected by.
	noun() string
	labels() map[string]string
	// selectedBy applies a selector, not the namespaces.
	selectedBy(s *targets.Selection) bool
	// reach counts the targets that a job has in it, and says why there are none.
	reach(s *targets.Selection) (count int, missing string)
	// annotated is what its own annotations make of it; nil without them.
	annotated() *Monitor
}

// Service reports on a Service and the ServiceMonitors, and annotations of its own, that
// select it. Objects are as they are now.
func (e *Explainer) Service(namespace, name string) Report {
	key := namespace + "/" + name
	return e.report(monitoringv1.ServiceMonitorsKind, namespace, name, &service{
		store: e.Store, service: objects.Get[corev1.Service](e.Store, key), slices: e.Store.SlicesOf(key),
	})
}

// Pod is Service for a Pod and the PodMonitors, and annotations of its own, that select
// it. through is the name of the annotated Service that it is scraped through, if any.
func (e *Explainer) Pod(namespace, name, through string) Report {
	return e.report(monitoringv1.PodMonitorsKind, namespace, name, &pod{
		store: e.Store, pod: objects.Get[corev1.Pod](e.Store, namespace+"/"+name), through: through,
	})
}

// report goes through the monitors of one kind. name is the object's.
func (e *Explainer) report(kind, namespace, name string, of object) Report {
	var (
		r     Report
		tried []*candidate
	)
	for _, m := range e.Monitors {
		if m.Status.Kind != kind {
			continue
		}
		within := m.Scope.LooksInto(namespace)
		if within {
			r.Counted++
		}
		switch {
		case !of.exists():
		case m.ScopeErr == nil && within && of.selectedBy(&m.Scope):
			r.Monitors = append(r.Monitors, selecting(m, of))
		case m.Status.Namespace == namespace:
			tried = append(tried, newCandidate(kind, m.Object, &m.Scope, m.ScopeErr, of))
		}
	}
	if !of.exists() {
		return r
	}
	if e.Annotations {
		if a := of.annotated(); a != nil {
			r.Monitors = append(r.Monitors, *a)
		}
	}
	slices.SortStableFunc(r.Monitors, func(a, b Monitor) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	if len(r.Monitors) == 0 {
		tried = append(tried, e.leftOutCandidates(kind, namespace, of)...)
		if r.Nearest = nearest(tried, of, name); r.Nearest == nil && len(tried) > 0 {
			r.Labels = labelsText(of.labels())
		}
	}
	return r
}

// selecting is the Monitor of one that selects an object.
func selecting(m *monitors.Monitor, of object) Monitor {
	s := &m.Status
	r := Monitor{Kind: s.Kind, Namespace: s.Namespace, Name: s.Name, Origin: s.Origin, Err: s.Err}
	for _, j := range m.Jobs {
		job := Job{Name: j.Name, Field: j.Field}
		job.Targets, job.Missing = of.reach(&j.Selection)
		r.Jobs = append(r.Jobs, job)
	}
	return r
}

// annotatedMonitor is the Monitor of an object's own annotations, with a job that is yet
// to be filled in; nil when they do not ask to be scraped.
func annotatedMonitor(kind, job string, m *metav1.ObjectMeta) (*Monitor, targets.Annotated) {
	what, ok, err := targets.AnnotationsOf(m)
	if !ok {
		return nil, what
	}
	r := &Monitor{Kind: kind, Namespace: m.Namespace, Name: m.Name, Origin: monitors.OriginAnnotation, Err: err}
	if err == nil {
		r.Jobs = []Job{{Name: job, Field: "metadata.annotations"}}
	}
	return r, what
}
