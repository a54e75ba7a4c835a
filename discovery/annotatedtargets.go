package discovery

import (
	"maps"
	"slices"

	"github.com/prometheus/prometheus/discovery/targetgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/discovery/targets"
)

// annotatedTargets are the targets of annotated Services, and of annotated Pods that are
// behind no annotated Service. All keys are "namespace/name".
type annotatedTargets struct {
	services, pods *jobTargets

	byService map[string]*annotatedServiceTargets
	ofSlice   map[string]string // the annotated Service of a slice
	byPod     map[string]monitors.Status
	covered   map[string]int // the number of slices of annotated Services a pod is in

	rejected bool // some object was rejected before or after the last update
}

// annotatedServiceTargets are the targets of one annotated Service.
type annotatedServiceTargets struct {
	status monitors.Status
	slices objects.Keys
	pods   []string // once for each slice they are in
}

// newAnnotatedTargets computes the targets of all that is annotated now.
func newAnnotatedTargets(compiler *monitors.Compiler, store *objects.Store) (*annotatedTargets, error) {
	a := &annotatedTargets{
		byService: map[string]*annotatedServiceTargets{}, ofSlice: map[string]string{},
		byPod: map[string]monitors.Status{}, covered: map[string]int{},
	}
	for name, into := range map[string]**jobTargets{targets.JobAnnotatedServices: &a.services, targets.JobAnnotatedPods: &a.pods} {
		cfg, err := compiler.PlainConfig(name)
		if err != nil {
			return nil, err
		}
		*into = &jobTargets{job: &monitors.Job{Name: name, Config: cfg}}
	}
	var all objects.Changed
	for _, service := range objects.List[corev1.Service](store, nil) {
		all.Services.Add(service.Namespace + "/" + service.Name)
	}
	for _, pod := range objects.List[corev1.Pod](store, nil) {
		all.Pods.Add(pod.Namespace + "/" + pod.Name)
	}
	a.update(store, nil, all)
	return a, nil
}

// update brings the targets up to date with the changes; slices are all that are
// affected by them.
func (a *annotatedTargets) update(store *objects.Store, slices objects.Keys, c objects.Changed) {
	a.rejected = false
	services, pods := maps.Clone(c.Services), maps.Clone(c.Pods)
	for key := range slices {
		if service, ok := a.ofSlice[key]; ok {
			services.Add(service)
		}
		if slice := objects.Get[discoveryv1.EndpointSlice](store, key); slice != nil {
			services.Add(slice.Namespace + "/" + slice.Labels[discoveryv1.LabelServiceName])
		}
	}
	for key := range services {
		a.resolveService(store, key, &pods)
	}
	for key := range pods {
		a.resolvePod(store, key)
	}
}

// resolveService computes the targets of one Service, and adds to pods those that
// it has now or had before.
func (a *annotatedTargets) resolveService(store *objects.Store, key string, pods *objects.Keys) {
	before := a.byService[key]
	if before == nil {
		before = &annotatedServiceTargets{}
	}
	delete(a.byService, key)
	a.rejected = a.rejected || before.status.Err != nil
	for _, pod := range before.pods {
		pods.Add(pod)
		if a.covered[pod]--; a.covered[pod] == 0 {
			delete(a.covered, pod)
		}
	}
	for slice := range before.slices {
		if a.ofSlice[slice] == key {
			delete(a.ofSlice, slice)
		}
	}
	if service := objects.Get[corev1.Service](store, key); service != nil {
		if what, ok, err := targets.AnnotationsOf(&service.ObjectMeta); ok {
			now := &annotatedServiceTargets{status: annotatedStatus("Service", &service.ObjectMeta, targets.JobAnnotatedServices, err)}
			a.byService[key] = now
			a.rejected = a.rejected || err != nil
			if err == nil {
				a.takeSlices(store, service, &what, now)
			}
			for _, pod := range now.pods {
				pods.Add(pod)
				a.covered[pod]++
			}
			for slice := range now.slices {
				delete(before.slices, slice)
				a.ofSlice[slice] = key
			}
		}
	}
	for slice := range before.slices {
		if _, taken := a.ofSlice[slice]; !taken {
			a.services.put(slice, nil)
		}
	}
}

func (a *annotatedTargets) takeSlices(store *objects.Store, service *corev1.Service, what *targets.Annotated, now *annotatedServiceTargets) {
	for _, slice := range store.SlicesOf(service.Namespace + "/" + service.Name) {
		in := targets.AnnotatedInputs(store, service, slice)
		key := slice.Namespace + "/" + slice.Name
		g := what.SliceGroup(in)
		a.services.put(key, g)
		now.slices.Add(key)
		if g == nil {
			continue
		}
		now.status.Targets += len(g.Targets)
		for _, pod := range in.Pods {
			if pod != nil {
				now.pods = append(now.pods, pod.Namespace+"/"+pod.Name)
			}
		}
	}
}

func (a *annotatedTargets) resolvePod(store *objects.Store, key string) {
	a.rejected = a.rejected || a.byPod[key].Err != nil
	delete(a.byPod, key)
	var g *targetgroup.Group
	if pod := objects.Get[corev1.Pod](store, key); pod != nil && a.covered[key] == 0 {
		if what, ok, err := targets.AnnotationsOf(&pod.ObjectMeta); ok {
			status := annotatedStatus("Pod", &pod.ObjectMeta, targets.JobAnnotatedPods, err)
			if err == nil {
				g = what.PodGroup(pod)
			}
			if g != nil {
				status.Targets = len(g.Targets)
			}
			a.byPod[key] = status
			a.rejected = a.rejected || err != nil
		}
	}
	a.pods.put(key, g)
}

// coveredBy returns the name of the annotated Service that a pod is scraped through;
// empty when there is none.
func (a *annotatedTargets) coveredBy(pod string) string {
	if a.covered[pod] == 0 {
		return ""
	}
	var names []string
	for _, s := range a.byService {
		if slices.Contains(s.pods, pod) {
			names = append(names, s.status.Name)
		}
	}
	return slices.Min(names)
}

// statuses returns the status of each annotated object, in no order.
func (a *annotatedTargets) statuses() []monitors.Status {
	var out []monitors.Status
	for _, s := range a.byService {
		out = append(out, s.status)
	}
	for _, status := range a.byPod {
		out = append(out, status)
	}
	return out
}

func annotatedStatus(kind string, m *metav1.ObjectMeta, job string, err error) monitors.Status {
	status := monitors.Status{Kind: kind, Namespace: m.Namespace, Name: m.Name, Origin: monitors.OriginAnnotation, UID: m.UID, Err: err}
	if err == nil {
		status.Jobs = []string{job}
	}
	return status
}
