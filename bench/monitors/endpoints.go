package monitors

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ErrNoEndpoints is returned for a Cluster with a monitor of the endpoints role
// whose EndpointSlices cannot have come with Endpoints that are known.
var ErrNoEndpoints = errors.New("endpoints are not defined by the slices")

// Deprecated all of them, and still a role of Prometheus.
type (
	endpointsObject = corev1.Endpoints       //nolint:staticcheck // see above
	endpointSubset  = corev1.EndpointSubset  //nolint:staticcheck // see above
	endpointAddress = corev1.EndpointAddress //nolint:staticcheck // see above
	endpointPort    = corev1.EndpointPort
)

// endpoints are the Endpoints that Kubernetes would hold beside the EndpointSlices:
// its endpoints controller makes them of the same Services and pods, with the
// Service's labels. Left out are the label and the annotation that tell of the
// controller itself. namespace is "" for all; leaving says whether pods on their way
// out, of which Endpoints no longer know, are there all the same.
func (c *Cluster) endpoints(namespace string, leaving bool) ([]*endpointsObject, error) {
	services := map[string]*corev1.Service{}
	for _, s := range c.Services {
		services[s.Namespace+"/"+s.Name] = s
	}
	bySlice := map[string]*discoveryv1.EndpointSlice{}
	for _, slice := range c.EndpointSlices {
		name := slice.Labels[discoveryv1.LabelServiceName]
		if name == "" || namespace != "" && slice.Namespace != namespace {
			continue // without a name, Endpoints know nothing of it
		}
		key := slice.Namespace + "/" + name
		service := services[key]
		if service == nil {
			return nil, fmt.Errorf("slice %s/%s: its service does not exist: %w", slice.Namespace, slice.Name, ErrNoEndpoints)
		}
		if !mirrors(slice.Labels, service.Labels) {
			return nil, fmt.Errorf("slice %s/%s has not its service's labels: %w", slice.Namespace, slice.Name, ErrNoEndpoints)
		}
		if secondary(service, slice) {
			continue
		}
		if bySlice[key] != nil {
			return nil, fmt.Errorf("service %s has several slices: %w", key, ErrNoEndpoints)
		}
		bySlice[key] = slice
	}
	var out []*endpointsObject
	for _, key := range sortedKeys(bySlice) {
		e, err := endpointsOf(services[key], bySlice[key], leaving || services[key].Spec.PublishNotReadyAddresses)
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", key, err)
		}
		out = append(out, e)
	}
	return out, nil
}

// secondary tells whether a slice has addresses of a family that the Service's
// Endpoints do not have.
func secondary(service *corev1.Service, slice *discoveryv1.EndpointSlice) bool {
	return len(service.Spec.IPFamilies) > 0 && string(slice.AddressType) != string(service.Spec.IPFamilies[0])
}

// mirrors tells whether the labels of a slice are those of its Service and the
// slice controller's own.
func mirrors(slice, service map[string]string) bool {
	own := maps.Clone(slice)
	maps.DeleteFunc(own, func(name, _ string) bool {
		return name == discoveryv1.LabelServiceName || name == discoveryv1.LabelManagedBy || name == corev1.IsHeadlessService
	})
	return maps.Equal(own, service) || len(own) == 0 && len(service) == 0
}

func endpointsOf(service *corev1.Service, slice *discoveryv1.EndpointSlice, leaving bool) (*endpointsObject, error) {
	if slice.AddressType == discoveryv1.AddressTypeFQDN {
		return nil, fmt.Errorf("slice %s has names: %w", slice.Name, ErrNoEndpoints)
	}
	var subset endpointSubset
	for _, p := range slice.Ports {
		if p.Port == nil {
			return nil, fmt.Errorf("slice %s has a port without number: %w", slice.Name, ErrNoEndpoints)
		}
		port := endpointPort{Name: value(p.Name), Port: *p.Port, Protocol: value(p.Protocol), AppProtocol: p.AppProtocol}
		if slices.ContainsFunc(subset.Ports, func(q endpointPort) bool { return q.Name == port.Name }) {
			return nil, fmt.Errorf("slice %s has two ports named %q: %w", slice.Name, port.Name, ErrNoEndpoints)
		}
		subset.Ports = append(subset.Ports, port)
	}
	seen := map[string]bool{}
	for i := range slice.Endpoints {
		ep := &slice.Endpoints[i]
		if value(ep.Conditions.Terminating) && !leaving {
			continue
		}
		for _, ip := range ep.Addresses {
			if seen[ip] {
				return nil, fmt.Errorf("slice %s has %s twice: %w", slice.Name, ip, ErrNoEndpoints)
			}
			seen[ip] = true
			a := endpointAddress{IP: ip, Hostname: value(ep.Hostname), NodeName: ep.NodeName, TargetRef: ep.TargetRef}
			if ep.Conditions.Ready == nil || *ep.Conditions.Ready {
				subset.Addresses = append(subset.Addresses, a)
			} else {
				subset.NotReadyAddresses = append(subset.NotReadyAddresses, a)
			}
		}
	}
	return &endpointsObject{
		ObjectMeta: metav1.ObjectMeta{Name: service.Name, Namespace: service.Namespace, Labels: service.Labels},
		Subsets:    []endpointSubset{subset},
	}, nil
}

// value is the value pointed to, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
