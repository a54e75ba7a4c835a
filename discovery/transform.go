package discovery

import (
	"maps"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// slim returns the part of an object that somebody reads: what the labels of
// Prometheus's service discovery are made of, and what tells the state of an
// object. It never changes the object it gets, and gives the same again for what
// it has made. Objects of other kinds are returned as they are.
func slim(obj any) any {
	switch o := obj.(type) {
	case *corev1.Pod:
		return slimPod(o)
	case *corev1.Service:
		return slimService(o)
	case *discoveryv1.EndpointSlice:
		return slimSlice(o)
	case *corev1.Namespace:
		return &corev1.Namespace{ObjectMeta: slimMeta(&o.ObjectMeta)}
	case *corev1.Node:
		return &corev1.Node{ObjectMeta: slimMeta(&o.ObjectMeta)}
	case *autoscalingv2.HorizontalPodAutoscaler:
		return &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: slimMeta(&o.ObjectMeta), Spec: o.Spec, Status: o.Status}
	case *corev1.Secret:
		return &corev1.Secret{ObjectMeta: slimMeta(&o.ObjectMeta), Data: o.Data}
	case *corev1.ConfigMap:
		return &corev1.ConfigMap{ObjectMeta: slimMeta(&o.ObjectMeta), Data: o.Data}
	case *monitoringv1.ServiceMonitor:
		return &monitoringv1.ServiceMonitor{ObjectMeta: slimMeta(&o.ObjectMeta), Spec: o.Spec}
	case *monitoringv1.PodMonitor:
		return &monitoringv1.PodMonitor{ObjectMeta: slimMeta(&o.ObjectMeta), Spec: o.Spec}
	}
	return obj
}

// slimMeta drops managedFields, finalizers and the copy of the whole manifest that
// kubectl keeps. Other annotations stay, for relabelings may read them.
func slimMeta(m *metav1.ObjectMeta) metav1.ObjectMeta {
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

func slimPod(pod *corev1.Pod) *corev1.Pod {
	out := &corev1.Pod{
		ObjectMeta: slimMeta(&pod.ObjectMeta),
		Spec: corev1.PodSpec{
			NodeName:       pod.Spec.NodeName,
			Containers:     slimContainers(pod.Spec.Containers),
			InitContainers: slimContainers(pod.Spec.InitContainers),
		},
		Status: corev1.PodStatus{
			Phase:                 pod.Status.Phase,
			PodIP:                 pod.Status.PodIP,
			HostIP:                pod.Status.HostIP,
			ContainerStatuses:     slimStatuses(pod.Status.ContainerStatuses),
			InitContainerStatuses: slimStatuses(pod.Status.InitContainerStatuses),
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

func slimContainers(containers []corev1.Container) []corev1.Container {
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

func slimStatuses(statuses []corev1.ContainerStatus) []corev1.ContainerStatus {
	if len(statuses) == 0 {
		return nil
	}
	out := make([]corev1.ContainerStatus, len(statuses))
	for i := range statuses {
		out[i] = corev1.ContainerStatus{Name: statuses[i].Name, ContainerID: statuses[i].ContainerID}
	}
	return out
}

func slimService(s *corev1.Service) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: slimMeta(&s.ObjectMeta),
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

func slimSlice(s *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	out := &discoveryv1.EndpointSlice{
		ObjectMeta:  slimMeta(&s.ObjectMeta),
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

// fromMetadata makes a typed object that is nothing but its metadata.
func fromMetadata(resource string) func(any) any {
	return func(obj any) any {
		m, ok := obj.(*metav1.PartialObjectMetadata)
		switch {
		case !ok:
			return obj
		case resource == "nodes":
			return &corev1.Node{ObjectMeta: slimMeta(&m.ObjectMeta)}
		default:
			return &corev1.Namespace{ObjectMeta: slimMeta(&m.ObjectMeta)}
		}
	}
}

// fromUnstructured decodes a monitor. One that cannot be decoded is handed on as
// nothing but its name and the reason.
func fromUnstructured(resource string) func(any) any {
	return func(obj any) any {
		u, ok := obj.(*unstructured.Unstructured)
		if !ok {
			return obj
		}
		if resource == monitoringv1.ServiceMonitorName {
			m := &monitoringv1.ServiceMonitor{}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, m); err != nil {
				return &monitoringv1.ServiceMonitor{ObjectMeta: undecodableMeta(u, err)}
			}
			return slim(m)
		}
		m := &monitoringv1.PodMonitor{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, m); err != nil {
			return &monitoringv1.PodMonitor{ObjectMeta: undecodableMeta(u, err)}
		}
		return slim(m)
	}
}

func undecodableMeta(u *unstructured.Unstructured, err error) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace:       u.GetNamespace(),
		Name:            u.GetName(),
		UID:             u.GetUID(),
		ResourceVersion: u.GetResourceVersion(),
		Annotations:     map[string]string{undecodable: "decode: " + err.Error()},
	}
}
