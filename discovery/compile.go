package discovery

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// undecodable is the annotation under which a Source hands on a monitor that it
// could not decode; the value says why. Such a monitor has nothing but its name.
const undecodable = "promlet.io/undecodable"

// compiled is a monitor with what has been made of it.
type compiled struct {
	status MonitorStatus // without Targets
	object metav1.Object // the monitor it was made from
	spec   any           // its Spec, by pointer
	jobs   []*job
}

// compile makes the jobs of all monitors, those of Objects and those of Options,
// ordered by key. What was made before is kept as far as monitors are unchanged.
func (d *Discoverer) compile() []*compiled {
	var all []*compiled
	kept := map[string]*compiled{}
	seen := map[string]bool{} // kind and name, whatever the origin
	add := func(origin Origin, kind string, object metav1.Object, spec any) {
		status := MonitorStatus{Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName(), Origin: origin}
		name := kind + "/" + status.Namespace + "/" + status.Name
		if seen[name] { // only inline monitors can meet their like
			status.Err = fmt.Errorf("metadata.name: another %s has this namespace and name", kind)
			all = append(all, &compiled{status: status})
			return
		}
		seen[name] = true
		c := d.compileOne(d.compiled[status.key()], status, object, spec)
		kept[status.key()] = c
		all = append(all, c)
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
	d.compiled = kept
	return all
}

// compileOne returns before, unless the monitor has changed since.
func (d *Discoverer) compileOne(before *compiled, status MonitorStatus, object metav1.Object, spec any) *compiled {
	reason := object.GetAnnotations()[undecodable]
	if before != nil && before.object == object {
		return before
	}
	// The operator and others write a monitor's status and annotations.
	if before != nil && reason == before.object.GetAnnotations()[undecodable] &&
		equality.Semantic.DeepEqual(before.spec, spec) {
		c := *before
		c.object, c.spec = object, spec
		return &c
	}
	c := &compiled{status: status, object: object, spec: spec}
	switch m := object.(type) {
	case *monitoringv1.ServiceMonitor:
		c.jobs, c.status.Unsupported, c.status.Err = serviceMonitorJobs(m, d.defaults)
	case *monitoringv1.PodMonitor:
		c.jobs, c.status.Unsupported, c.status.Err = podMonitorJobs(m, d.defaults)
	}
	if reason != "" {
		c.jobs, c.status.Err = nil, errors.New(reason)
	}
	if object.GetName() == "" {
		c.jobs, c.status.Err = nil, errors.New("metadata.name: empty")
	}
	for i, j := range c.jobs {
		if before != nil {
			c.jobs[i] = adopt(before.jobs, j)
		}
		c.status.Jobs = append(c.status.Jobs, j.name)
	}
	return c
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
