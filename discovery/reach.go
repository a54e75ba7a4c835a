package discovery

import (
	"cmp"
	"slices"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reach tells which monitors select a Service or a Pod, and what becomes of it there.
// Its texts are for people, in one line. Those of a Reacher of another namespace quote
// that monitor; all others tell of nothing outside the namespace of the object.
type Reach struct {
	// Monitors are those that select the object, rejected ones among them, ordered by
	// kind, namespace and name.
	Monitors []Reacher
	// Nearest is, when there are none, the monitor of the same namespace that comes
	// closest to selecting the object; nil when that namespace has none.
	Nearest *Miss
	// Counted is the number of monitors that count and look into the namespace of the
	// object, whatever they select there; rejected ones too.
	Counted int
}

// Reacher is a monitor that selects an object, or the object's own annotations.
type Reacher struct {
	// Kind is as in [MonitorStatus].
	Kind, Namespace, Name string
	Origin                Origin
	// Err is why it is rejected whole, as in [MonitorStatus]; it has no Jobs then.
	Err error
	// Jobs are in the order of its endpoints.
	Jobs []ReachedJob
}

// ReachedJob tells what one endpoint of a monitor makes of an object.
type ReachedJob struct {
	// Name is the job's; Field is the path of the endpoint in the monitor.
	Name, Field string
	// Targets are those of this object, before the monitor's own relabelings. Pods
	// that are not ready have theirs too.
	Targets int
	// Missing is why there are none, the first link that is broken: the port, the
	// endpoints, the state of the pods. It is empty when there are some.
	Missing string
}

// reachable is an object that monitors of one kind select.
type reachable interface {
	// exists tells whether there is such an object.
	exists() bool
	// noun is what texts call it, and labels are what it is selected by.
	noun() string
	labels() map[string]string
	// selectedBy applies a selector, not the namespaces.
	selectedBy(s *selection) bool
	// reach counts the targets that a job has in it, and tells why there are none.
	reach(s *selection) (targets int, missing string)
	// annotated is what its own annotations make of it; nil when they ask for nothing.
	annotated() *Reacher
}

// ReachService tells which ServiceMonitors, and annotations of its own, select a
// Service, and what becomes of each of their endpoints. It goes by the objects as they
// are and by the monitors as they were when targets were last computed; before that,
// and of a Service that there is not, it knows nothing.
func (d *Discoverer) ReachService(namespace, name string) Reach {
	key := namespace + "/" + name
	monitors, annotations, _ := d.monitors("")
	d.objects.batch.RLock()
	defer d.objects.batch.RUnlock()
	return d.reach(monitors, monitoringv1.ServiceMonitorsKind, namespace, annotations, &reachedService{
		objects: d.objects,
		service: get[corev1.Service](d.objects.services, key),
		slices:  byIndex[discoveryv1.EndpointSlice](d.objects.slices, serviceIndex, key),
	})
}

// ReachPod is ReachService for the PodMonitors, and annotations of its own, that select
// a Pod.
func (d *Discoverer) ReachPod(namespace, name string) Reach {
	key := namespace + "/" + name
	monitors, annotations, through := d.monitors(key)
	d.objects.batch.RLock()
	defer d.objects.batch.RUnlock()
	return d.reach(monitors, monitoringv1.PodMonitorsKind, namespace, annotations, &reachedPod{
		objects: d.objects, pod: get[corev1.Pod](d.objects.pods, key), through: through,
	})
}

// monitors returns the monitors of which targets were last computed, whether
// annotations count besides, and the name of the annotated Service that a pod is
// scraped through, if any.
func (d *Discoverer) monitors(pod string) (monitors []*compiled, annotations bool, through string) {
	d.mtx.Lock()
	defer d.mtx.Unlock()
	if d.state == nil {
		return nil, false, ""
	}
	if d.state.annotated != nil {
		through = d.state.annotated.coveredBy(pod)
	}
	return d.state.compiled, d.state.annotated != nil, through // what compile made never changes
}

// reach goes through the monitors of one kind.
func (d *Discoverer) reach(monitors []*compiled, kind, namespace string, annotations bool, of reachable) Reach {
	var (
		r     Reach
		tried []*candidate
	)
	for _, c := range monitors {
		if c.status.Kind != kind {
			continue
		}
		within := c.scope.looksInto(namespace)
		if within {
			r.Counted++
		}
		switch {
		case !of.exists():
		case c.scopeErr == nil && within && of.selectedBy(&c.scope):
			r.Monitors = append(r.Monitors, c.reacher(of))
		case c.status.Namespace == namespace:
			tried = append(tried, newCandidate(kind, c.object, &c.scope, c.scopeErr, of))
		}
	}
	if !of.exists() {
		return r
	}
	if annotations {
		if a := of.annotated(); a != nil {
			r.Monitors = append(r.Monitors, *a)
		}
	}
	slices.SortStableFunc(r.Monitors, func(a, b Reacher) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	if len(r.Monitors) == 0 {
		r.Nearest = nearest(append(tried, d.leftOutCandidates(kind, namespace, of)...), of)
	}
	return r
}

// reacher tells what a monitor that selects an object makes of it.
func (c *compiled) reacher(of reachable) Reacher {
	r := Reacher{Kind: c.status.Kind, Namespace: c.status.Namespace, Name: c.status.Name, Origin: c.status.Origin, Err: c.status.Err}
	for i, j := range c.jobs {
		job := ReachedJob{Name: j.name, Field: endpointField(j.sel.byPod, i)}
		job.Targets, job.Missing = of.reach(&j.sel)
		r.Jobs = append(r.Jobs, job)
	}
	return r
}

// looksInto tells whether objects of a namespace may be selected.
func (s *selection) looksInto(namespace string) bool {
	return s.namespaces == nil || slices.Contains(s.namespaces, namespace)
}

// annotatedReacher is what an annotated object's reach begins with; ok is false when its
// annotations ask for nothing.
func annotatedReacher(kind, job string, m *metav1.ObjectMeta) (r *Reacher, what annotated, ok bool) {
	what, ok, err := annotationsOf(m)
	if !ok {
		return nil, what, false
	}
	r = &Reacher{Kind: kind, Namespace: m.Namespace, Name: m.Name, Origin: OriginAnnotation, Err: err}
	if err == nil {
		r.Jobs = []ReachedJob{{Name: job, Field: "metadata.annotations"}}
	}
	return r, what, true
}
