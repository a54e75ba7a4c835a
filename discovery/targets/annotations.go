package targets

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// The annotations that ask for a Service or Pod to be scraped, by the convention
// of Prometheus's own example configuration.
const (
	annotationScrape = "prometheus.io/scrape"
	AnnotationPort   = "prometheus.io/port"
	annotationPath   = "prometheus.io/path"
	annotationScheme = "prometheus.io/scheme"
)

// The jobs that annotated objects are scraped by.
const (
	JobAnnotatedServices = "annotations/services"
	JobAnnotatedPods     = "annotations/pods"
)

// Annotated is what the annotations of an object ask for.
type Annotated struct {
	port         int32  // 0: the ports the object has
	path, scheme string // empty: the default
}

// AnnotationsOf reads an object's annotations; ok is false when it does not ask to
// be scraped.
func AnnotationsOf(m *metav1.ObjectMeta) (a Annotated, ok bool, err error) {
	if m.Annotations[annotationScrape] != "true" {
		return a, false, nil
	}
	if v := m.Annotations[AnnotationPort]; v != "" {
		port, err := strconv.ParseUint(v, 10, 16)
		if err != nil || port == 0 {
			return a, true, fmt.Errorf("metadata.annotations[%s]: %q is not a port number", AnnotationPort, v)
		}
		a.port = int32(port)
	}
	switch v := strings.ToLower(m.Annotations[annotationScheme]); v {
	case "", "http", "https":
		a.scheme = v
	default:
		return a, true, fmt.Errorf("metadata.annotations[%s]: %q is neither http nor https", annotationScheme, v)
	}
	a.path = m.Annotations[annotationPath]
	return a, true, nil
}

// common are the labels that all targets of an annotated object share.
func (a *Annotated) common(namespace, job string) model.LabelSet {
	ls := model.LabelSet{
		labelNamespace: model.LabelValue(namespace),
		model.JobLabel: model.LabelValue(job),
	}
	if a.path != "" {
		ls[model.MetricsPathLabel] = model.LabelValue(a.path)
	}
	if a.scheme != "" {
		ls[model.SchemeLabel] = model.LabelValue(a.scheme)
	}
	return ls
}

// SliceGroup returns the targets of one EndpointSlice of an annotated Service: the
// annotated port of each endpoint, or else each TCP port of the slice. It is nil
// when there is none.
func (a *Annotated) SliceGroup(in SliceInputs) *targetgroup.Group {
	if SecondaryFamily(in.Service, in.Slice) {
		return nil
	}
	g := &targetgroup.Group{
		Source: "endpointslice/" + in.Slice.Namespace + "/" + in.Slice.Name,
		Labels: a.common(in.Service.Namespace, in.Service.Name),
	}
	g.Labels[labelService] = model.LabelValue(in.Service.Name)
	for i := range in.Slice.Endpoints {
		if Finished(in.Pods[i]) {
			continue
		}
		for _, port := range a.SlicePorts(in.Slice) {
			for _, ip := range in.Slice.Endpoints[i].Addresses {
				g.Targets = append(g.Targets, annotatedTarget(address(ip, port), in.Pods[i], port))
			}
		}
	}
	if len(g.Targets) == 0 {
		return nil
	}
	return g
}

// SlicePorts returns the ports of a slice that are scraped.
func (a *Annotated) SlicePorts(slice *discoveryv1.EndpointSlice) []int32 {
	if a.port != 0 {
		return []int32{a.port}
	}
	var ports []int32
	for i := range slice.Ports {
		p := &slice.Ports[i]
		if p.Port != nil && isTCP(ptr.Deref(p.Protocol, "")) && !slices.Contains(ports, *p.Port) {
			ports = append(ports, *p.Port)
		}
	}
	return ports
}

func annotatedTarget(addr string, pod *corev1.Pod, port int32) model.LabelSet {
	t := model.LabelSet{model.AddressLabel: model.LabelValue(addr)}
	if pod != nil {
		t[labelPod] = model.LabelValue(pod.Name)
		if c := containerWithPort(pod, port); c.container != "" {
			t[labelContainer] = model.LabelValue(c.container)
		}
	}
	return t
}

// PodGroup returns the targets of an annotated pod: the annotated port, or else each
// TCP port that its containers declare. It is nil when there is none.
func (a *Annotated) PodGroup(pod *corev1.Pod) *targetgroup.Group {
	if pod.Status.PodIP == "" || Finished(pod) {
		return nil
	}
	g := &targetgroup.Group{
		Source: "pod/" + pod.Namespace + "/" + pod.Name,
		Labels: a.common(pod.Namespace, pod.Namespace+"/"+workloadName(pod)),
	}
	g.Labels[labelPod] = model.LabelValue(pod.Name)
	for _, port := range a.podPorts(pod) {
		g.Targets = append(g.Targets, annotatedTarget(address(pod.Status.PodIP, port), pod, port))
	}
	if len(g.Targets) == 0 {
		return nil
	}
	return g
}

func (a *Annotated) podPorts(pod *corev1.Pod) []int32 {
	if a.port != 0 {
		return []int32{a.port}
	}
	var ports []int32
	add := func(c *corev1.Container) {
		for i := range c.Ports {
			p := &c.Ports[i]
			if isTCP(p.Protocol) && !slices.Contains(ports, p.ContainerPort) {
				ports = append(ports, p.ContainerPort)
			}
		}
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i])
	}
	for i := range pod.Spec.InitContainers {
		// An init container that restarts always is a sidecar; others have ended.
		c := &pod.Spec.InitContainers[i]
		if ptr.Deref(c.RestartPolicy, "") == corev1.ContainerRestartPolicyAlways {
			add(c)
		}
	}
	return ports
}

func isTCP(p corev1.Protocol) bool { return p == "" || p == corev1.ProtocolTCP }

// workloadName names what a pod belongs to: its controller, or the Deployment
// behind a ReplicaSet, or the pod itself when nothing controls it.
func workloadName(pod *corev1.Pod) string {
	owner := metav1.GetControllerOfNoCopy(pod)
	if owner == nil {
		return pod.Name
	}
	// A Deployment names its ReplicaSets by this label, and leaves no other trace
	// on the pods.
	hash := pod.Labels["pod-template-hash"]
	if name, ok := strings.CutSuffix(owner.Name, "-"+hash); ok && owner.Kind == "ReplicaSet" && hash != "" {
		return name
	}
	return owner.Name
}
