package embedded

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
)

// Replica is a Pod that runs promlet, by its name, its namespace and the Service in front of it.
// While the Service has another ready endpoint, promlet waits longer until it is ready, so that
// rates are right from the first answer on.
type Replica struct {
	Namespace, Service, Pod string
}

// otherReplicaAnswers reports whether promlet's Service has a ready endpoint that is not
// this Pod.
func (p *Promlet) otherReplicaAnswers() bool {
	self := p.opts.Replica
	if self == (Replica{}) {
		return false
	}
	slices, ok := p.objects.Lister(discoveryv1.Resource("endpointslices"))
	if !ok {
		return false
	}
	ofService := apilabels.SelectorFromSet(apilabels.Set{discoveryv1.LabelServiceName: self.Service})
	found, err := slices.ByNamespace(self.Namespace).List(ofService)
	if err != nil {
		return false // cannot happen: it is a cache
	}
	for _, object := range found {
		slice, ok := object.(*discoveryv1.EndpointSlice)
		if !ok {
			continue
		}
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready && e.TargetRef != nil && e.TargetRef.Name != self.Pod {
				return true
			}
		}
	}
	return false
}

// ownPod returns the Pod that promlet runs in, nil if it runs outside a cluster.
func (p *Promlet) ownPod() *corev1.ObjectReference {
	self := p.opts.Replica
	pods, ok := p.objects.Lister(corev1.Resource("pods"))
	if !ok || self == (Replica{}) {
		return nil
	}
	found, err := pods.ByNamespace(self.Namespace).Get(self.Pod)
	pod, ok := found.(*corev1.Pod)
	if err != nil || !ok {
		return nil
	}
	return &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}
}
