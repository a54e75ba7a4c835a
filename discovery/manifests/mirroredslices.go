package manifests

import (
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// mirror makes of Endpoints the EndpointSlices that Kubernetes' EndpointSlice
// mirroring controller makes: one for each subset and address family.
//
//nolint:staticcheck // Endpoints are deprecated, and what old manifests have
func mirror(endpoints *corev1.Endpoints) []*discoveryv1.EndpointSlice {
	if endpoints.Labels[discoveryv1.LabelSkipMirror] == "true" {
		return nil
	}
	var out []*discoveryv1.EndpointSlice
	for i := range endpoints.Subsets {
		subset := &endpoints.Subsets[i]
		for _, family := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
			slice := &discoveryv1.EndpointSlice{
				ObjectMeta: metav1.ObjectMeta{
					Namespace:   endpoints.Namespace,
					Name:        fmt.Sprintf("%s-mirrored-%d-%s", endpoints.Name, i, strings.ToLower(string(family))),
					Labels:      maps.Clone(endpoints.Labels),
					Annotations: maps.Clone(endpoints.Annotations),
				},
				AddressType: family,
				Endpoints: append(mirrorAddresses(subset.Addresses, family, true),
					mirrorAddresses(subset.NotReadyAddresses, family, false)...),
			}
			if len(slice.Endpoints) == 0 {
				continue
			}
			if slice.Labels == nil {
				slice.Labels = map[string]string{}
			}
			slice.Labels[discoveryv1.LabelServiceName] = endpoints.Name
			slice.Labels[discoveryv1.LabelManagedBy] = "endpointslicemirroring-controller.k8s.io"
			delete(slice.Annotations, corev1.EndpointsLastChangeTriggerTime)
			for p := range subset.Ports {
				port := &subset.Ports[p]
				slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{
					Name: &port.Name, Port: &port.Port, AppProtocol: port.AppProtocol, Protocol: protocol(port.Protocol),
				})
			}
			completeSlice(slice)
			out = append(out, slice)
		}
	}
	return out
}

func protocol(p corev1.Protocol) *corev1.Protocol {
	if p == "" {
		return nil
	}
	return &p
}

func mirrorAddresses(addrs []corev1.EndpointAddress, family discoveryv1.AddressType, ready bool) []discoveryv1.Endpoint {
	var out []discoveryv1.Endpoint
	for i := range addrs {
		a := &addrs[i]
		if addressType(a.IP) != family {
			continue
		}
		ep := discoveryv1.Endpoint{
			Addresses:  []string{a.IP},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready},
			TargetRef:  a.TargetRef.DeepCopy(),
			NodeName:   a.NodeName,
		}
		if a.Hostname != "" {
			ep.Hostname = &a.Hostname
		}
		out = append(out, ep)
	}
	return out
}
