package monitors

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/util/strutil"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Surroundings makes the cluster that a ServiceMonitor or PodMonitor is written
// for: workloads that it selects, some that it nearly does (another label, another
// namespace, another port, a finished pod), and the Secrets and ConfigMaps it refers
// to. The seed decides on everything that the monitor leaves open. The
// EndpointSlices are such as Endpoints can be told from.
func Surroundings(monitor runtime.Object, seed uint64) (*Cluster, error) {
	return surround(monitor, seeded(seed))
}

func surround(monitor runtime.Object, r *choices) (*Cluster, error) {
	t, err := traitsOf(monitor)
	if err != nil {
		return nil, err
	}
	s := &surroundings{traits: t, choices: r, cluster: &Cluster{}}
	switch m := monitor.(type) {
	case *monitoringv1.ServiceMonitor:
		s.cluster.ServiceMonitors = []*monitoringv1.ServiceMonitor{m}
	case *monitoringv1.PodMonitor:
		s.cluster.PodMonitors = []*monitoringv1.PodMonitor{m}
	}
	s.cluster.Settings.FileAccess = r.one(2)
	for i := range 3 {
		s.cluster.Nodes = append(s.cluster.Nodes, &corev1.Node{ObjectMeta: metav1.ObjectMeta{
			Name:        numbered("node-", i),
			Labels:      merged(map[string]string{"kubernetes.io/os": "linux"}, s.hint("nodelabel")),
			Annotations: s.hint("nodeannotation"),
		}})
	}
	for _, ns := range s.seen() {
		s.cluster.Namespaces = append(s.cluster.Namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: ns, Labels: map[string]string{"kubernetes.io/metadata.name": ns},
		}})
		for i := range 1 + r.intn(3) {
			s.workload(ns, i)
		}
	}
	s.references(monitor)
	return s.cluster, nil
}

type surroundings struct {
	*traits
	*choices
	cluster *Cluster
	address int // of the last pod
}

// seen are the namespaces that the monitor looks into, and one that it may not.
func (s *surroundings) seen() []string {
	names := []string{s.own}
	switch {
	case s.namespaces.Any:
		names = []string{s.own, "team-b"}
	case len(s.namespaces.MatchNames) > 0:
		names = slices.Clone(s.namespaces.MatchNames)
	}
	names = append(names, "elsewhere")
	slices.Sort(names)
	return slices.Compact(names)
}

// matched are labels that the monitor's selector takes, or nearly takes.
func (s *surroundings) matched(near bool) map[string]string {
	ls := maps.Clone(s.selector.MatchLabels)
	if ls == nil {
		ls = map[string]string{}
	}
	for _, e := range s.selector.MatchExpressions {
		switch e.Operator {
		case metav1.LabelSelectorOpIn:
			if len(e.Values) > 0 {
				ls[e.Key] = pick(s.choices, e.Values...)
			}
		case metav1.LabelSelectorOpExists:
			ls[e.Key] = "yes"
		case metav1.LabelSelectorOpNotIn:
			if s.one(2) {
				ls[e.Key] = "other"
			}
		}
	}
	if keys := slices.Sorted(maps.Keys(ls)); near && len(keys) > 0 {
		key := pick(s.choices, keys...)
		if s.one(2) {
			delete(ls, key)
		} else {
			ls[key] += "x"
		}
	}
	return ls
}

// copied are labels that the monitor copies to targets.
func (s *surroundings) copied(names []string) map[string]string {
	ls := map[string]string{}
	for _, name := range names {
		if len(validation.IsQualifiedName(name)) == 0 && !s.one(3) {
			ls[name] = pick(s.choices, "team-a", "x.y", "")
		}
	}
	return ls
}

// hint are the labels or annotations that relabelings look for, mostly.
func (s *surroundings) hint(of string) map[string]string {
	out := map[string]string{}
	for _, key := range sortedKeys(s.hints[of]) {
		if !s.one(4) {
			out[key] = s.hints[of][key]
		}
	}
	return out
}

// workload makes a Service, its pods and its slices.
func (s *surroundings) workload(namespace string, i int) {
	name := numbered("app-", i)
	near := i > 0 && s.one(2)
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{
		Name: name, Namespace: namespace,
		Labels:      merged(s.copied(s.serviceLabels), s.hint("servicelabel"), s.matched(near && !s.byPod)),
		Annotations: s.hint("serviceannotation"),
	}}
	service.Spec.Selector = map[string]string{"workload": name}
	service.Spec.ClusterIP = pick(s.choices, "10.96.0.9", corev1.ClusterIPNone)
	service.Spec.PublishNotReadyAddresses = s.one(6)
	if s.one(5) {
		service.Spec.IPFamilyPolicy = new(corev1.IPFamilyPolicyPreferDualStack)
		service.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
	}
	ports := slices.Clone(s.ports)
	if s.one(2) {
		ports = append(ports, portTrait{service: "other", container: "other", number: 7000})
	}
	for _, p := range ports {
		service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{Name: p.service, Port: p.number, Protocol: corev1.ProtocolTCP})
	}
	s.cluster.Services = append(s.cluster.Services, service)
	if !s.byPod && s.one(8) {
		s.mirrored(service, ports)
		return
	}
	var pods []*corev1.Pod
	for n := range 1 + s.intn(3) {
		pods = append(pods, s.pod(namespace, fmt.Sprintf("%s-%d", name, n), near && s.byPod, ports))
	}
	s.cluster.Pods = append(s.cluster.Pods, pods...)
	s.slice(service, discoveryv1.AddressTypeIPv4, pods, ports)
	if len(service.Spec.IPFamilies) > 1 {
		s.slice(service, discoveryv1.AddressTypeIPv6, pods, ports)
	}
}

func (s *surroundings) pod(namespace, name string, near bool, ports []portTrait) *corev1.Pod {
	s.address++
	selected := map[string]string{}
	if s.byPod {
		selected = s.matched(near)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: name, Namespace: namespace, UID: "5e1f",
		Labels:          merged(map[string]string{"workload": name[:len(name)-2]}, s.copied(s.podLabels), s.hint("podlabel"), selected),
		Annotations:     s.hint("podannotation"),
		OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: name[:len(name)-2] + "-7c9", Controller: new(true)}},
	}}
	pod.Spec.NodeName = pick(s.choices, "node-0", "node-1", "node-2", "node-gone")
	pod.Status.HostIP = "192.0.2.1"
	pod.Status.PodIP = fmt.Sprintf("10.1.0.%d", s.address)
	pod.Status.Phase = pick(s.choices, corev1.PodRunning, corev1.PodRunning, corev1.PodRunning, corev1.PodRunning,
		corev1.PodPending, corev1.PodSucceeded, corev1.PodFailed)
	pod.Status.Conditions = []corev1.PodCondition{{
		Type: corev1.PodReady, Status: pick(s.choices, corev1.ConditionTrue, corev1.ConditionTrue, corev1.ConditionFalse),
	}}
	app := corev1.Container{Name: pick(s.choices, append([]string{"app"}, s.containers...)...), Image: "app:1"}
	for _, p := range ports {
		app.Ports = append(app.Ports, corev1.ContainerPort{Name: p.container, ContainerPort: p.number, Protocol: corev1.ProtocolTCP})
	}
	if s.one(6) {
		app.Ports = app.Ports[1:] // the Service's port is declared by no container
	}
	for i, name := range s.containerPorts {
		app.Ports = append(app.Ports, corev1.ContainerPort{Name: name, ContainerPort: int32(5000 + i), Protocol: corev1.ProtocolTCP}) //nolint:gosec // small
	}
	pod.Spec.Containers = []corev1.Container{app}
	if s.one(3) {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "sidecar", Image: "sidecar:2", Ports: []corev1.ContainerPort{
			{Name: pick(s.choices, "debug", "", app.Name), ContainerPort: pick[int32](s.choices, 6060, 7000), Protocol: corev1.ProtocolTCP},
		}})
	}
	if s.one(4) {
		pod.Spec.InitContainers = []corev1.Container{{Name: "prepare", Image: "init:3", Ports: []corev1.ContainerPort{{ContainerPort: 4000}}}}
	}
	for _, c := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses,
			corev1.ContainerStatus{Name: c.Name, ContainerID: "containerd://" + c.Name})
	}
	return pod
}

// slice is the EndpointSlice of a Service that its controller would make.
func (s *surroundings) slice(service *corev1.Service, family discoveryv1.AddressType, pods []*corev1.Pod, ports []portTrait) {
	slice := s.emptySlice(service, family, ports)
	for _, pod := range pods {
		if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			if !s.one(2) { // it has not noticed yet
				continue
			}
		}
		address := pod.Status.PodIP
		if family == discoveryv1.AddressTypeIPv6 {
			address = "fd00::" + address[strings.LastIndexByte(address, '.')+1:]
		}
		ready := pod.Status.Conditions[0].Status == corev1.ConditionTrue
		leaving := s.one(8)
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{address},
			Conditions: discoveryv1.EndpointConditions{
				Ready:   new(service.Spec.PublishNotReadyAddresses || ready && !leaving),
				Serving: new(ready), Terminating: new(leaving),
			},
			NodeName:  new(pod.Spec.NodeName),
			Zone:      maybe(s.choices, "zone-a"),
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		})
	}
	s.cluster.EndpointSlices = append(s.cluster.EndpointSlices, slice)
}

func (s *surroundings) emptySlice(service *corev1.Service, family discoveryv1.AddressType, ports []portTrait) *discoveryv1.EndpointSlice {
	suffix := "-4a"
	if family == discoveryv1.AddressTypeIPv6 {
		suffix = "-6b"
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: service.Name + suffix, Namespace: service.Namespace,
			Labels: merged(service.Labels, map[string]string{discoveryv1.LabelServiceName: service.Name}),
		},
		AddressType: family,
	}
	for _, p := range ports {
		slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{
			Name: new(p.service), Port: new(p.number), Protocol: new(corev1.ProtocolTCP), AppProtocol: maybe(s.choices, "http"),
		})
	}
	return slice
}

// mirrored makes the slice of a Service without selector, whose endpoints somebody
// has written: nodes, as for kubelets, or addresses outside of the cluster.
func (s *surroundings) mirrored(service *corev1.Service, ports []portTrait) {
	service.Spec.Selector, service.Spec.IPFamilies, service.Spec.IPFamilyPolicy = nil, nil, nil
	slice := s.emptySlice(service, discoveryv1.AddressTypeIPv4, ports)
	nodes := s.one(2)
	for i := range 2 {
		ep := discoveryv1.Endpoint{
			Addresses:  []string{fmt.Sprintf("192.0.2.%d", i+1)},
			Conditions: discoveryv1.EndpointConditions{Ready: new(true)},
		}
		if nodes {
			ep.TargetRef = &corev1.ObjectReference{Kind: "Node", Name: numbered("node-", i)}
		}
		slice.Endpoints = append(slice.Endpoints, ep)
	}
	s.cluster.EndpointSlices = append(s.cluster.EndpointSlices, slice)
}

// merged puts maps together; later ones win. Of keys that are one to Prometheus
// once they are label names (a.b and a_b), only the last is kept: which of them wins
// there is up to Go's maps.
func merged(ms ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range ms {
		for _, key := range sortedKeys(m) {
			maps.DeleteFunc(out, func(k, _ string) bool { return strutil.SanitizeLabelName(k) == strutil.SanitizeLabelName(key) })
			out[key] = m[key]
		}
	}
	return out
}
