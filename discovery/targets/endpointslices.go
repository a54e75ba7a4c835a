package targets

import (
	"net"
	"slices"
	"strconv"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
)

// SliceGroup returns the targets of one EndpointSlice: one for each port of each
// address, and one for each container port that none of these covers. It is nil
// when no target is left.
func (s *Selection) SliceGroup(in SliceInputs) *targetgroup.Group {
	if SecondaryFamily(in.Service, in.Slice) {
		return nil
	}
	b := sliceBuilder{selection: s, in: in, covered: map[*corev1.Pod][]int32{}}
	if in.Service != nil {
		b.fromService = labelValues(s.TargetLabels, in.Service.Labels)
	}
	for i := range in.Slice.Endpoints {
		if s.EndpointsRole && leavesEndpoints(&in.Slice.Endpoints[i], in.Service) {
			continue
		}
		for p := range in.Slice.Ports {
			for _, ip := range in.Slice.Endpoints[i].Addresses {
				b.addEndpoint(i, &in.Slice.Ports[p], ip)
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
		Source:  "endpointslice/" + in.Slice.Namespace + "/" + in.Slice.Name,
		Labels:  b.common(),
		Targets: b.targets,
	}
}

// leavesEndpoints reports whether Kubernetes leaves an endpoint of a slice out of the
// Service's Endpoints.
func leavesEndpoints(ep *discoveryv1.Endpoint, service *corev1.Service) bool {
	return ptr.Deref(ep.Conditions.Terminating, false) && (service == nil || !service.Spec.PublishNotReadyAddresses)
}

// sliceBuilder holds the state of one SliceGroup.
type sliceBuilder struct {
	selection   *Selection
	in          SliceInputs
	fromService []labelValue

	targets []model.LabelSet
	pods    []*corev1.Pod // in the order met
	covered map[*corev1.Pod][]int32
}

func (b *sliceBuilder) addEndpoint(i int, port *discoveryv1.EndpointPort, ip string) {
	ep, pod := &b.in.Slice.Endpoints[i], b.in.Pods[i]
	number := ptr.Deref(port.Port, 0)
	var container ContainerPort
	if pod != nil {
		if _, met := b.covered[pod]; !met {
			b.pods = append(b.pods, pod)
		}
		b.covered[pod] = append(b.covered[pod], number)
		container = containerWithPort(pod, number)
	}
	if !b.selection.Port.Matches(ptr.Deref(port.Name, ""), container) || b.drops(pod) {
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
	if b.selection.Meta != nil {
		if b.selection.Meta.EndpointSlice {
			setEndpointSlice(t, ep, port)
		}
		if b.selection.Meta.Endpoints {
			setEndpoints(t, ep, port)
		}
		if len(b.in.nodes) > 0 && b.in.nodes[i] != nil {
			setObject(t, "node", &b.in.nodes[i].ObjectMeta)
		}
		if b.selection.EndpointsRole && container.container != "" {
			container.protocol = string(ptr.Deref(port.Protocol, ""))
		}
		b.podMeta(t, pod, &container)
	}
	b.targets = append(b.targets, t)
}

// addUncovered adds the container ports of a pod that are no port of the slice. Their
// targets have the labels of the pod only.
func (b *sliceBuilder) addUncovered(pod *corev1.Pod) {
	if pod.Status.PodIP == "" || b.drops(pod) {
		return
	}
	for _, container := range ContainerPorts(pod) {
		if container.Number == 0 || slices.Contains(b.covered[pod], container.Number) || !b.selection.Port.Matches("", container) {
			continue
		}
		container.id = "" // only the pod role has it
		t := b.target(address(pod.Status.PodIP, container.Number), pod, &container)
		b.fixedLabels(t, pod)
		if b.selection.Meta != nil {
			b.podMeta(t, pod, &container)
		}
		b.targets = append(b.targets, t)
	}
}

func (b *sliceBuilder) drops(pod *corev1.Pod) bool {
	return !b.selection.KeepFinished && Finished(pod)
}

func (b *sliceBuilder) target(addr string, pod *corev1.Pod, container *ContainerPort) model.LabelSet {
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
		for _, l := range labelValues(b.selection.PodTargetLabels, pod.Labels) {
			t[l.name] = l.value
		}
	}
	delete(t, model.JobLabel)
	if b.selection.Endpoint != "" {
		delete(t, labelEndpoint)
	}
}

func (b *sliceBuilder) podMeta(t model.LabelSet, pod *corev1.Pod, container *ContainerPort) {
	if pod != nil {
		setPod(t, pod)
		setContainer(t, container)
	}
}

// common are the labels that all targets of the slice share.
func (b *sliceBuilder) common() model.LabelSet {
	slice, service := b.in.Slice, b.in.Service
	ls := model.LabelSet{labelNamespace: model.LabelValue(slice.Namespace)}
	if service != nil {
		ls[labelService] = model.LabelValue(service.Name)
	}
	for _, l := range b.fromService {
		ls[l.name] = l.value
	}
	delete(ls, model.AddressLabel) // the targets have it
	delete(ls, model.JobLabel)
	if service != nil {
		ls[model.JobLabel] = model.LabelValue(service.Name)
		if v := jobLabelValue(b.selection.JobLabel, service.Labels); v != "" {
			ls[model.JobLabel] = v
		}
	}
	if b.selection.Endpoint != "" {
		ls[labelEndpoint] = model.LabelValue(b.selection.Endpoint)
	}
	if b.selection.Meta != nil {
		b.commonMeta(ls)
	}
	return ls
}

func (b *sliceBuilder) commonMeta(ls model.LabelSet) {
	slice, service := b.in.Slice, b.in.Service
	ls[jobNameLabel] = model.LabelValue(b.selection.Meta.JobName)
	set(ls, "namespace", slice.Namespace)
	if service != nil {
		setObject(ls, "service", &service.ObjectMeta)
	}
	if b.selection.Meta.EndpointSlice {
		setObject(ls, "endpointslice", &slice.ObjectMeta)
		set(ls, "endpointslice_address_type", string(slice.AddressType))
	}
	if b.selection.Meta.Endpoints {
		set(ls, "endpoints_name", slice.Labels[discoveryv1.LabelServiceName])
		if service != nil {
			setMap(ls, "endpoints_label", service.Labels)
		}
	}
}

// SecondaryFamily reports whether a slice holds the second addresses of a dual-stack
// Service, which would make every target twice.
func SecondaryFamily(service *corev1.Service, slice *discoveryv1.EndpointSlice) bool {
	if service == nil || len(service.Spec.IPFamilies) == 0 {
		return false
	}
	switch ptr.Deref(service.Spec.IPFamilyPolicy, "") {
	case corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack:
		return string(slice.AddressType) != string(service.Spec.IPFamilies[0])
	}
	return false
}
