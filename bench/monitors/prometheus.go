package monitors

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"
)

// Theirs is what prometheus-operator and Prometheus make of a Cluster.
func Theirs(ctx context.Context, c *Cluster) (*Result, error) {
	o, err := c.render(ctx)
	if err != nil {
		return nil, err
	}
	p := prometheusView{cluster: c, groups: map[string][]*targetgroup.Group{}}
	r := &Result{Rejected: o.rejected, Jobs: map[string]*Job{}}
	for _, cfg := range o.configs {
		groups, err := p.discover(ctx, cfg, o.guessed[cfg.JobName])
		if err != nil {
			return nil, fmt.Errorf("job %s: %w", cfg.JobName, err)
		}
		r.Jobs[cfg.JobName] = newJob(cfg, groups)
	}
	return r, nil
}

// prometheusView is what Prometheus's service discovery makes of a Cluster.
type prometheusView struct {
	cluster *Cluster
	groups  map[string][]*targetgroup.Group // by what was asked for
}

// discover runs the service discovery of a job, unless another job had the same.
// guessed says that nobody has asked for the job's role.
func (p *prometheusView) discover(ctx context.Context, cfg *config.ScrapeConfig, guessed bool) ([]*targetgroup.Group, error) {
	if n := len(cfg.ServiceDiscoveryConfigs); n != 1 {
		return nil, fmt.Errorf("%d service discoveries", n)
	}
	sd, ok := cfg.ServiceDiscoveryConfigs[0].(*kubernetes.SDConfig)
	if !ok {
		return nil, fmt.Errorf("service discovery %T", cfg.ServiceDiscoveryConfigs[0])
	}
	key := fmt.Sprint(sd.Role, sd.NamespaceDiscovery, sd.Selectors, sd.AttachMetadata, guessed)
	if groups, ok := p.groups[key]; ok {
		return groups, nil
	}
	q, err := newQuery(sd)
	if err != nil {
		return nil, err
	}
	q.guessed = guessed
	bySource := map[string]*targetgroup.Group{}
	for _, namespace := range q.namespaces {
		found, err := p.run(ctx, q, namespace)
		if err != nil {
			return nil, err
		}
		for _, g := range found {
			bySource[g.Source] = g
		}
	}
	var groups []*targetgroup.Group
	for _, source := range sortedKeys(bySource) {
		groups = append(groups, bySource[source])
	}
	p.groups[key] = groups
	return groups, nil
}

// query is a service discovery configuration, read.
type query struct {
	role       kubernetes.Role
	namespaces []string // "" is all
	attachNode bool
	guessed    bool // see forRole
	selectors  map[kubernetes.Role]labels.Selector
}

func newQuery(sd *kubernetes.SDConfig) (*query, error) {
	q := &query{
		role: sd.Role, namespaces: sd.NamespaceDiscovery.Names, attachNode: sd.AttachMetadata.Node,
		selectors: map[kubernetes.Role]labels.Selector{},
	}
	if len(q.namespaces) == 0 {
		q.namespaces = []string{""}
	}
	rest := sd.AttachMetadata
	rest.Node = false
	if rest != (kubernetes.AttachMetadataConfig{}) || sd.NamespaceDiscovery.IncludeOwnNamespace {
		return nil, errors.New("service discovery with settings unknown here")
	}
	for _, s := range sd.Selectors {
		selector, err := labels.Parse(s.Label)
		if err != nil {
			return nil, fmt.Errorf("parse selector of role %s: %w", s.Role, err)
		}
		if s.Field != "" {
			return nil, fmt.Errorf("field selector %q", s.Field)
		}
		q.selectors[s.Role] = selector
	}
	return q, nil
}

func (q *query) selector(role kubernetes.Role) labels.Selector {
	if s, ok := q.selectors[role]; ok {
		return s
	}
	return labels.Everything()
}

// role is one of Prometheus's implementations of a role.
type role interface {
	Run(ctx context.Context, up chan<- []*targetgroup.Group)
}

// run runs the role's implementation on the objects of one namespace.
func (p *prometheusView) run(ctx context.Context, q *query, namespace string) ([]*targetgroup.Group, error) {
	main, r, err := p.role(q, namespace)
	if err != nil {
		return nil, err
	}
	var groups []*targetgroup.Group
	ctx, cancel := context.WithCancel(ctx)
	up := make(chan []*targetgroup.Group)
	var wg sync.WaitGroup
	wg.Go(func() { r.Run(ctx, up) })
	defer wg.Wait()
	defer cancel()
	for len(groups) < len(main.keys()) {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for target groups: %w", ctx.Err())
		case gs := <-up:
			groups = append(groups, gs...)
		}
	}
	return groups, nil
}

// role makes the implementation, and the informer of the objects of each of which
// there will be one group.
func (p *prometheusView) role(q *query, namespace string) (*fixedInformer, role, error) {
	c := p.cluster
	pods, err1 := inNamespace(c.Pods, namespace, q.selector(kubernetes.RolePod))
	services, err2 := inNamespace(c.Services, namespace, q.selector(kubernetes.RoleService))
	allNodes, err3 := inNamespace(c.Nodes, "", q.selector(kubernetes.RoleNode))
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, nil, err
	}
	var nodes cache.SharedInformer // nil unless nodes are attached
	if q.attachNode {
		nodes = allNodes
	}
	events := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "events_total"}, []string{"role", "event"})
	switch q.role {
	case kubernetes.RolePod:
		pods.announce = true
		return pods, kubernetes.NewPod(nil, pods, nodes, nil, nil, nil, false, false, false, events), nil
	case kubernetes.RoleEndpointSlice:
		slices, err := inNamespace(c.EndpointSlices, namespace, q.selector(kubernetes.RoleEndpointSlice))
		if err != nil {
			return nil, nil, err
		}
		if err := slices.indexer.AddIndexers(cache.Indexers{"service": sliceService}); err != nil {
			return nil, nil, fmt.Errorf("index slices: %w", err)
		}
		slices.announce = true
		return slices, kubernetes.NewEndpointSlice(nil, slices, services, pods, nodes, nil, nil, nil, false, false, false, events), nil
	case kubernetes.RoleEndpoint:
		all, err := c.endpoints(namespace, q.guessed)
		if err != nil {
			return nil, nil, err
		}
		endpoints, err := inNamespace(all, namespace, q.selector(kubernetes.RoleEndpoint))
		if err != nil {
			return nil, nil, err
		}
		endpoints.announce = true
		//nolint:staticcheck // deprecated, and a role all the same
		return endpoints, kubernetes.NewEndpoints(nil, endpoints, services, pods, nodes, nil, nil, nil, false, false, false, events), nil
	}
	return nil, nil, fmt.Errorf("role %q", q.role)
}

// sliceService is the index by which Prometheus finds the slices of a Service.
func sliceService(obj any) ([]string, error) {
	slice, ok := obj.(*discoveryv1.EndpointSlice)
	if !ok {
		return nil, fmt.Errorf("index %T", obj)
	}
	if name, ok := slice.Labels[discoveryv1.LabelServiceName]; ok {
		return []string{slice.Namespace + "/" + name}, nil
	}
	return nil, nil
}
