package targets

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// The labels that the operator sets on every target.
const (
	labelNamespace = model.LabelName("namespace")
	labelService   = model.LabelName("service")
	labelPod       = model.LabelName("pod")
	labelContainer = model.LabelName("container")
	labelNode      = model.LabelName("node")
	labelEndpoint  = model.LabelName("endpoint")
	// labelUnready is on targets that are not ready and so get no requests. The scraper
	// reads it; no series has it.
	labelUnready = model.LabelName("__meta_promlet_unready")
)

// metaPrefix begins the labels that Prometheus's Kubernetes service discovery
// sets. Their names and values are those of its discovery/kubernetes package.
const metaPrefix = "__meta_kubernetes_"

// jobNameLabel is where the operator keeps the job's name for relabelings.
const jobNameLabel = model.LabelName("__tmp_prometheus_job_name")

// set sets a meta label. An empty value is the same as none.
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
	for _, key := range slices.Sorted(maps.Keys(values)) {
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

func setContainer(ls model.LabelSet, c *ContainerPort) {
	if c.container == "" {
		return
	}
	set(ls, "pod_container_name", c.container)
	set(ls, "pod_container_image", c.image)
	set(ls, "pod_container_id", c.id)
	set(ls, "pod_container_init", strconv.FormatBool(c.init))
	if c.Number != 0 {
		set(ls, "pod_container_port_name", c.PortName)
		set(ls, "pod_container_port_number", strconv.Itoa(int(c.Number)))
		set(ls, "pod_container_port_protocol", c.protocol)
	}
}

// setEndpointSlice sets the labels that the endpointslice role has for a port of an
// endpoint.
func setEndpointSlice(ls model.LabelSet, ep *discoveryv1.Endpoint, port *discoveryv1.EndpointPort) {
	set(ls, "endpointslice_port_name", ptr.Deref(port.Name, ""))
	set(ls, "endpointslice_port_protocol", string(ptr.Deref(port.Protocol, "")))
	if port.Port != nil {
		set(ls, "endpointslice_port", strconv.Itoa(int(*port.Port)))
	}
	set(ls, "endpointslice_port_app_protocol", ptr.Deref(port.AppProtocol, ""))
	setBool(ls, "endpointslice_endpoint_conditions_ready", ep.Conditions.Ready)
	setBool(ls, "endpointslice_endpoint_conditions_serving", ep.Conditions.Serving)
	setBool(ls, "endpointslice_endpoint_conditions_terminating", ep.Conditions.Terminating)
	set(ls, "endpointslice_endpoint_hostname", ptr.Deref(ep.Hostname, ""))
	if ep.TargetRef != nil {
		set(ls, "endpointslice_address_target_kind", ep.TargetRef.Kind)
		set(ls, "endpointslice_address_target_name", ep.TargetRef.Name)
	}
	set(ls, "endpointslice_endpoint_node_name", ptr.Deref(ep.NodeName, ""))
	set(ls, "endpointslice_endpoint_zone", ptr.Deref(ep.Zone, ""))
	for _, key := range slices.Sorted(maps.Keys(ep.DeprecatedTopology)) {
		set(ls, "endpointslice_endpoint_topology_"+sanitize(key), ep.DeprecatedTopology[key])
		set(ls, "endpointslice_endpoint_topology_present_"+sanitize(key), "true")
	}
}

// setEndpoints sets the labels that the endpoints role has for the same port.
func setEndpoints(ls model.LabelSet, ep *discoveryv1.Endpoint, port *discoveryv1.EndpointPort) {
	set(ls, "endpoint_port_name", ptr.Deref(port.Name, ""))
	set(ls, "endpoint_port_protocol", string(ptr.Deref(port.Protocol, "")))
	set(ls, "endpoint_ready", strconv.FormatBool(ep.Conditions.Ready == nil || *ep.Conditions.Ready))
	set(ls, "endpoint_hostname", ptr.Deref(ep.Hostname, ""))
	set(ls, "endpoint_node_name", ptr.Deref(ep.NodeName, ""))
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
