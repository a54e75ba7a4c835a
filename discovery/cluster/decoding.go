package cluster

import (
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/promlet/promlet/discovery/objects"
)

// fromMetadata makes a Node or Namespace of its metadata alone.
func fromMetadata(resource string) func(any) any {
	return func(obj any) any {
		m, ok := obj.(*metav1.PartialObjectMetadata)
		switch {
		case !ok:
			return obj
		case resource == "nodes":
			return &corev1.Node{ObjectMeta: objects.TrimMeta(&m.ObjectMeta)}
		default:
			return &corev1.Namespace{ObjectMeta: objects.TrimMeta(&m.ObjectMeta)}
		}
	}
}

// fromUnstructured decodes a monitor. One that cannot be decoded becomes a monitor with
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
				m = &monitoringv1.ServiceMonitor{ObjectMeta: undecodableMeta(u, err)}
			}
			return objects.Trim(m)
		}
		m := &monitoringv1.PodMonitor{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, m); err != nil {
			m = &monitoringv1.PodMonitor{ObjectMeta: undecodableMeta(u, err)}
		}
		return objects.Trim(m)
	}
}

func undecodableMeta(u *unstructured.Unstructured, err error) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace:       u.GetNamespace(),
		Name:            u.GetName(),
		UID:             u.GetUID(),
		ResourceVersion: u.GetResourceVersion(),
		Annotations:     map[string]string{objects.UndecodableAnnotation: "decode: " + err.Error()},
	}
}
