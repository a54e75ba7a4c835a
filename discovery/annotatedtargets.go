package discovery

import (
	"maps"
	"slices"

	"github.com/prometheus/prometheus/discovery/targetgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// annotatedTargets are the targets of annotated Services, and of annotated Pods
// that no annotated Service has. All keys are "namespace/name".
type annotatedTargets struct {
	services, pods *jobTargets

	byService map[string]*annotatedServiceTargets
	ofSlice   map[string]string // the annotated Service that a slice was taken for
	byPod     map[string]MonitorStatus
	covered   map[string]int // in how many slices of annotated Services a pod is

	rejected bool // something is, or was, wrong with what was last computed
}

// annotatedServiceTargets is what an annotated Service came to.
type annotatedServiceTargets struct {
	status MonitorStatus
	slices map[string]bool
	pods   []string // once for each slice
}

// newAnnotatedTargets computes the targets of all that is annotated now.
func newAnnotatedTargets(d defaults, objects *Objects) (*annotatedTargets, error) {
	a := &annotatedTargets{
		byService: map[string]*annotatedServiceTargets{}, ofSlice: map[string]string{},
		byPod: map[string]MonitorStatus{}, covered: map[string]int{},
	}
	for name, into := range map[string]**jobTargets{jobAnnotatedServices: &a.services, jobAnnotatedPods: &a.pods} {
		cfg, err := d.plain(name)
		if err != nil {
			return nil, err
		}
		*into = &jobTargets{job: &job{name: name, config: cfg}}
	}
	var all changed
	for _, key := range objects.services.ListKeys() {
		note(&all.services, key)
	}
	for _, key := range objects.pods.ListKeys() {
		note(&all.pods, key)
	}
	a.update(objects, nil, all)
	return a, nil
}

// update follows the changes; slices are all that are affected by them.
func (a *annotatedTargets) update(objects *Objects, slices map[string]bool, c changed) {
	a.rejected = false
	services, pods := maps.Clone(c.services), maps.Clone(c.pods)
	for key := range slices {
		if service, ok := a.ofSlice[key]; ok {
			note(&services, service)
		}
		if slice := get[discoveryv1.EndpointSlice](objects.slices, key); slice != nil {
			note(&services, slice.Namespace+"/"+slice.Labels[discoveryv1.LabelServiceName])
		}
	}
	for key := range services {
		a.resolveService(objects, key, &pods)
	}
	for key := range pods {
		a.resolvePod(objects, key)
	}
}

// resolveService computes the targets of one Service, and adds to pods those that
// it has now or had before.
func (a *annotatedTargets) resolveService(objects *Objects, key string, pods *map[string]bool) {
	before := a.byService[key]
	if before == nil {
		before = &annotatedServiceTargets{}
	}
	delete(a.byService, key)
	a.rejected = a.rejected || before.status.Err != nil
	for _, pod := range before.pods {
		note(pods, pod)
		if a.covered[pod]--; a.covered[pod] == 0 {
			delete(a.covered, pod)
		}
	}
	for slice := range before.slices {
		if a.ofSlice[slice] == key {
			delete(a.ofSlice, slice)
		}
	}
	if service := get[corev1.Service](objects.services, key); service != nil {
		if what, ok, err := annotationsOf(&service.ObjectMeta); ok {
			now := &annotatedServiceTargets{status: annotatedStatus("Service", &service.ObjectMeta, jobAnnotatedServices, err)}
			a.byService[key] = now
			a.rejected = a.rejected || err != nil
			if err == nil {
				a.takeSlices(objects, service, &what, now)
			}
			for _, pod := range now.pods {
				note(pods, pod)
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

// annotatedInputs reads what the targets that an annotated Service has in a slice
// come from.
func (o *Objects) annotatedInputs(service *corev1.Service, slice *discoveryv1.EndpointSlice) sliceInputs {
	in := sliceInputs{slice: slice, service: service}
	o.readSlice(&in, false, false, false)
	return in
}

func (a *annotatedTargets) takeSlices(objects *Objects, service *corev1.Service, what *annotated, now *annotatedServiceTargets) {
	for _, slice := range byIndex[discoveryv1.EndpointSlice](objects.slices, serviceIndex, service.Namespace+"/"+service.Name) {
		in := objects.annotatedInputs(service, slice)
		key := slice.Namespace + "/" + slice.Name
		g := what.sliceGroup(in)
		a.services.put(key, g)
		note(&now.slices, key)
		if g == nil {
			continue
		}
		now.status.Targets += len(g.Targets)
		for _, pod := range in.pods {
			if pod != nil {
				now.pods = append(now.pods, pod.Namespace+"/"+pod.Name)
			}
		}
	}
}

func (a *annotatedTargets) resolvePod(objects *Objects, key string) {
	a.rejected = a.rejected || a.byPod[key].Err != nil
	delete(a.byPod, key)
	var g *targetgroup.Group
	if pod := get[corev1.Pod](objects.pods, key); pod != nil && a.covered[key] == 0 {
		if what, ok, err := annotationsOf(&pod.ObjectMeta); ok {
			status := annotatedStatus("Pod", &pod.ObjectMeta, jobAnnotatedPods, err)
			if err == nil {
				g = what.podGroup(pod)
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

// coveredBy is the name of the annotated Service that a pod is scraped through; empty
// when there is none.
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

// statuses tells what became of each annotated object, in no order.
func (a *annotatedTargets) statuses() []MonitorStatus {
	var out []MonitorStatus
	for _, s := range a.byService {
		out = append(out, s.status)
	}
	for _, status := range a.byPod {
		out = append(out, status)
	}
	return out
}

func annotatedStatus(kind string, m *metav1.ObjectMeta, job string, err error) MonitorStatus {
	status := MonitorStatus{Kind: kind, Namespace: m.Namespace, Name: m.Name, Origin: OriginAnnotation, uid: m.UID, Err: err}
	if err == nil {
		status.Jobs = []string{job}
	}
	return status
}
