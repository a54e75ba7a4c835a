package monitors

import (
	"context"
	"fmt"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/objects"
)

// Ours is what promlet makes of a Cluster.
func Ours(c *Cluster) (*Result, error) {
	objects, err := fill(c)
	if err != nil {
		return nil, err
	}
	opts, err := c.Settings.options()
	if err != nil {
		return nil, err
	}
	return resultOf(discovery.New(objects, opts))
}

// resultOf reads what a Discoverer makes of its objects.
func resultOf(d *discovery.Discoverer) (*Result, error) {
	configs, groups, err := d.Resolve()
	if err != nil {
		return nil, fmt.Errorf("resolve: %w", err)
	}
	r := &Result{Rejected: map[string]string{}, Jobs: map[string]*Job{}}
	for _, m := range d.Monitors() {
		if m.Err != nil {
			r.Rejected[monitorKey(m.Kind, m.Namespace, m.Name)] = m.Err.Error()
		}
	}
	for _, cfg := range configs {
		j := newJob(cfg, groups[cfg.JobName])
		if err := clientError(cfg.HTTPClientConfig); err != nil {
			j.Settings["HTTP client"] = err.Error()
		}
		r.Jobs[cfg.JobName] = j
	}
	return r, nil
}

// options are promlet's Options that say the same as the Settings.
func (s *Settings) options() (discovery.Options, error) {
	opts := discovery.Options{FileAccess: s.FileAccess}
	for _, sel := range []struct {
		from *metav1.LabelSelector
		to   *labels.Selector
	}{
		{s.MonitorSelector, &opts.MonitorSelector},
		{s.MonitorNamespaceSelector, &opts.MonitorNamespaceSelector},
	} {
		if sel.from == nil {
			continue
		}
		selector, err := metav1.LabelSelectorAsSelector(sel.from)
		if err != nil {
			return opts, fmt.Errorf("read selector of monitors: %w", err)
		}
		*sel.to = selector
	}
	return opts, nil
}

// Compare runs both sides and tells in what they differ.
func Compare(ctx context.Context, c *Cluster) (diff []string, ours, theirs *Result, err error) {
	c = c.withoutDoubt()
	if theirs, err = Theirs(ctx, c); err != nil {
		return nil, nil, nil, fmt.Errorf("upstream: %w", err)
	}
	if ours, err = Ours(c); err != nil {
		return nil, nil, nil, fmt.Errorf("promlet: %w", err)
	}
	return Diff(ours, theirs), ours, theirs, nil
}

// fill puts the objects where a Source would.
func fill(c *Cluster) (*objects.Store, error) {
	o := objects.NewStore()
	return o, firstError(
		add(o, corev1.Resource("namespaces"), c.Namespaces),
		add(o, corev1.Resource("nodes"), c.Nodes),
		add(o, corev1.Resource("services"), c.Services),
		add(o, corev1.Resource("pods"), c.Pods),
		add(o, corev1.Resource("secrets"), c.Secrets),
		add(o, corev1.Resource("configmaps"), c.ConfigMaps),
		add(o, discoveryv1.Resource("endpointslices"), c.EndpointSlices),
		add(o, monitoringv1.Resource(monitoringv1.ServiceMonitorName), c.ServiceMonitors),
		add(o, monitoringv1.Resource(monitoringv1.PodMonitorName), c.PodMonitors),
	)
}

func add[T any](o *objects.Store, gr schema.GroupResource, objects []T) error {
	indexer, ok := o.Indexer(gr)
	if !ok {
		return fmt.Errorf("promlet does not hold %s", gr)
	}
	for _, obj := range objects {
		if err := indexer.Add(obj); err != nil {
			return fmt.Errorf("add to %s: %w", gr, err)
		}
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
