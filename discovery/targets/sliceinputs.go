package targets

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/promlet/promlet/discovery/objects"
)

// SliceInputs are the objects that the targets of one EndpointSlice come from.
type SliceInputs struct {
	Slice   *discoveryv1.EndpointSlice
	Service *corev1.Service // nil: there is none
	// Pods and nodes are by the index of the endpoint; nil where there is none, or it
	// is not known.
	Pods  []*corev1.Pod
	nodes []*corev1.Node // empty unless nodes are attached
}

// serviceOf returns the Service that a slice belongs to, or nil.
func serviceOf(store *objects.Store, slice *discoveryv1.EndpointSlice) *corev1.Service {
	name, ok := slice.Labels[discoveryv1.LabelServiceName]
	if !ok {
		return nil
	}
	return objects.Get[corev1.Service](store, slice.Namespace+"/"+name)
}

// SliceInputs reads what the targets that a job has in a slice come from. ok is false
// when the slice is not selected. The caller checks that the job looks into the
// slice's namespace.
func (s *Selection) SliceInputs(store *objects.Store, slice *discoveryv1.EndpointSlice) (in SliceInputs, ok bool) {
	in = SliceInputs{Slice: slice, Service: serviceOf(store, slice)}
	if !s.SelectsSlice(&in) {
		return in, false
	}
	// Prometheus looks only into the namespaces it is given.
	in.readPods(store, s.Namespaces == nil)
	if s.AttachNode && s.Meta != nil {
		in.readNodes(store, s.EndpointsRole)
	}
	return in, true
}

// readPods finds the pods of the endpoints. foreign says whether those of other
// namespaces are seen.
func (in *SliceInputs) readPods(store *objects.Store, foreign bool) {
	in.Pods = make([]*corev1.Pod, len(in.Slice.Endpoints))
	for i := range in.Slice.Endpoints {
		ref := in.Slice.Endpoints[i].TargetRef
		if ref != nil && ref.Kind == "Pod" && (foreign || ref.Namespace == in.Slice.Namespace) {
			in.Pods[i] = objects.Get[corev1.Pod](store, ref.Namespace+"/"+ref.Name)
		}
	}
}

// readNodes finds the nodes of the endpoints. Where an endpoint is a node and names one,
// the endpointslice role takes the former and the endpoints role the latter.
func (in *SliceInputs) readNodes(store *objects.Store, endpointsRole bool) {
	in.nodes = make([]*corev1.Node, len(in.Slice.Endpoints))
	for i := range in.Slice.Endpoints {
		ep := &in.Slice.Endpoints[i]
		name := ep.NodeName
		if ref := ep.TargetRef; ref != nil && ref.Kind == "Node" && (name == nil || !endpointsRole) {
			name = &ref.Name
		}
		if name != nil {
			in.nodes[i] = objects.Get[corev1.Node](store, *name)
		}
	}
}

// SelectsSlice reports whether the selector selects a slice. It sets in.Service to nil
// where the selector hides the Service: RoleSelector selects slices and Services each by
// their own labels.
func (s *Selection) SelectsSlice(in *SliceInputs) bool {
	if _, ok := in.Slice.Labels[discoveryv1.LabelServiceName]; !ok && s.EndpointsRole {
		return false // there are no Endpoints
	}
	if s.Objects.byRole {
		if in.Service != nil && !s.Objects.Matches(in.Service.Labels) {
			in.Service = nil
		}
		return s.Objects.Matches(in.Slice.Labels)
	}
	if in.Service == nil {
		return s.Objects.Matches(nil)
	}
	return s.Objects.Matches(in.Service.Labels)
}

// AnnotatedInputs reads what the targets that an annotated Service has in one of its
// slices come from.
func AnnotatedInputs(store *objects.Store, service *corev1.Service, slice *discoveryv1.EndpointSlice) SliceInputs {
	in := SliceInputs{Slice: slice, Service: service}
	in.readPods(store, false)
	return in
}
