package discovery

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
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

// manifestSet is what the files say there is: by kind, then by "namespace/name".
type manifestSet map[string]map[string]metav1.Object

// assemble puts the objects of all files together. Problems are objects that are
// in two places.
func assemble(files []*manifestFile) (manifestSet, []string) {
	set := manifestSet{}
	var problems []string
	places := map[string]string{}
	for _, f := range files {
		for _, o := range f.objects {
			name := o.kind + " " + objectName(o.object)
			place := fmt.Sprintf("%s:%d", f.path, o.line)
			if first, ok := places[name]; ok {
				problems = append(problems, fmt.Sprintf("%s: %s is in %s already, which counts", place, name, first))
				continue
			}
			places[name] = place
			set.add(o.kind, o.object)
		}
	}
	set.mirrorEndpoints()
	set.implyNamespaces()
	return set, problems
}

func (s manifestSet) add(kind string, obj metav1.Object) {
	if s[kind] == nil {
		s[kind] = map[string]metav1.Object{}
	}
	s[kind][cache.MetaObjectToName(obj).String()] = obj
}

// mirrorEndpoints makes EndpointSlices of Endpoints whose Service has none.
func (s manifestSet) mirrorEndpoints() {
	has := map[string]bool{}
	for _, obj := range s["EndpointSlice"] {
		has[obj.GetNamespace()+"/"+obj.GetLabels()[discoveryv1.LabelServiceName]] = true
	}
	for key, obj := range s["Endpoints"] {
		if has[key] {
			continue
		}
		endpoints, ok := obj.(*corev1.Endpoints) //nolint:staticcheck // deprecated, and what old manifests have
		if !ok {
			continue
		}
		for _, slice := range mirror(endpoints) {
			s.add("EndpointSlice", slice)
		}
	}
}

// implyNamespaces adds the namespaces that objects are in.
func (s manifestSet) implyNamespaces() {
	names := map[string]bool{}
	for _, objects := range s {
		for _, obj := range objects {
			if ns := obj.GetNamespace(); ns != "" {
				names[ns] = true
			}
		}
	}
	for name := range names {
		if s["Namespace"][name] == nil {
			s.add("Namespace", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
		}
	}
}

// store makes the indexers hold this set and nothing else. An object that is equal
// to the one held leaves that in place.
func (s manifestSet) store(o *Objects) {
	for kind, indexer := range map[string]cache.Indexer{
		"Namespace": o.namespaces, "Node": o.nodes, "Pod": o.pods, "Service": o.services,
		"EndpointSlice": o.slices, "HorizontalPodAutoscaler": o.hpas,
		"ServiceMonitor": o.serviceMonitors, "PodMonitor": o.podMonitors,
		kindSecret: o.secrets, kindConfigMap: o.configMaps,
	} {
		// An indexer fails only for objects without metadata.
		for _, key := range indexer.ListKeys() {
			if held, ok, _ := indexer.GetByKey(key); ok && s[kind][key] == nil {
				_ = indexer.Delete(held)
			}
		}
		for key, obj := range s[kind] {
			if held, ok, _ := indexer.GetByKey(key); !ok || !reflect.DeepEqual(held, any(obj)) {
				_ = indexer.Update(obj)
			}
		}
	}
}

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
