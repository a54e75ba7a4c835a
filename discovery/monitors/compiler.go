package monitors

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/discovery/targets"
)

// Options are the settings of a Compiler.
type Options struct {
	// Interval and Timeout are for monitors that give none. The timeout is at most the
	// interval.
	Interval, Timeout time.Duration
	// Selector and NamespaceSelector choose monitors of the Store by their labels and by
	// those of their namespace. nil chooses all.
	Selector, NamespaceSelector labels.Selector
	// FileAccess allows monitors to name files of promlet's own.
	FileAccess bool
	// Enforcement is of the label namespace.
	Enforcement Enforcement
	// IgnoreNamespaceSelectors makes monitors select objects of their own namespace only.
	IgnoreNamespaceSelectors bool
	// Shard is the part of the targets that jobs scrape. The zero value is all of them.
	Shard Shard
}

// Compiler makes Monitors of the monitors in a Store and of inline ones.
type Compiler struct {
	store   *objects.Store
	options Options

	serviceMonitors []*monitoringv1.ServiceMonitor // inline
	podMonitors     []*monitoringv1.PodMonitor
}

// NewCompiler returns a Compiler without inline monitors.
func NewCompiler(store *objects.Store, opts Options) *Compiler {
	return &Compiler{store: store, options: opts}
}

// Monitor is a ServiceMonitor or PodMonitor with what has been made of it.
type Monitor struct {
	Status Status        // without Targets
	Object metav1.Object // what it was made of
	// Scope says which objects it selects, endpoints aside. ScopeErr is why only the
	// namespaces of it are known.
	Scope    targets.Selection
	ScopeErr error
	Jobs     []*Job
	// Pending: some of what it refers to has not been read yet. The rest is as it was
	// before.
	Pending bool

	spec any // the object's Spec, by pointer; nil for a duplicate
	seen map[objects.Reference]any
}

// Compile makes the jobs of all monitors that count, ordered by key. before is what it
// returned the last time.
func (c *Compiler) Compile(before []*Monitor) []*Monitor {
	byKey := map[string]*Monitor{}
	for _, m := range before {
		if m.spec != nil {
			byKey[m.Status.Key()] = m
		}
	}
	var all []*Monitor
	seen := map[string]bool{} // kind and name, whatever the origin
	add := func(origin Origin, kind string, object metav1.Object, spec any) {
		if origin == OriginCluster && c.LeftOut(object) != "" {
			return
		}
		status := Status{Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName(), Origin: origin, UID: object.GetUID()}
		name := kind + "/" + status.Namespace + "/" + status.Name
		if seen[name] { // this one is inline
			status.duplicate = true
			status.Err = fmt.Errorf("metadata.name: another %s has this namespace and name", kind)
			m := &Monitor{Status: status, Object: object}
			m.Scope, m.ScopeErr = c.ScopeOf(object)
			all = append(all, m)
			return
		}
		seen[name] = true
		all = append(all, c.compile(byKey[status.Key()], status, object, spec))
	}
	for _, m := range objects.List[monitoringv1.ServiceMonitor](c.store, nil) {
		add(OriginCluster, monitoringv1.ServiceMonitorsKind, m, &m.Spec)
	}
	for _, m := range objects.List[monitoringv1.PodMonitor](c.store, nil) {
		add(OriginCluster, monitoringv1.PodMonitorsKind, m, &m.Spec)
	}
	for _, m := range c.serviceMonitors {
		add(OriginInline, monitoringv1.ServiceMonitorsKind, m, &m.Spec)
	}
	for _, m := range c.podMonitors {
		add(OriginInline, monitoringv1.PodMonitorsKind, m, &m.Spec)
	}
	slices.SortStableFunc(all, func(a, b *Monitor) int { return cmp.Compare(a.Status.Key(), b.Status.Key()) })
	return all
}

// LeftOut says why a monitor of the Store is not among those chosen; it is empty for one
// that is.
func (c *Compiler) LeftOut(m metav1.Object) string {
	if s := c.options.Selector; s != nil && !s.Matches(labels.Set(m.GetLabels())) {
		return fmt.Sprintf("it is not among those that --monitor-selector=%s chooses", s)
	}
	s := c.options.NamespaceSelector
	if s == nil {
		return ""
	}
	var set labels.Set
	if ns := objects.Get[corev1.Namespace](c.store, m.GetNamespace()); ns != nil {
		set = ns.Labels
	}
	if s.Matches(set) {
		return ""
	}
	return fmt.Sprintf("its namespace is not among those that --monitor-namespace-selector=%s chooses", s)
}

// compile returns before, unless the monitor or what it refers to has changed since.
func (c *Compiler) compile(before *Monitor, status Status, object metav1.Object, spec any) *Monitor {
	reason := object.GetAnnotations()[objects.UndecodableAnnotation]
	if before != nil && unchanged(c.store, before.seen) {
		if before.Object == object {
			return before
		}
		// The operator and others write a monitor's status and annotations.
		if reason == before.Object.GetAnnotations()[objects.UndecodableAnnotation] && equality.Semantic.DeepEqual(before.spec, spec) {
			m := *before
			m.Object, m.spec, m.Status.UID = object, spec, status.UID
			return &m
		}
	}
	refs := &secrets{store: c.store, namespace: object.GetNamespace(), files: c.options.FileAccess, seen: map[objects.Reference]any{}}
	m := &Monitor{Status: status, Object: object, spec: spec, seen: refs.seen}
	m.Scope, m.ScopeErr = c.ScopeOf(object)
	m.Status.Err = m.ScopeErr
	if m.ScopeErr == nil {
		m.Jobs, m.Status.Unsupported, m.Status.Err = c.jobs(object, m.Scope, refs)
	}
	if object.GetName() == "" {
		m.Jobs, m.Status.Err = nil, errors.New("metadata.name: empty")
	}
	if refs.pending != nil {
		// It will be known in a moment. Until then all stays as it was before.
		m.Pending, m.Jobs, m.Status.Err = true, nil, refs.pending
		if before != nil && before.Status.Err == nil {
			m.Scope, m.Jobs, m.Status = before.Scope, before.Jobs, before.Status
		}
		return m
	}
	if m.Status.Err == nil {
		m.Status.Adjusted = raisedIntervals(object)
	}
	for i, j := range m.Jobs {
		if before != nil {
			m.Jobs[i] = adopt(before.Jobs, j)
		}
		m.Status.Jobs = append(m.Status.Jobs, j.Name)
	}
	return m
}

// ScopeOf returns which objects a monitor selects, the same for all of its endpoints. On
// error only the namespaces are known.
func (c *Compiler) ScopeOf(monitor metav1.Object) (s targets.Selection, err error) {
	switch m := monitor.(type) {
	case *monitoringv1.ServiceMonitor:
		s.Namespaces = c.namespacesOf(m.Spec.NamespaceSelector, m.Namespace)
		s.Objects, err = targets.NewSelector(&m.Spec.Selector, m.Spec.SelectorMechanism)
	case *monitoringv1.PodMonitor:
		s.ByPod = true
		s.Namespaces = c.namespacesOf(m.Spec.NamespaceSelector, m.Namespace)
		s.Objects, err = targets.NewSelector(&m.Spec.Selector, m.Spec.SelectorMechanism)
	}
	if reason := monitor.GetAnnotations()[objects.UndecodableAnnotation]; reason != "" {
		err = errors.New(reason)
	}
	return s, err
}

// namespacesOf returns the namespaces to look in; nil means all, as does an empty name
// among the names.
func (c *Compiler) namespacesOf(sel monitoringv1.NamespaceSelector, own string) []string {
	switch {
	case c.options.IgnoreNamespaceSelectors:
	case sel.Any, slices.Contains(sel.MatchNames, ""):
		return nil
	case len(sel.MatchNames) > 0:
		return slices.Compact(slices.Sorted(slices.Values(sel.MatchNames)))
	}
	return []string{own}
}

// ReferencesOf returns all that monitors refer to.
func ReferencesOf(all []*Monitor) map[objects.Reference]bool {
	refs := map[objects.Reference]bool{}
	for _, m := range all {
		for ref := range m.seen {
			refs[ref] = true
		}
	}
	return refs
}

// adopt returns the old job if the new one is equal to it, or the new one with the
// old configuration if that is equal.
func adopt(old []*Job, fresh *Job) *Job {
	for _, o := range old {
		switch {
		case o.Name != fresh.Name:
		case reflect.DeepEqual(o, fresh):
			return o
		case reflect.DeepEqual(o.Config, fresh.Config):
			fresh.Config = o.Config
		}
	}
	return fresh
}
