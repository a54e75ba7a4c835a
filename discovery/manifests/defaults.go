package manifests

import (
	"net/netip"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// complete fills in what an API server would.
func complete(obj metav1.Object) {
	switch o := obj.(type) {
	case *corev1.Namespace, *corev1.Node:
		obj.SetNamespace("")
		return
	case *corev1.Pod:
		completePod(o)
	case *corev1.Service:
		for i := range o.Spec.Ports {
			if o.Spec.Ports[i].Protocol == "" {
				o.Spec.Ports[i].Protocol = corev1.ProtocolTCP
			}
		}
	case *corev1.Secret:
		for key, value := range o.StringData {
			if o.Data == nil {
				o.Data = map[string][]byte{}
			}
			o.Data[key] = []byte(value)
		}
		o.StringData = nil
	case *autoscalingv2.HorizontalPodAutoscaler:
		if o.Spec.MinReplicas == nil {
			one := int32(1)
			o.Spec.MinReplicas = &one
		}
	}
	if obj.GetNamespace() == "" {
		obj.SetNamespace(metav1.NamespaceDefault)
	}
	if slice, ok := obj.(*discoveryv1.EndpointSlice); ok {
		completeSlice(slice)
	}
}

func completePod(pod *corev1.Pod) {
	for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range containers {
			for j := range containers[i].Ports {
				if containers[i].Ports[j].Protocol == "" {
					containers[i].Ports[j].Protocol = corev1.ProtocolTCP
				}
			}
		}
	}
	if pod.Status.PodIP == "" && len(pod.Status.PodIPs) > 0 {
		pod.Status.PodIP = pod.Status.PodIPs[0].IP
	}
	if pod.Status.Phase == "" && pod.Status.PodIP != "" {
		pod.Status.Phase = corev1.PodRunning
	}
}

func completeSlice(slice *discoveryv1.EndpointSlice) {
	for i := range slice.Ports {
		p := &slice.Ports[i]
		if p.Name == nil {
			p.Name = new(string)
		}
		if p.Protocol == nil {
			tcp := corev1.ProtocolTCP
			p.Protocol = &tcp
		}
	}
	for i := range slice.Endpoints {
		ep := &slice.Endpoints[i]
		if ep.TargetRef != nil && ep.TargetRef.Namespace == "" && ep.TargetRef.Kind != "Node" {
			ep.TargetRef.Namespace = slice.Namespace
		}
		if slice.AddressType == "" && len(ep.Addresses) > 0 {
			slice.AddressType = addressType(ep.Addresses[0])
		}
	}
}

func addressType(addr string) discoveryv1.AddressType {
	ip, err := netip.ParseAddr(addr)
	switch {
	case err != nil:
		return discoveryv1.AddressTypeFQDN
	case ip.Unmap().Is4():
		return discoveryv1.AddressTypeIPv4
	}
	return discoveryv1.AddressTypeIPv6
}
