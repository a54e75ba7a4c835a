package discovery

import (
	"cmp"
	"maps"
	"reflect"
	"slices"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// memo is a group of targets with the objects it was made from.
type memo struct {
	inputs []any              // compared by address
	group  *targetgroup.Group // nil: no targets
}

// outcome is what a pass comes to.
type outcome struct {
	configs []*config.ScrapeConfig
	groups  map[string][]*targetgroup.Group
}

// same tells whether two passes came to the same configurations and groups, by
// address.
func (o *outcome) same(other *outcome) bool {
	return o != nil && slices.Equal(o.configs, other.configs) && maps.EqualFunc(o.groups, other.groups, slices.Equal)
}

// pass computes the targets of all jobs once.
type pass struct {
	*outcome
	objects  *Objects
	old      map[string]map[string]*memo // by job, then by the group's source
	memos    map[string]map[string]*memo
	monitors []MonitorStatus
	services map[*discoveryv1.EndpointSlice]*corev1.Service // found in this pass
}

// service finds the Service of a slice; all jobs ask for it.
func (p *pass) service(slice *discoveryv1.EndpointSlice) *corev1.Service {
	service, ok := p.services[slice]
	if !ok {
		service = p.objects.serviceOf(slice)
		p.services[slice] = service
	}
	return service
}

// group returns the group of a job and source: that of the last pass if its inputs
// are the same or it has come out equal, else a new one. nil means no targets.
func (p *pass) group(job, source string, inputs []any, build func() *targetgroup.Group) *targetgroup.Group {
	if p.memos[job] == nil {
		p.memos[job] = map[string]*memo{}
	}
	old := p.old[job][source]
	if old == nil || !slices.Equal(old.inputs, inputs) {
		m := &memo{inputs: inputs, group: build()}
		if old != nil && reflect.DeepEqual(old.group, m.group) {
			m.group = old.group
		}
		old = m
	}
	p.memos[job][source] = old
	if old.group != nil {
		p.groups[job] = append(p.groups[job], old.group)
	}
	return old.group
}

// job computes the targets of one job of a monitor and returns their number.
func (p *pass) job(j *job) int {
	p.configs = append(p.configs, j.config)
	targets := 0
	count := func(g *targetgroup.Group) {
		if g != nil {
			targets += len(g.Targets)
		}
	}
	if j.sel.byPod {
		for _, pod := range inNamespaces[corev1.Pod](p.objects.pods, j.sel.namespaces) {
			if !j.sel.objects.matches(pod.Labels) {
				continue
			}
			var node *corev1.Node
			if j.sel.attachNode {
				node = get[corev1.Node](p.objects.nodes, pod.Spec.NodeName)
			}
			count(p.group(j.name, pod.Namespace+"/"+pod.Name, []any{j, pod, node}, func() *targetgroup.Group {
				return j.sel.podGroup(pod, node)
			}))
		}
		return targets
	}
	for _, slice := range inNamespaces[discoveryv1.EndpointSlice](p.objects.slices, j.sel.namespaces) {
		in := sliceInputs{slice: slice, service: p.service(slice)}
		if !j.sel.selectsSlice(&in) {
			continue
		}
		// Prometheus looks only into the namespaces it is given.
		p.objects.readSlice(&in, j.sel.attachNode && j.sel.meta != nil, j.sel.namespaces == nil)
		count(p.group(j.name, slice.Namespace+"/"+slice.Name, in.identity(j), func() *targetgroup.Group {
			return j.sel.sliceGroup(in)
		}))
	}
	return targets
}

// annotations computes the targets of annotated services, and then of annotated
// pods that no annotated service has.
func (p *pass) annotations(services, pods *config.ScrapeConfig) {
	p.configs = append(p.configs, services, pods)
	covered := map[*corev1.Pod]bool{}
	for _, service := range inNamespaces[corev1.Service](p.objects.services, nil) {
		a, ok, err := annotationsOf(&service.ObjectMeta)
		if !ok {
			continue
		}
		status := annotatedStatus("Service", &service.ObjectMeta, jobAnnotatedServices, err)
		if err == nil {
			status.Targets = p.annotatedService(service, &a, covered)
		}
		p.monitors = append(p.monitors, status)
	}
	for _, pod := range inNamespaces[corev1.Pod](p.objects.pods, nil) {
		a, ok, err := annotationsOf(&pod.ObjectMeta)
		if !ok || covered[pod] {
			continue
		}
		status := annotatedStatus("Pod", &pod.ObjectMeta, jobAnnotatedPods, err)
		if err == nil {
			g := p.group(jobAnnotatedPods, pod.Namespace+"/"+pod.Name, []any{pod}, func() *targetgroup.Group {
				return a.podGroup(pod)
			})
			if g != nil {
				status.Targets = len(g.Targets)
			}
		}
		p.monitors = append(p.monitors, status)
	}
}

func (p *pass) annotatedService(service *corev1.Service, a *annotated, covered map[*corev1.Pod]bool) (targets int) {
	key := service.Namespace + "/" + service.Name
	for _, slice := range byIndex[discoveryv1.EndpointSlice](p.objects.slices, serviceIndex, key) {
		in := sliceInputs{slice: slice, service: service}
		p.objects.readSlice(&in, false, false)
		g := p.group(jobAnnotatedServices, slice.Namespace+"/"+slice.Name, in.identity(), func() *targetgroup.Group {
			return a.sliceGroup(in)
		})
		if g == nil {
			continue
		}
		targets += len(g.Targets)
		for _, pod := range in.pods {
			covered[pod] = true
		}
	}
	return targets
}

func annotatedStatus(kind string, m *metav1.ObjectMeta, job string, err error) MonitorStatus {
	status := MonitorStatus{Kind: kind, Namespace: m.Namespace, Name: m.Name, Origin: OriginAnnotation, Err: err}
	if err == nil {
		status.Jobs = []string{job}
	}
	return status
}

// sort puts everything in an order that does not depend on the indexers'.
func (p *pass) sort() {
	slices.SortFunc(p.configs, func(a, b *config.ScrapeConfig) int { return cmp.Compare(a.JobName, b.JobName) })
	for _, groups := range p.groups {
		slices.SortFunc(groups, func(a, b *targetgroup.Group) int { return cmp.Compare(a.Source, b.Source) })
	}
	slices.SortStableFunc(p.monitors, func(a, b MonitorStatus) int { return cmp.Compare(a.key(), b.key()) })
}
