package discovery

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// undecodable is the annotation under which a Source hands on a monitor that it
// could not decode; the value says why. Such a monitor has nothing but its name.
const undecodable = "promlet.io/undecodable"

// compiled is a monitor with what has been made of it.
type compiled struct {
	status MonitorStatus // without Targets
	object metav1.Object // the monitor it was made from
	spec   any           // its Spec, by pointer
	scope  selection     // what it selects, endpoints aside
	jobs   []*job
	seen   map[reference]any // what it refers to, as it was

	scopeErr error // why scope is not known, save for the namespaces
	pending  bool  // some of what it refers to is not known yet
}

// compile makes the jobs of all monitors that count, those of Objects and those of
// Options, ordered by key. What was made before is kept as far as monitors, and what
// they refer to, are unchanged.
func (d *Discoverer) compile(before map[string]*compiled) []*compiled {
	var all []*compiled
	seen := map[string]bool{} // kind and name, whatever the origin
	add := func(origin Origin, kind string, object metav1.Object, spec any) {
		if origin == OriginCluster && d.leftOut(object) != "" {
			return
		}
		status := MonitorStatus{Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName(), Origin: origin, uid: object.GetUID()}
		name := kind + "/" + status.Namespace + "/" + status.Name
		if seen[name] { // only inline monitors can meet their like
			status.double = true
			status.Err = fmt.Errorf("metadata.name: another %s has this namespace and name", kind)
			c := &compiled{status: status, object: object}
			c.scope, c.scopeErr = scopeOf(object)
			all = append(all, c)
			return
		}
		seen[name] = true
		all = append(all, d.compileOne(before[status.key()], status, object, spec))
	}
	for _, m := range inNamespaces[monitoringv1.ServiceMonitor](d.objects.serviceMonitors, nil) {
		add(OriginCluster, monitoringv1.ServiceMonitorsKind, m, &m.Spec)
	}
	for _, m := range inNamespaces[monitoringv1.PodMonitor](d.objects.podMonitors, nil) {
		add(OriginCluster, monitoringv1.PodMonitorsKind, m, &m.Spec)
	}
	for _, m := range d.options.ServiceMonitors {
		add(OriginInline, monitoringv1.ServiceMonitorsKind, m, &m.Spec)
	}
	for _, m := range d.options.PodMonitors {
		add(OriginInline, monitoringv1.PodMonitorsKind, m, &m.Spec)
	}
	slices.SortStableFunc(all, func(a, b *compiled) int { return cmp.Compare(a.status.key(), b.status.key()) })
	return all
}

// leftOut tells why a monitor of the Source is not among those selected; it is empty
// for one that is.
func (d *Discoverer) leftOut(m metav1.Object) string {
	if s := d.options.MonitorSelector; s != nil && !s.Matches(labels.Set(m.GetLabels())) {
		return fmt.Sprintf("it is not among those that --monitor-selector=%s chooses", s)
	}
	s := d.options.MonitorNamespaceSelector
	if s == nil {
		return ""
	}
	var set labels.Set
	if ns := get[corev1.Namespace](d.objects.namespaces, m.GetNamespace()); ns != nil {
		set = ns.Labels
	}
	if s.Matches(set) {
		return ""
	}
	return fmt.Sprintf("its namespace is not among those that --monitor-namespace-selector=%s chooses", s)
}

// compileOne returns before, unless the monitor or what it refers to has changed
// since.
func (d *Discoverer) compileOne(before *compiled, status MonitorStatus, object metav1.Object, spec any) *compiled {
	reason := object.GetAnnotations()[undecodable]
	if before != nil && d.objects.fresh(before.seen) {
		if before.object == object {
			return before
		}
		// The operator and others write a monitor's status and annotations.
		if reason == before.object.GetAnnotations()[undecodable] && equality.Semantic.DeepEqual(before.spec, spec) {
			c := *before
			c.object, c.spec, c.status.uid = object, spec, status.uid
			return &c
		}
	}
	a := &assets{objects: d.objects, namespace: object.GetNamespace(), files: d.options.FileAccess, seen: map[reference]any{}}
	c := &compiled{status: status, object: object, spec: spec, seen: a.seen}
	c.scope, c.scopeErr = scopeOf(object)
	c.status.Err = c.scopeErr
	if c.scopeErr == nil {
		switch m := object.(type) {
		case *monitoringv1.ServiceMonitor:
			c.jobs, c.status.Unsupported, c.status.Err = serviceMonitorJobs(m, c.scope, d.defaults, a)
		case *monitoringv1.PodMonitor:
			c.jobs, c.status.Unsupported, c.status.Err = podMonitorJobs(m, c.scope, d.defaults, a)
		}
	}
	if object.GetName() == "" {
		c.jobs, c.status.Err = nil, errors.New("metadata.name: empty")
	}
	if a.pending != nil {
		// It will be known in a moment. Until then all goes on as before.
		c.pending, c.jobs, c.status.Err = true, nil, a.pending
		if before != nil && before.status.Err == nil {
			c.scope, c.jobs, c.status = before.scope, before.jobs, before.status
		}
		return c
	}
	for i, j := range c.jobs {
		if before != nil {
			c.jobs[i] = adopt(before.jobs, j)
		}
		c.status.Jobs = append(c.status.Jobs, j.name)
	}
	return c
}

// scopeOf says which objects a monitor is about, the same for all of its endpoints. On
// error only the namespaces are known.
func scopeOf(monitor metav1.Object) (s selection, err error) {
	switch m := monitor.(type) {
	case *monitoringv1.ServiceMonitor:
		s.namespaces = monitorNamespaces(m.Spec.NamespaceSelector, m.Namespace)
		s.objects, err = newObjectSelector(&m.Spec.Selector, m.Spec.SelectorMechanism)
	case *monitoringv1.PodMonitor:
		s.byPod = true
		s.namespaces = monitorNamespaces(m.Spec.NamespaceSelector, m.Namespace)
		s.objects, err = newObjectSelector(&m.Spec.Selector, m.Spec.SelectorMechanism)
	}
	if reason := monitor.GetAnnotations()[undecodable]; reason != "" {
		err = errors.New(reason)
	}
	return s, err
}

// referred lists all that monitors refer to.
func referred(all []*compiled) map[reference]bool {
	refs := map[reference]bool{}
	for _, c := range all {
		for ref := range c.seen {
			refs[ref] = true
		}
	}
	return refs
}

// adopt returns the old job if the new one is equal to it, or the new one with the
// old configuration if that is equal.
func adopt(old []*job, fresh *job) *job {
	for _, o := range old {
		switch {
		case o.name != fresh.name:
		case reflect.DeepEqual(o, fresh):
			return o
		case reflect.DeepEqual(o.config, fresh.config):
			fresh.config = o.config
		}
	}
	return fresh
}

func inlineServiceMonitors(monitors []*monitoringv1.ServiceMonitor) []*monitoringv1.ServiceMonitor {
	return inline(monitors,
		func(m *monitoringv1.ServiceMonitor) *metav1.ObjectMeta { return &m.ObjectMeta },
		(*monitoringv1.ServiceMonitor).DeepCopy)
}

func inlinePodMonitors(monitors []*monitoringv1.PodMonitor) []*monitoringv1.PodMonitor {
	return inline(monitors,
		func(m *monitoringv1.PodMonitor) *metav1.ObjectMeta { return &m.ObjectMeta },
		(*monitoringv1.PodMonitor).DeepCopy)
}

// inline copies the inline monitors, so that their namespace can be set and nobody
// changes them later.
func inline[T any](monitors []*T, meta func(*T) *metav1.ObjectMeta, clone func(*T) *T) []*T {
	var out []*T
	for _, m := range monitors {
		if m == nil {
			continue
		}
		m = clone(m)
		if meta(m).Namespace == "" {
			meta(m).Namespace = metav1.NamespaceDefault
		}
		out = append(out, m)
	}
	return out
}
