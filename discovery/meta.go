package discovery

import (
	"net"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The labels that the operator sets on every target.
const (
	labelNamespace = model.LabelName("namespace")
	labelService   = model.LabelName("service")
	labelPod       = model.LabelName("pod")
	labelContainer = model.LabelName("container")
	labelNode      = model.LabelName("node")
	labelEndpoint  = model.LabelName("endpoint")
	// labelUnready is on targets that are not ready, and so get no requests. Scraping reads it; no series has it.
	labelUnready = model.LabelName("__meta_promlet_unready")
)

// metaPrefix begins the labels that Prometheus's Kubernetes service discovery
// sets. Their names and values are those of its discovery/kubernetes package.
const metaPrefix = "__meta_kubernetes_"

// jobNameLabel is where the operator keeps the job's name for relabelings.
const jobNameLabel = model.LabelName("__tmp_prometheus_job_name")

// set sets a meta label, unless its value is empty, which is as good as absent.
func set(ls model.LabelSet, name, value string) {
	if value != "" {
		ls[model.LabelName(metaPrefix+name)] = model.LabelValue(value)
	}
}

// setObject sets the name, labels and annotations of an object under a role's name.
func setObject(ls model.LabelSet, role string, m *metav1.ObjectMeta) {
	set(ls, role+"_name", m.Name)
	setMap(ls, role+"_label", m.Labels)
	setMap(ls, role+"_annotation", m.Annotations)
}

func setMap(ls model.LabelSet, name string, values map[string]string) {
	for _, key := range sortedKeys(values) {
		set(ls, name+"_"+sanitize(key), values[key])
		set(ls, name+"present_"+sanitize(key), "true")
	}
}

func setPod(ls model.LabelSet, pod *corev1.Pod) {
	setObject(ls, "pod", &pod.ObjectMeta)
	set(ls, "pod_ip", pod.Status.PodIP)
	set(ls, "pod_ready", podReady(pod))
	set(ls, "pod_phase", string(pod.Status.Phase))
	set(ls, "pod_node_name", pod.Spec.NodeName)
	set(ls, "pod_host_ip", pod.Status.HostIP)
	set(ls, "pod_uid", string(pod.UID))
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		set(ls, "pod_controller_kind", owner.Kind)
		set(ls, "pod_controller_name", owner.Name)
	}
}

func podReady(pod *corev1.Pod) string {
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.PodReady {
			return strings.ToLower(string(c.Status))
		}
	}
	return "unknown"
}

// containerPort is a port of a container, or a container without ports, or (when
// container is empty) a port that no container declares.
type containerPort struct {
	container, image, id string
	init                 bool

	portName, protocol string
	number             int32 // 0: no port
}

func setContainer(ls model.LabelSet, c *containerPort) {
	if c.container == "" {
		return
	}
	set(ls, "pod_container_name", c.container)
	set(ls, "pod_container_image", c.image)
	set(ls, "pod_container_id", c.id)
	set(ls, "pod_container_init", strconv.FormatBool(c.init))
	if c.number != 0 {
		set(ls, "pod_container_port_name", c.portName)
		set(ls, "pod_container_port_number", strconv.Itoa(int(c.number)))
		set(ls, "pod_container_port_protocol", c.protocol)
	}
}

// setEndpointSlice sets what the endpointslice role tells of one endpoint's port.
func setEndpointSlice(ls model.LabelSet, ep *discoveryv1.Endpoint, port *discoveryv1.EndpointPort) {
	set(ls, "endpointslice_port_name", deref(port.Name))
	set(ls, "endpointslice_port_protocol", string(deref(port.Protocol)))
	if port.Port != nil {
		set(ls, "endpointslice_port", strconv.Itoa(int(*port.Port)))
	}
	set(ls, "endpointslice_port_app_protocol", deref(port.AppProtocol))
	setBool(ls, "endpointslice_endpoint_conditions_ready", ep.Conditions.Ready)
	setBool(ls, "endpointslice_endpoint_conditions_serving", ep.Conditions.Serving)
	setBool(ls, "endpointslice_endpoint_conditions_terminating", ep.Conditions.Terminating)
	set(ls, "endpointslice_endpoint_hostname", deref(ep.Hostname))
	if ep.TargetRef != nil {
		set(ls, "endpointslice_address_target_kind", ep.TargetRef.Kind)
		set(ls, "endpointslice_address_target_name", ep.TargetRef.Name)
	}
	set(ls, "endpointslice_endpoint_node_name", deref(ep.NodeName))
	set(ls, "endpointslice_endpoint_zone", deref(ep.Zone))
	for _, key := range sortedKeys(ep.DeprecatedTopology) {
		set(ls, "endpointslice_endpoint_topology_"+sanitize(key), ep.DeprecatedTopology[key])
		set(ls, "endpointslice_endpoint_topology_present_"+sanitize(key), "true")
	}
}

// setEndpoints sets what the endpoints role tells of the same port.
func setEndpoints(ls model.LabelSet, ep *discoveryv1.Endpoint, port *discoveryv1.EndpointPort) {
	set(ls, "endpoint_port_name", deref(port.Name))
	set(ls, "endpoint_port_protocol", string(deref(port.Protocol)))
	set(ls, "endpoint_ready", strconv.FormatBool(ep.Conditions.Ready == nil || *ep.Conditions.Ready))
	set(ls, "endpoint_hostname", deref(ep.Hostname))
	set(ls, "endpoint_node_name", deref(ep.NodeName))
	if ep.TargetRef != nil {
		set(ls, "endpoint_address_target_kind", ep.TargetRef.Kind)
		set(ls, "endpoint_address_target_name", ep.TargetRef.Name)
	}
}

func setBool(ls model.LabelSet, name string, value *bool) {
	if value != nil {
		set(ls, name, strconv.FormatBool(*value))
	}
}

// containerPorts lists the ports of the containers and then of the init
// containers; a container without ports is listed once, with number 0.
func containerPorts(pod *corev1.Pod) []containerPort {
	var out []containerPort
	add := func(c *corev1.Container, init bool, statuses []corev1.ContainerStatus) {
		port := containerPort{container: c.Name, image: c.Image, init: init}
		for i := range statuses {
			if statuses[i].Name == c.Name {
				port.id = statuses[i].ContainerID
				break
			}
		}
		if len(c.Ports) == 0 {
			out = append(out, port)
		}
		for i := range c.Ports {
			p := port
			p.portName, p.number, p.protocol = c.Ports[i].Name, c.Ports[i].ContainerPort, string(c.Ports[i].Protocol)
			out = append(out, p)
		}
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i], false, pod.Status.ContainerStatuses)
	}
	for i := range pod.Spec.InitContainers {
		add(&pod.Spec.InitContainers[i], true, pod.Status.InitContainerStatuses)
	}
	return out
}

// address joins an IP address and a port as Prometheus does; without a port it is
// the bare address.
func address(ip string, port int32) string {
	if port == 0 {
		return ip
	}
	return net.JoinHostPort(ip, strconv.Itoa(int(port)))
}

// finished tells whether a pod's containers have ended for good.
func finished(pod *corev1.Pod) bool {
	return pod != nil && (pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded)
}
