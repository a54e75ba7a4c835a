package main

import (
	"fmt"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	namespace = "production"
	services  = 100 // with a ServiceMonitor each
	nodes     = 40
)

func appName(service int) string { return fmt.Sprintf("app-%03d", service) }

func nodeName(n int) string { return fmt.Sprintf("node-%02d", n%nodes) }

func newNamespace() *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: namespace, UID: uid("ns", 0), Labels: map[string]string{corev1.LabelMetadataName: namespace},
	}}
}

func newNode(n int) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: nodeName(n), UID: uid("node", n),
		Labels: map[string]string{corev1.LabelHostname: nodeName(n), corev1.LabelArchStable: "amd64", corev1.LabelOSStable: "linux"},
	}}
}

func newService(n int) *corev1.Service {
	app := appName(n)
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Name: app, Namespace: namespace, UID: uid("service", n), CreationTimestamp: born(),
			Labels: map[string]string{
				"app.kubernetes.io/name":       app,
				"app.kubernetes.io/instance":   app + "-production",
				"app.kubernetes.io/managed-by": "Helm",
				"helm.sh/chart":                "app-4.2.1",
			},
			Annotations: map[string]string{
				"meta.helm.sh/release-name": app + "-production", "meta.helm.sh/release-namespace": namespace,
			},
			ManagedFields: serviceManagedFields(),
		},
		Spec: corev1.ServiceSpec{
			Type:      corev1.ServiceTypeClusterIP,
			ClusterIP: fmt.Sprintf("10.96.0.%d", n+1), ClusterIPs: []string{fmt.Sprintf("10.96.0.%d", n+1)},
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, IPFamilyPolicy: new(corev1.IPFamilyPolicySingleStack),
			Selector: map[string]string{"app.kubernetes.io/name": app},
			Ports: []corev1.ServicePort{
				{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromString("http")},
				{Name: "metrics", Port: portMetrics, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromString("metrics")},
			},
			SessionAffinity: corev1.ServiceAffinityNone,
		},
	}
}

// newSlice makes the EndpointSlice of a service, with pods.
func newSlice(service int, pods []*corev1.Pod) *discoveryv1.EndpointSlice {
	app := appName(service)
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: app + "-x7k2p", GenerateName: app + "-", Namespace: namespace, UID: uid("slice", service), CreationTimestamp: born(),
			Labels: map[string]string{
				"app.kubernetes.io/name":       app,
				"app.kubernetes.io/instance":   app + "-production",
				"app.kubernetes.io/managed-by": "Helm",
				"helm.sh/chart":                "app-4.2.1",
				discoveryv1.LabelServiceName:   app,
				discoveryv1.LabelManagedBy:     "endpointslice-controller.k8s.io",
			},
			Annotations: map[string]string{corev1.EndpointsLastChangeTriggerTime: "2026-03-01T09:30:00Z"},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "Service", Name: app, UID: uid("service", service),
				Controller: new(true), BlockOwnerDeletion: new(true),
			}},
			ManagedFields: sliceManagedFields(),
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{
			{Name: new("http"), Port: new(int32(portHTTP)), Protocol: new(corev1.ProtocolTCP)},
			{Name: new("metrics"), Port: new(int32(portMetrics)), Protocol: new(corev1.ProtocolTCP)},
		},
	}
	for _, pod := range pods {
		ready := pod.Status.ContainerStatuses[0].Ready
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{pod.Status.PodIP},
			Conditions: discoveryv1.EndpointConditions{Ready: new(ready), Serving: new(ready), Terminating: new(false)},
			NodeName:   new(pod.Spec.NodeName),
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		})
	}
	return slice
}

// newMonitor makes the ServiceMonitor of a service. Every second one has a
// relabeling, about as many as among published monitors, and the commonest one.
func newMonitor(n int, interval string) *monitoringv1.ServiceMonitor {
	app := appName(n)
	endpoint := monitoringv1.Endpoint{Port: "metrics", Interval: monitoringv1.Duration(interval), ScrapeTimeout: "5s"}
	if n%2 == 1 {
		endpoint.RelabelConfigs = []monitoringv1.RelabelConfig{{
			SourceLabels: []monitoringv1.LabelName{"__meta_kubernetes_pod_node_name"}, TargetLabel: "node", Action: "replace",
		}}
	}
	return &monitoringv1.ServiceMonitor{
		TypeMeta: metav1.TypeMeta{APIVersion: monitoringv1.SchemeGroupVersion.String(), Kind: monitoringv1.ServiceMonitorsKind},
		ObjectMeta: metav1.ObjectMeta{
			Name: app, Namespace: namespace, UID: uid("monitor", n), CreationTimestamp: born(),
			Labels: map[string]string{"app.kubernetes.io/name": app, "app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "app-4.2.1"},
		},
		Spec: monitoringv1.ServiceMonitorSpec{
			JobLabel:  "app.kubernetes.io/name",
			Selector:  metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/name": app}},
			Endpoints: []monitoringv1.Endpoint{endpoint},
		},
	}
}
