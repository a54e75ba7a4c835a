package monitors

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/discovery/objects"
)

// Ours is what promlet makes of a Cluster.
func Ours(c *Cluster) (*Result, error) {
	store, err := fill(c)
	if err != nil {
		return nil, err
	}
	opts, err := c.Settings.options()
	if err != nil {
		return nil, err
	}
	return resultOf(discovery.New(store, opts))
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
	opts := discovery.Options{
		FileAccess: s.FileAccess, IgnoreNamespaceSelectors: s.IgnoreNamespaceSelectors,
		Enforcement: monitors.Enforcement{Enabled: s.EnforceNamespaceLabel, Exempt: s.ExemptNamespaces},
		Shard:       monitors.Shard{Index: int(s.Shard), Count: int(s.Shards)},
	}
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
	if theirs, err = Theirs(ctx, c.withRaisedIntervals()); err != nil {
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
	for _, k := range c.kinds() {
		indexer, ok := o.Indexer(k.resource)
		if !ok {
			return nil, fmt.Errorf("promlet does not hold %s", k.resource)
		}
		for _, obj := range k.all() {
			if err := indexer.Add(obj); err != nil {
				return nil, fmt.Errorf("add to %s: %w", k.resource, err)
			}
		}
	}
	return o, nil
}
