package embedded

import (
	"encoding/json"
	"fmt"
	"slices"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func monitorResource(obj metav1.Object) schema.GroupResource {
	if _, ok := obj.(*monitoringv1.PodMonitor); ok {
		return monitoringv1.Resource("podmonitors")
	}
	return monitoringv1.Resource("servicemonitors")
}

// settleSlices writes the EndpointSlices of all Services as Kubernetes does: pods whose
// ports have the same numbers are together, be they ready or not.
func (c *topology) settleSlices() {
	indexer, ok := c.objects.Indexer(discoveryv1.Resource("endpointslices"))
	require.True(c.t, ok)
	var all []any
	for _, s := range c.services {
		all = append(all, c.slicesOf(s)...)
	}
	require.NoError(c.t, indexer.Replace(all, ""))
}

func (c *topology) slicesOf(s *corev1.Service) (out []any) {
	byPorts := map[string]*discoveryv1.EndpointSlice{}
	add := func(ports []discoveryv1.EndpointPort, endpoint discoveryv1.Endpoint) {
		key := portsKey(ports)
		slice := byPorts[key]
		if slice == nil {
			slice = &discoveryv1.EndpointSlice{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: s.Namespace, Name: s.Name + "-" + key,
					Labels: map[string]string{discoveryv1.LabelServiceName: s.Name},
				},
				AddressType: discoveryv1.AddressTypeIPv4, Ports: ports,
			}
			byPorts[key], out = slice, append(out, slice)
		}
		slice.Endpoints = append(slice.Endpoints, endpoint)
	}
	for _, ip := range c.external[s.Namespace+"/"+s.Name] {
		add(portsOf(s, &corev1.Pod{}), discoveryv1.Endpoint{Addresses: []string{ip}})
	}
	for _, p := range c.selected(s) {
		ready := p.Status.Conditions[0].Status == corev1.ConditionTrue
		add(portsOf(s, p.Pod), discoveryv1.Endpoint{
			Addresses: []string{p.Status.PodIP}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}, NodeName: &p.Spec.NodeName,
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: p.Namespace, Name: p.Name},
		})
	}
	return out
}

// portsOf are the ports of a Service as one pod has them: without those whose name no
// container of it has.
func portsOf(s *corev1.Service, pod *corev1.Pod) (out []discoveryv1.EndpointPort) {
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		number := p.TargetPort.IntVal
		for _, container := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
			for _, declared := range container.Ports {
				if number == 0 && declared.Name == p.TargetPort.StrVal {
					number = declared.ContainerPort
				}
			}
		}
		if number != 0 {
			out = append(out, discoveryv1.EndpointPort{Name: &p.Name, Port: &number, Protocol: &p.Protocol})
		}
	}
	return out
}

func portsKey(ports []discoveryv1.EndpointPort) string {
	key := "x"
	for _, p := range ports {
		key += fmt.Sprint("-", *p.Port)
	}
	return key
}

// addMonitors adds ServiceMonitors and PodMonitors that reach some things several
// times, others once, and others not at all.
func (c *topology) addMonitors() {
	intervals := pick(c, []monitoringv1.Duration{"15s"}, []monitoringv1.Duration{"15s", "30s"}, []monitoringv1.Duration{"10s", "60s"}, []monitoringv1.Duration{"", "15s", "1m"})
	for i := range c.many() {
		m := &monitoringv1.ServiceMonitor{ObjectMeta: metav1.ObjectMeta{Namespace: pick(c, c.namespaces...), Name: fmt.Sprint("sm", i)}}
		m.Spec = monitoringv1.ServiceMonitorSpec{
			Selector: c.monitorSelector("app", "team"), NamespaceSelector: c.monitorNamespaces(), AttachMetadata: c.attach(),
			JobLabel: pick(c, "", "", "app", "team"), TargetLabels: some(c, "app", "team"), PodTargetLabels: some(c, "tier", "version"),
		}
		if c.oneIn(2) {
			role := monitoringv1.EndpointSliceRole
			m.Spec.ServiceDiscoveryRole = &role
		}
		for range 1 + c.IntN(min(3, c.many())) {
			number, name := intstr.FromInt32(pick[int32](c, 3000, 8080, 9090)), intstr.FromString(pick(c, "http", "metrics"))
			ep := monitoringv1.Endpoint{Interval: pick(c, intervals...), HonorLabels: c.honors && c.oneIn(3), RelabelConfigs: c.relabelings()}
			switch c.IntN(5) {
			case 0, 1:
				ep.Port = pick(c, "http", "metrics", "web")
			case 2:
				ep.TargetPort = pick(c, &number, &name)
			}
			m.Spec.Endpoints = append(m.Spec.Endpoints, ep)
		}
		c.addMonitor(m, m.Spec)
	}
	for i := range c.IntN(3) {
		m := &monitoringv1.PodMonitor{ObjectMeta: metav1.ObjectMeta{Namespace: pick(c, c.namespaces...), Name: fmt.Sprint("pm", i)}}
		m.Spec = monitoringv1.PodMonitorSpec{
			Selector: c.monitorSelector("app", "tier"), NamespaceSelector: c.monitorNamespaces(), AttachMetadata: c.attach(),
			JobLabel: pick(c, "", "", "app"), PodTargetLabels: some(c, "app", "version"),
		}
		for range 1 + c.IntN(2) {
			number, name := pick[int32](c, 3000, 8080, 9090), pick(c, "http", "metrics", "web")
			ep := monitoringv1.PodMetricsEndpoint{Interval: pick(c, intervals...), HonorLabels: c.honors && c.oneIn(3), RelabelConfigs: c.relabelings()}
			switch c.IntN(3) {
			case 0:
				ep.Port = &name
			case 1:
				ep.PortNumber = &number
			}
			m.Spec.PodMetricsEndpoints = append(m.Spec.PodMetricsEndpoints, ep)
		}
		c.addMonitor(m, m.Spec)
	}
}

func (c *topology) addMonitor(m metav1.Object, spec any) {
	text, err := json.Marshal(spec)
	require.NoError(c.t, err)
	c.monitors = append(c.monitors, m)
	c.described = append(c.described, fmt.Sprintf("%T %s/%s %s", m, m.GetNamespace(), m.GetName(), text))
	c.store(m)
}

func (c *topology) monitorSelector(keys ...string) metav1.LabelSelector {
	key := pick(c, keys...)
	return pick(c,
		metav1.LabelSelector{}, metav1.LabelSelector{},
		metav1.LabelSelector{MatchLabels: map[string]string{key: pick(c, "a", "b", "gold", "front")}},
		metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: key, Operator: metav1.LabelSelectorOpIn, Values: []string{"a", "red", "front", "back"}}}})
}

func (c *topology) monitorNamespaces() monitoringv1.NamespaceSelector {
	return pick(c, monitoringv1.NamespaceSelector{}, monitoringv1.NamespaceSelector{Any: true}, monitoringv1.NamespaceSelector{Any: true}, monitoringv1.NamespaceSelector{Any: true},
		monitoringv1.NamespaceSelector{MatchNames: []string{"shop", "blue"}})
}

func (c *topology) attach() *monitoringv1.AttachMetadata {
	yes := true
	return pick(c, nil, nil, &monitoringv1.AttachMetadata{Node: &yes})
}

// relabelings are such as people write: none makes two containers look the same.
func (c *topology) relabelings() (out []monitoringv1.RelabelConfig) {
	names := func(l ...monitoringv1.LabelName) []monitoringv1.LabelName { return l }
	for range c.IntN(3) {
		out = append(out, pick(c,
			monitoringv1.RelabelConfig{SourceLabels: names("__meta_kubernetes_pod_node_name"), TargetLabel: "node"},
			monitoringv1.RelabelConfig{SourceLabels: names("__meta_kubernetes_node_label_zone"), TargetLabel: "zone"},
			monitoringv1.RelabelConfig{Action: "labelmap", Regex: "__meta_kubernetes_pod_label_(app|tier|version)"},
			monitoringv1.RelabelConfig{SourceLabels: names("pod"), Regex: "(.+)", TargetLabel: "instance"},
			monitoringv1.RelabelConfig{SourceLabels: names("__meta_kubernetes_pod_ready"), Regex: "true", Action: "keep"},
			monitoringv1.RelabelConfig{SourceLabels: names("container"), Regex: "proxy", Action: "drop"},
		))
	}
	return out
}
