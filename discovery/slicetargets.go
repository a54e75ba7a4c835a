package discovery

import (
	"net"
	"slices"
	"strconv"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// sliceInputs are the objects that the targets of one EndpointSlice come from.
type sliceInputs struct {
	slice   *discoveryv1.EndpointSlice
	service *corev1.Service // nil: there is none
	// By the index of the endpoint; nil where it is no pod, or not known.
	pods  []*corev1.Pod
	nodes []*corev1.Node // empty unless nodes are attached
}

// serviceOf finds the Service that a slice belongs to, or nil.
func (o *Objects) serviceOf(slice *discoveryv1.EndpointSlice) *corev1.Service {
	name, ok := slice.Labels[discoveryv1.LabelServiceName]
	if !ok {
		return nil
	}
	return get[corev1.Service](o.services, slice.Namespace+"/"+name)
}

// sliceInputs reads what the targets that a job has in a slice come from. ok is false
// when the slice is not selected. That it is in a namespace the job looks into is for
// the caller to see.
func (o *Objects) sliceInputs(s *selection, slice *discoveryv1.EndpointSlice) (in sliceInputs, ok bool) {
	in = sliceInputs{slice: slice, service: o.serviceOf(slice)}
	if !s.selectsSlice(&in) {
		return in, false
	}
	// Prometheus looks only into the namespaces it is given.
	o.readSlice(&in, s.attachNode && s.meta != nil, s.namespaces == nil, s.endpointsRole)
	return in, true
}

// readSlice finds the pods and nodes that belong to a slice. foreign says whether
// pods of other namespaces are seen. Where an endpoint names a node and is one, the
// endpointslice role takes the latter and the endpoints role the former.
func (o *Objects) readSlice(in *sliceInputs, withNodes, foreign, endpointsRole bool) {
	slice := in.slice
	in.pods = make([]*corev1.Pod, len(slice.Endpoints))
	if withNodes {
		in.nodes = make([]*corev1.Node, len(slice.Endpoints))
	}
	for i := range slice.Endpoints {
		ep := &slice.Endpoints[i]
		ref := ep.TargetRef
		if ref != nil && ref.Kind == "Pod" && (foreign || ref.Namespace == slice.Namespace) {
			in.pods[i] = get[corev1.Pod](o.pods, ref.Namespace+"/"+ref.Name)
		}
		switch {
		case !withNodes:
		case endpointsRole && ep.NodeName != nil:
			in.nodes[i] = get[corev1.Node](o.nodes, *ep.NodeName)
		case ref != nil && ref.Kind == "Node":
			in.nodes[i] = get[corev1.Node](o.nodes, ref.Name)
		case ep.NodeName != nil:
			in.nodes[i] = get[corev1.Node](o.nodes, *ep.NodeName)
		}
	}
}

// selectsSlice applies the selector. The service in the inputs is taken away where
// the selector hides it, which is how RoleSelector works on a slice whose own
// labels are selected.
func (s *selection) selectsSlice(in *sliceInputs) bool {
	if _, ok := in.slice.Labels[discoveryv1.LabelServiceName]; !ok && s.endpointsRole {
		return false // there are no Endpoints
	}
	if s.objects.role {
		if in.service != nil && !s.objects.matches(in.service.Labels) {
			in.service = nil
		}
		return s.objects.matches(in.slice.Labels)
	}
	if in.service == nil {
		return s.objects.matches(nil)
	}
	return s.objects.matches(in.service.Labels)
}

// sliceGroup makes the targets of one EndpointSlice: one for each port of each
// address, and one for each container port that none of these covers. It is nil
// when no target is left.
func (s *selection) sliceGroup(in sliceInputs) *targetgroup.Group {
	if secondaryFamily(in.service, in.slice) {
		return nil
	}
	b := sliceBuilder{selection: s, in: in, covered: map[*corev1.Pod][]int32{}}
	if in.service != nil {
		b.fromService = labelValues(s.targetLabels, in.service.Labels)
	}
	for i := range in.slice.Endpoints {
		if s.endpointsRole && leavesEndpoints(&in.slice.Endpoints[i], in.service) {
			continue
		}
		for p := range in.slice.Ports {
			for _, ip := range in.slice.Endpoints[i].Addresses {
				b.addEndpoint(i, &in.slice.Ports[p], ip)
			}
		}
	}
	for _, pod := range b.pods {
		b.addUncovered(pod)
	}
	if len(b.targets) == 0 {
		return nil
	}
	return &targetgroup.Group{
		Source:  "endpointslice/" + in.slice.Namespace + "/" + in.slice.Name,
		Labels:  b.common(),
		Targets: b.targets,
	}
}

// leavesEndpoints tells whether Kubernetes's Endpoints lack an endpoint of a slice.
func leavesEndpoints(ep *discoveryv1.Endpoint, service *corev1.Service) bool {
	return deref(ep.Conditions.Terminating) && (service == nil || !service.Spec.PublishNotReadyAddresses)
}

// sliceBuilder holds the state of one sliceGroup.
type sliceBuilder struct {
	*selection
	in          sliceInputs
	fromService []labelValue

	targets []model.LabelSet
	pods    []*corev1.Pod // in the order met
	covered map[*corev1.Pod][]int32
}

func (b *sliceBuilder) addEndpoint(i int, port *discoveryv1.EndpointPort, ip string) {
	ep, pod := &b.in.slice.Endpoints[i], b.in.pods[i]
	number := deref(port.Port)
	var container containerPort
	if pod != nil {
		if _, met := b.covered[pod]; !met {
			b.pods = append(b.pods, pod)
		}
		b.covered[pod] = append(b.covered[pod], number)
		container = containerWithPort(pod, number)
	}
	if !b.port.matches(deref(port.Name), container) || b.drops(pod) {
		return
	}
	addr := ip
	if port.Port != nil {
		addr = net.JoinHostPort(ip, strconv.Itoa(int(number)))
	}
	t := b.target(addr, pod, &container)
	if ref := ep.TargetRef; ref != nil && ref.Kind == "Node" && ref.Name != "" {
		t[labelNode] = model.LabelValue(ref.Name)
	}
	b.fixedLabels(t, pod)
	if ep.Conditions.Ready != nil && !*ep.Conditions.Ready {
		t[labelUnready] = "true"
	}
	if b.meta != nil {
		if b.meta.endpointSlice {
			setEndpointSlice(t, ep, port)
		}
		if b.meta.endpoints {
			setEndpoints(t, ep, port)
		}
		if len(b.in.nodes) > 0 && b.in.nodes[i] != nil {
			setObject(t, "node", &b.in.nodes[i].ObjectMeta)
		}
		if b.endpointsRole && container.container != "" {
			container.protocol = string(deref(port.Protocol))
		}
		b.podMeta(t, pod, &container)
	}
	b.targets = append(b.targets, t)
}

// addUncovered adds the container ports of a pod that no port of the slice is.
// Nothing is known of them but the pod.
func (b *sliceBuilder) addUncovered(pod *corev1.Pod) {
	if pod.Status.PodIP == "" || b.drops(pod) {
		return
	}
	for _, container := range containerPorts(pod) {
		if container.number == 0 || slices.Contains(b.covered[pod], container.number) || !b.port.matches("", container) {
			continue
		}
		container.id = "" // told by the pod role only
		t := b.target(address(pod.Status.PodIP, container.number), pod, &container)
		b.fixedLabels(t, pod)
		if b.meta != nil {
			b.podMeta(t, pod, &container)
		}
		b.targets = append(b.targets, t)
	}
}

func (b *sliceBuilder) drops(pod *corev1.Pod) bool {
	return !b.keepFinished && finished(pod)
}

func (b *sliceBuilder) target(addr string, pod *corev1.Pod, container *containerPort) model.LabelSet {
	t := model.LabelSet{model.AddressLabel: model.LabelValue(addr)}
	if pod != nil {
		t[labelPod] = model.LabelValue(pod.Name)
	}
	if container.container != "" {
		t[labelContainer] = model.LabelValue(container.container)
	}
	return t
}

// fixedLabels applies what the operator's relabelings do after the standard
// labels: targetLabels, podTargetLabels, and then job and endpoint, which win.
func (b *sliceBuilder) fixedLabels(t model.LabelSet, pod *corev1.Pod) {
	override(t, b.fromService)
	if pod != nil {
		for _, l := range labelValues(b.podTargetLabels, pod.Labels) {
			t[l.name] = l.value
		}
	}
	delete(t, model.JobLabel)
	if b.endpoint != "" {
		delete(t, labelEndpoint)
	}
}

func (b *sliceBuilder) podMeta(t model.LabelSet, pod *corev1.Pod, container *containerPort) {
	if pod != nil {
		setPod(t, pod)
		setContainer(t, container)
	}
}

// common are the labels that all targets of the slice share.
func (b *sliceBuilder) common() model.LabelSet {
	slice, service := b.in.slice, b.in.service
	ls := model.LabelSet{labelNamespace: model.LabelValue(slice.Namespace)}
	if service != nil {
		ls[labelService] = model.LabelValue(service.Name)
	}
	for _, l := range b.fromService {
		ls[l.name] = l.value
	}
	delete(ls, model.AddressLabel) // already on the targets
	delete(ls, model.JobLabel)
	if service != nil {
		ls[model.JobLabel] = model.LabelValue(service.Name)
		if v := jobLabelValue(b.jobLabel, service.Labels); v != "" {
			ls[model.JobLabel] = v
		}
	}
	if b.endpoint != "" {
		ls[labelEndpoint] = model.LabelValue(b.endpoint)
	}
	if b.meta != nil {
		b.commonMeta(ls)
	}
	return ls
}

func (b *sliceBuilder) commonMeta(ls model.LabelSet) {
	slice, service := b.in.slice, b.in.service
	ls[jobNameLabel] = model.LabelValue(b.meta.jobName)
	set(ls, "namespace", slice.Namespace)
	if service != nil {
		setObject(ls, "service", &service.ObjectMeta)
	}
	if b.meta.endpointSlice {
		setObject(ls, "endpointslice", &slice.ObjectMeta)
		set(ls, "endpointslice_address_type", string(slice.AddressType))
	}
	if b.meta.endpoints {
		set(ls, "endpoints_name", slice.Labels[discoveryv1.LabelServiceName])
		if service != nil {
			setMap(ls, "endpoints_label", service.Labels)
		}
	}
}

// secondaryFamily tells whether a slice holds the second addresses of a dual-stack
// Service, which would make every target twice.
func secondaryFamily(service *corev1.Service, slice *discoveryv1.EndpointSlice) bool {
	if service == nil || len(service.Spec.IPFamilies) == 0 {
		return false
	}
	switch deref(service.Spec.IPFamilyPolicy) {
	case corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack:
		return string(slice.AddressType) != string(service.Spec.IPFamilies[0])
	}
	return false
}

// containerWithPort finds the port of a container with the number. Of several
// containers the last has it, as in Prometheus.
func containerWithPort(pod *corev1.Pod, number int32) containerPort {
	var found containerPort
	if number == 0 {
		return found
	}
	for _, c := range containerPorts(pod) {
		if c.number == number && c.container != found.container {
			found = c
		}
	}
	found.id = "" // told by the pod role only
	return found
}
