package manifests

import (
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kind is a kind of object that is read.
type kind struct {
	version  schema.GroupVersion
	name     string
	resource string // where the Store has it; empty: nowhere
	empty    func() metav1.Object
}

func kinds() []kind {
	return []kind{
		{corev1.SchemeGroupVersion, "Namespace", "namespaces", func() metav1.Object { return &corev1.Namespace{} }},
		{corev1.SchemeGroupVersion, "Node", "nodes", func() metav1.Object { return &corev1.Node{} }},
		{corev1.SchemeGroupVersion, "Pod", "pods", func() metav1.Object { return &corev1.Pod{} }},
		{corev1.SchemeGroupVersion, "Service", "services", func() metav1.Object { return &corev1.Service{} }},
		{corev1.SchemeGroupVersion, "Secret", "secrets", func() metav1.Object { return &corev1.Secret{} }},
		{corev1.SchemeGroupVersion, "ConfigMap", "configmaps", func() metav1.Object { return &corev1.ConfigMap{} }},
		{corev1.SchemeGroupVersion, "Endpoints", "", func() metav1.Object { return &corev1.Endpoints{} }}, //nolint:staticcheck // deprecated, and what old manifests have
		{discoveryv1.SchemeGroupVersion, "EndpointSlice", "endpointslices", func() metav1.Object { return &discoveryv1.EndpointSlice{} }},
		{autoscalingv2.SchemeGroupVersion, "HorizontalPodAutoscaler", "horizontalpodautoscalers", func() metav1.Object { return &autoscalingv2.HorizontalPodAutoscaler{} }},
		{monitoringv1.SchemeGroupVersion, "ServiceMonitor", "servicemonitors", func() metav1.Object { return &monitoringv1.ServiceMonitor{} }},
		{monitoringv1.SchemeGroupVersion, "PodMonitor", "podmonitors", func() metav1.Object { return &monitoringv1.PodMonitor{} }},
	}
}

// newObject returns an empty object of a kind that is read, else nil.
func newObject(apiVersion, name string) metav1.Object {
	for _, k := range kinds() {
		if k.name == name && k.version.String() == apiVersion {
			return k.empty()
		}
	}
	return nil
}
