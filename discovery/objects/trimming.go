package objects

import (
	"maps"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TrimWithRequests does what [Trim] does, but keeps the requests and the start time of pods, from
// which a utilization is computed. They take about 600 bytes for each container with requests.
func TrimWithRequests(obj any) any {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return Trim(obj)
	}
	out := trimPod(pod)
	out.Status.StartTime = pod.Status.StartTime
	if of := pod.Spec.Resources; of != nil {
		out.Spec.Resources = &corev1.ResourceRequirements{Requests: of.Requests}
	}
	keepRequests(out.Spec.Containers, pod.Spec.Containers)
	keepRequests(out.Spec.InitContainers, pod.Spec.InitContainers)
	return out
}

func keepRequests(trimmed, containers []corev1.Container) {
	for i := range containers {
		trimmed[i].Resources.Requests = containers[i].Resources.Requests
	}
}

// Trim returns an object without what nobody reads: managed fields, finalizers, the
// last applied configuration; of pods all but node, IP addresses, phase, readiness and
// the names, images, IDs and ports of containers; of Nodes all but addresses and the port
// of the kubelet; status of Services; hints of EndpointSlices; status of monitors. What
// remains is the state of the object, and what Prometheus's service discovery makes labels
// from.
//
// Trim does not change the object it gets, and a trimmed object stays as it is. Objects
// of other kinds are returned untouched.
func Trim(obj any) any {
	switch o := obj.(type) {
	case *corev1.Pod:
		return trimPod(o)
	case *corev1.Service:
		return trimService(o)
	case *discoveryv1.EndpointSlice:
		return trimSlice(o)
	case *corev1.Namespace:
		return &corev1.Namespace{ObjectMeta: TrimMeta(&o.ObjectMeta)}
	case *corev1.Node:
		return &corev1.Node{
			ObjectMeta: TrimMeta(&o.ObjectMeta),
			Status:     corev1.NodeStatus{Addresses: o.Status.Addresses, DaemonEndpoints: o.Status.DaemonEndpoints},
		}
	case *autoscalingv2.HorizontalPodAutoscaler:
		return &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: TrimMeta(&o.ObjectMeta), Spec: o.Spec, Status: o.Status}
	case *corev1.Secret:
		return &corev1.Secret{ObjectMeta: TrimMeta(&o.ObjectMeta), Data: o.Data}
	case *corev1.ConfigMap:
		return &corev1.ConfigMap{ObjectMeta: TrimMeta(&o.ObjectMeta), Data: o.Data}
	case *monitoringv1.ServiceMonitor:
		return &monitoringv1.ServiceMonitor{ObjectMeta: TrimMeta(&o.ObjectMeta), Spec: o.Spec}
	case *monitoringv1.PodMonitor:
		return &monitoringv1.PodMonitor{ObjectMeta: TrimMeta(&o.ObjectMeta), Spec: o.Spec}
	}
	return obj
}

// TrimMeta is [Trim] for metadata: it drops managedFields, finalizers and the copy of the
// whole manifest that kubectl keeps. Other annotations stay: relabelings may read them.
func TrimMeta(m *metav1.ObjectMeta) metav1.ObjectMeta {
	annotations := m.Annotations
	if _, ok := annotations[corev1.LastAppliedConfigAnnotation]; ok {
		annotations = maps.Clone(annotations)
		delete(annotations, corev1.LastAppliedConfigAnnotation)
	}
	return metav1.ObjectMeta{
		Name:              m.Name,
		Namespace:         m.Namespace,
		UID:               m.UID,
		ResourceVersion:   m.ResourceVersion,
		Generation:        m.Generation,
		CreationTimestamp: m.CreationTimestamp,
		DeletionTimestamp: m.DeletionTimestamp,
		Labels:            m.Labels,
		Annotations:       annotations,
		OwnerReferences:   m.OwnerReferences,
	}
}

func trimPod(pod *corev1.Pod) *corev1.Pod {
	out := &corev1.Pod{
		ObjectMeta: TrimMeta(&pod.ObjectMeta),
		Spec: corev1.PodSpec{
			NodeName:       pod.Spec.NodeName,
			Containers:     trimContainers(pod.Spec.Containers),
			InitContainers: trimContainers(pod.Spec.InitContainers),
		},
		Status: corev1.PodStatus{
			Phase:                 pod.Status.Phase,
			PodIP:                 pod.Status.PodIP,
			HostIP:                pod.Status.HostIP,
			ContainerStatuses:     trimStatuses(pod.Status.ContainerStatuses),
			InitContainerStatuses: trimStatuses(pod.Status.InitContainerStatuses),
		},
	}
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.PodReady {
			out.Status.Conditions = []corev1.PodCondition{{
				Type: c.Type, Status: c.Status, LastTransitionTime: c.LastTransitionTime,
			}}
			break
		}
	}
	return out
}

func trimContainers(containers []corev1.Container) []corev1.Container {
	if len(containers) == 0 {
		return nil
	}
	out := make([]corev1.Container, len(containers))
	for i := range containers {
		c := &containers[i]
		out[i] = corev1.Container{Name: c.Name, Image: c.Image, Ports: c.Ports, RestartPolicy: c.RestartPolicy}
	}
	return out
}

func trimStatuses(statuses []corev1.ContainerStatus) []corev1.ContainerStatus {
	if len(statuses) == 0 {
		return nil
	}
	out := make([]corev1.ContainerStatus, len(statuses))
	for i := range statuses {
		out[i] = corev1.ContainerStatus{Name: statuses[i].Name, ContainerID: statuses[i].ContainerID}
	}
	return out
}

func trimService(s *corev1.Service) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: TrimMeta(&s.ObjectMeta),
		Spec: corev1.ServiceSpec{
			Type:           s.Spec.Type,
			Selector:       s.Spec.Selector,
			Ports:          s.Spec.Ports,
			ClusterIP:      s.Spec.ClusterIP,
			ExternalName:   s.Spec.ExternalName,
			IPFamilies:     s.Spec.IPFamilies,
			IPFamilyPolicy: s.Spec.IPFamilyPolicy,

			PublishNotReadyAddresses: s.Spec.PublishNotReadyAddresses,
		},
	}
}

func trimSlice(s *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	out := &discoveryv1.EndpointSlice{
		ObjectMeta:  TrimMeta(&s.ObjectMeta),
		AddressType: s.AddressType,
		Ports:       s.Ports,
		Endpoints:   make([]discoveryv1.Endpoint, len(s.Endpoints)),
	}
	for i := range s.Endpoints {
		out.Endpoints[i] = s.Endpoints[i]
		out.Endpoints[i].Hints = nil
	}
	return out
}
