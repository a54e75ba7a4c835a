package reach

import (
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/discovery/targetgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/discovery/targets"
)

// service is a Service, and its EndpointSlices, as ServiceMonitors see it.
type service struct {
	store   *objects.Store
	service *corev1.Service // nil: there is none
	slices  []*discoveryv1.EndpointSlice
}

func (r *service) exists() bool { return r.service != nil || len(r.slices) > 0 }

func (r *service) noun() string { return "the Service" }

func (r *service) labels() map[string]string {
	if r.service == nil {
		return nil
	}
	return r.service.Labels
}

// selectedBy looks at the EndpointSlices too: RoleSelector selects by their labels.
func (r *service) selectedBy(s *targets.Selection) bool {
	return r.service != nil && s.Objects.Matches(r.service.Labels) ||
		slices.ContainsFunc(r.slices, func(slice *discoveryv1.EndpointSlice) bool {
			return s.SelectsSlice(&targets.SliceInputs{Slice: slice, Service: r.service})
		})
}

func (r *service) reach(s *targets.Selection) (count int, missing string) {
	var selected []targets.SliceInputs
	for _, slice := range r.slices {
		if in, ok := s.SliceInputs(r.store, slice); ok {
			selected = append(selected, in)
			count += size(s.SliceGroup(in))
		}
	}
	if count == 0 {
		missing = r.missing(s, selected)
	}
	return count, missing
}

// missing lifts one condition after the other until there are targets, and names the last
// one lifted.
func (r *service) missing(s *targets.Selection, in []targets.SliceInputs) string {
	if text := r.noEndpoints(); text != "" {
		return text
	}
	if len(in) == 0 {
		return "no EndpointSlice of the Service has the labels that the selector wants, and by RoleSelector theirs count"
	}
	without, family, thatHaveIt := *s, familyOf(in), ""
	if s.Port.By != targets.AnyPort {
		thatHaveIt = " with the port"
	}
	gives := func() bool {
		return slices.ContainsFunc(in, func(i targets.SliceInputs) bool { return without.SliceGroup(i) != nil })
	}
	without.EndpointsRole = false
	if gives() {
		return "all endpoints of the Service" + thatHaveIt + " are terminating"
	}
	without.KeepFinished = true
	if gives() {
		return "no pod of the Service" + thatHaveIt + " is running" + phases(endedOf(r.pods(in)))
	}
	in = singleFamily(in)
	if gives() {
		return family
	}
	without.Port = targets.PortRule{}
	switch {
	case gives() || s.Port.By == targets.ServicePortName && !hasPorts(in):
		return r.noPort(&s.Port, in)
	case hasPorts(in):
		return "no endpoint of the Service has an address"
	}
	return r.noPort(&targets.PortRule{}, in)
}

// noEndpoints is why a Service has no endpoints at all, or empty.
func (r *service) noEndpoints() string {
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
	for _, pod := range objects.List[corev1.Pod](r.store, []string{r.service.Namespace}) {
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
func (r *service) noPort(rule *targets.PortRule, in []targets.SliceInputs) string {
	pods := r.pods(in)
	switch port := containerPort(rule); {
	case port != "" && declares(rule, pods):
		return "the pods of the Service have a container " + port + ", but none of its endpoints leads there"
	case port != "":
		return "no endpoint of the Service has a container " + port + podsHave(rule, pods)
	}
	wanted := func(name string) bool { return rule.By == targets.AnyPort || rule.Name.Matches(name) }
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
		for p := range i.Slice.Ports {
			name := ptr.Deref(i.Slice.Ports[p].Name, "")
			text := portText(name, ptr.Deref(i.Slice.Ports[p].Port, 0))
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
	if name := fmt.Sprint(rule.Name); slices.Contains(ports, name) {
		return fmt.Sprintf("the Service has no port named %q: %s is a number; give the port of the Service a name, or use targetPort with the number of the container's port", name, name)
	}
	return fmt.Sprintf("the Service has no port named %q%s", rule.Name, have("it has ", ports))
}

// noneHas begins the reason when no EndpointSlice with endpoints has a port of the
// Service.
const noneHas = "no endpoint of the Service has its port "

// podsHave puts in brackets which ports the pods have instead.
func podsHave(rule *targets.PortRule, pods []*corev1.Pod) string {
	if len(pods) == 0 {
		return " (no pod is known behind them)"
	}
	return have("its pods have ", declared(rule, pods))
}

// unserved is why none of its endpoints has a port of a Service.
func unserved(p *corev1.ServicePort, pods []*corev1.Pod) string {
	text := portText(p.Name, p.Port)
	if p.TargetPort.Type == intstr.String && p.TargetPort.StrVal != "" {
		target := targets.ContainerPortNamed(p.TargetPort.StrVal)
		if !declares(&target, pods) {
			return fmt.Sprintf("no endpoint of the Service has a container %s, the targetPort of its port %s%s",
				containerPort(&target), text, podsHave(&target, pods))
		}
	}
	return noneHas + text
}

// hasPorts reports whether an EndpointSlice with endpoints has ports.
func hasPorts(in []targets.SliceInputs) bool {
	return slices.ContainsFunc(in, func(i targets.SliceInputs) bool { return len(i.Slice.Endpoints) > 0 && len(i.Slice.Ports) > 0 })
}

// pods are the pods behind the endpoints, without those of other namespaces, which texts
// must not mention.
func (r *service) pods(in []targets.SliceInputs) []*corev1.Pod {
	var out []*corev1.Pod
	for _, i := range in {
		for _, pod := range i.Pods {
			if pod != nil && pod.Namespace == i.Slice.Namespace {
				out = append(out, pod)
			}
		}
	}
	return out
}

func (r *service) annotated() *Monitor {
	if r.service == nil {
		return nil
	}
	monitor, what := annotatedMonitor("Service", targets.JobAnnotatedServices, &r.service.ObjectMeta)
	if monitor == nil || monitor.Err != nil {
		return monitor
	}
	var in []targets.SliceInputs
	job := &monitor.Jobs[0]
	for _, slice := range r.slices {
		in = append(in, targets.AnnotatedInputs(r.store, r.service, slice))
		job.Targets += size(what.SliceGroup(in[len(in)-1]))
	}
	if job.Targets == 0 {
		job.Missing = r.missingAnnotated(&what, in)
	}
	return monitor
}

// missingAnnotated is missing for the Service's own annotations.
func (r *service) missingAnnotated(what *targets.Annotated, in []targets.SliceInputs) string {
	if text := r.noEndpoints(); text != "" {
		return text
	}
	gives := func() bool {
		return slices.ContainsFunc(in, func(i targets.SliceInputs) bool { return what.SliceGroup(i) != nil })
	}
	pods, family := r.pods(in), familyOf(in)
	for i := range in {
		in[i].Pods = make([]*corev1.Pod, len(in[i].Pods))
	}
	if gives() {
		return "no pod of the Service is running" + phases(endedOf(pods))
	}
	in = singleFamily(in)
	if gives() {
		return family
	}
	if !slices.ContainsFunc(in, func(i targets.SliceInputs) bool { return len(what.SlicePorts(i.Slice)) > 0 }) {
		return "the Service has no TCP port, and the annotation " + targets.AnnotationPort + " names none"
	}
	return "no endpoint of the Service has an address"
}

// familyOf is the reason when all EndpointSlices are of the family that does not count.
func familyOf(in []targets.SliceInputs) string {
	for _, i := range in {
		if targets.SecondaryFamily(i.Service, i.Slice) {
			return fmt.Sprintf("the endpoints of the Service have %s addresses only, and of its two families the first is scraped, %s",
				i.Slice.AddressType, i.Service.Spec.IPFamilies[0])
		}
	}
	return ""
}

// singleFamily returns the inputs with Services of which every family counts.
func singleFamily(in []targets.SliceInputs) []targets.SliceInputs {
	out := slices.Clone(in)
	for i := range out {
		if out[i].Service != nil {
			service := *out[i].Service
			service.Spec.IPFamilies = nil
			out[i].Service = &service
		}
	}
	return out
}

// endedOf are those of the pods whose containers have ended for good.
func endedOf(pods []*corev1.Pod) []*corev1.Pod {
	return slices.DeleteFunc(pods, func(p *corev1.Pod) bool { return !targets.Finished(p) })
}

func size(g *targetgroup.Group) int {
	if g == nil {
		return 0
	}
	return len(g.Targets)
}
