package discovery

import (
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/discovery/targetgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// reachedService is a Service as ServiceMonitors see it.
type reachedService struct {
	objects *Objects
	service *corev1.Service // nil: there is none
	slices  []*discoveryv1.EndpointSlice
}

func (r *reachedService) exists() bool { return r.service != nil || len(r.slices) > 0 }

func (r *reachedService) noun() string { return "the Service" }

func (r *reachedService) labels() map[string]string {
	if r.service == nil {
		return nil
	}
	return r.service.Labels
}

// selectedBy asks the EndpointSlices too, for a RoleSelector looks at their labels.
func (r *reachedService) selectedBy(s *selection) bool {
	return r.service != nil && s.objects.matches(r.service.Labels) ||
		slices.ContainsFunc(r.slices, func(slice *discoveryv1.EndpointSlice) bool {
			return s.selectsSlice(&sliceInputs{slice: slice, service: r.service})
		})
}

func (r *reachedService) reach(s *selection) (targets int, missing string) {
	var selected []sliceInputs
	for _, slice := range r.slices {
		if in, ok := r.objects.sliceInputs(s, slice); ok {
			selected = append(selected, in)
			targets += size(s.sliceGroup(in))
		}
	}
	if targets == 0 {
		missing = r.missing(s, selected)
	}
	return targets, missing
}

// missing asks for the targets again without one condition after the other, and names
// the one whose lack makes the first.
func (r *reachedService) missing(s *selection, in []sliceInputs) string {
	if text := r.noEndpoints(); text != "" {
		return text
	}
	if len(in) == 0 {
		return "no EndpointSlice of the Service has the labels that the selector wants, and by RoleSelector theirs count"
	}
	without, family, thatHaveIt := *s, familyOf(in), ""
	if s.port.by != anyPort {
		thatHaveIt = " with the port"
	}
	gives := func() bool {
		return slices.ContainsFunc(in, func(i sliceInputs) bool { return without.sliceGroup(i) != nil })
	}
	without.endpointsRole = false
	if gives() {
		return "all endpoints of the Service" + thatHaveIt + " are terminating"
	}
	without.keepFinished = true
	if gives() {
		return "no pod of the Service" + thatHaveIt + " is running" + phases(endedOf(r.pods(in)))
	}
	in = singleFamily(in)
	if gives() {
		return family
	}
	without.port = portRule{}
	switch {
	case gives() || s.port.by == servicePortName && !hasPorts(in):
		return r.noPort(&s.port, in)
	case hasPorts(in):
		return "no endpoint of the Service has an address"
	}
	return r.noPort(&portRule{}, in)
}

// noEndpoints is why a Service has no endpoints at all, or empty.
func (r *reachedService) noEndpoints() string {
	if slices.ContainsFunc(r.slices, func(s *discoveryv1.EndpointSlice) bool { return len(s.Endpoints) > 0 }) {
		return ""
	}
	const none = "the Service has no endpoints"
	switch {
	case r.service == nil:
		return none
	case r.service.Spec.Type == corev1.ServiceTypeExternalName:
		return "the Service is of type ExternalName, which has no endpoints"
	case len(r.service.Spec.Selector) == 0 && len(r.slices) == 0:
		return "the Service has no selector, and nobody has made an EndpointSlice for it"
	case len(r.service.Spec.Selector) == 0:
		return none
	}
	selector := labels.SelectorFromSet(r.service.Spec.Selector)
	pods, addresses := 0, 0
	for _, pod := range inNamespaces[corev1.Pod](r.objects.pods, []string{r.service.Namespace}) {
		if selector.Matches(labels.Set(pod.Labels)) {
			pods++
			if pod.Status.PodIP != "" {
				addresses++
			}
		}
	}
	switch {
	case pods == 0:
		return fmt.Sprintf("no pod matches the Service's selector %s", selector)
	case addresses == 0:
		return none + ": no pod that its selector matches has an IP address yet"
	case len(r.slices) == 0:
		return "the Service has no EndpointSlice yet"
	}
	return none
}

// noPort is why no endpoint has a port that the rule wants.
func (r *reachedService) noPort(rule *portRule, in []sliceInputs) string {
	pods := r.pods(in)
	switch port := rule.containerPort(); {
	case port != "" && declares(rule, pods):
		return "the pods of the Service have a container " + port + ", but none of its endpoints leads there"
	case port != "":
		return "no endpoint of the Service has a container " + port + podsHave(rule, pods)
	}
	wanted := func(name string) bool { return rule.by == anyPort || rule.name.matches(name) }
	var ports []string
	if r.service != nil {
		for i := range r.service.Spec.Ports {
			p := &r.service.Spec.Ports[i]
			if wanted(p.Name) {
				return unserved(p, pods)
			}
			ports = append(ports, portText(p.Name, p.Port))
		}
	}
	known := len(ports) > 0
	for _, i := range in {
		for p := range i.slice.Ports {
			name := deref(i.slice.Ports[p].Name)
			text := portText(name, deref(i.slice.Ports[p].Port))
			if wanted(name) {
				return noneHas + text
			}
			if !known {
				ports = append(ports, text)
			}
		}
	}
	if len(ports) == 0 {
		return "the Service has no ports"
	}
	return fmt.Sprintf("the Service has no port named %q%s", rule.name, have("it has ", ports))
}

// noneHas begins what is said of a port of the Service that no EndpointSlice has, or
// none with endpoints.
const noneHas = "no endpoint of the Service has its port "

// podsHave writes in brackets which ports the pods have instead.
func podsHave(rule *portRule, pods []*corev1.Pod) string {
	if len(pods) == 0 {
		return " (no pod is known behind them)"
	}
	return have("its pods have ", declared(rule, pods))
}

// unserved is why none of its endpoints has a port of a Service.
func unserved(p *corev1.ServicePort, pods []*corev1.Pod) string {
	text := portText(p.Name, p.Port)
	if p.TargetPort.Type == intstr.String && p.TargetPort.StrVal != "" {
		target := portRule{by: containerPortName, name: pattern{literal: p.TargetPort.StrVal}}
		if !declares(&target, pods) {
			return fmt.Sprintf("no endpoint of the Service has a container %s, the targetPort of its port %s%s",
				target.containerPort(), text, podsHave(&target, pods))
		}
	}
	return noneHas + text
}

// hasPorts tells whether an EndpointSlice with endpoints has ports.
func hasPorts(in []sliceInputs) bool {
	return slices.ContainsFunc(in, func(i sliceInputs) bool { return len(i.slice.Endpoints) > 0 && len(i.slice.Ports) > 0 })
}

// pods are the pods behind the endpoints, save for any of other namespaces, of which
// nothing is told.
func (r *reachedService) pods(in []sliceInputs) []*corev1.Pod {
	var out []*corev1.Pod
	for _, i := range in {
		for _, pod := range i.pods {
			if pod != nil && pod.Namespace == i.slice.Namespace {
				out = append(out, pod)
			}
		}
	}
	return out
}

func (r *reachedService) annotated() *Reacher {
	if r.service == nil {
		return nil
	}
	reacher, what, ok := annotatedReacher("Service", jobAnnotatedServices, &r.service.ObjectMeta)
	if !ok || reacher.Err != nil {
		return reacher
	}
	var in []sliceInputs
	job := &reacher.Jobs[0]
	for _, slice := range r.slices {
		in = append(in, r.objects.annotatedInputs(r.service, slice))
		job.Targets += size(what.sliceGroup(in[len(in)-1]))
	}
	if job.Targets == 0 {
		job.Missing = r.missingAnnotated(&what, in)
	}
	return reacher
}

// missingAnnotated is missing for the Service's own annotations.
func (r *reachedService) missingAnnotated(what *annotated, in []sliceInputs) string {
	if text := r.noEndpoints(); text != "" {
		return text
	}
	gives := func() bool {
		return slices.ContainsFunc(in, func(i sliceInputs) bool { return what.sliceGroup(i) != nil })
	}
	pods, family := r.pods(in), familyOf(in)
	for i := range in {
		in[i].pods = make([]*corev1.Pod, len(in[i].pods))
	}
	if gives() {
		return "no pod of the Service is running" + phases(endedOf(pods))
	}
	in = singleFamily(in)
	if gives() {
		return family
	}
	if what.port == 0 && !slices.ContainsFunc(in, func(i sliceInputs) bool { return len(what.slicePorts(i.slice)) > 0 }) {
		return "the Service has no TCP port, and the annotation " + annotationPort + " names none"
	}
	return "no endpoint of the Service has an address"
}

// familyOf is what there is to say when all EndpointSlices are of the family that does
// not count.
func familyOf(in []sliceInputs) string {
	for _, i := range in {
		if secondaryFamily(i.service, i.slice) {
			return fmt.Sprintf("the endpoints of the Service have %s addresses only, and of its two families the first is scraped, %s",
				i.slice.AddressType, i.service.Spec.IPFamilies[0])
		}
	}
	return ""
}

// singleFamily makes the Services of the inputs such that every family counts.
func singleFamily(in []sliceInputs) []sliceInputs {
	out := slices.Clone(in)
	for i := range out {
		if out[i].service != nil {
			service := *out[i].service
			service.Spec.IPFamilies = nil
			out[i].service = &service
		}
	}
	return out
}

// endedOf are those of the pods whose containers have ended for good.
func endedOf(pods []*corev1.Pod) []*corev1.Pod {
	return slices.DeleteFunc(pods, func(p *corev1.Pod) bool { return !finished(p) })
}

func size(g *targetgroup.Group) int {
	if g == nil {
		return 0
	}
	return len(g.Targets)
}
