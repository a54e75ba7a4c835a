package objects

import (
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Owner is what owns pods.
type Owner struct{ Namespace, Group, Kind, Name string }

// ownersOf returns what owns a pod. A Deployment owns through a ReplicaSet, whose name is
// the Deployment's and the pod's template hash.
func ownersOf(pod metav1.Object) (owners []Owner) {
	for _, ref := range pod.GetOwnerReferences() {
		group := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind).Group
		owner := Owner{pod.GetNamespace(), group, ref.Kind, ref.Name}
		owners = append(owners, owner)
		hash := pod.GetLabels()[appsv1.DefaultDeploymentUniqueLabelKey]
		if name, ok := strings.CutSuffix(ref.Name, "-"+hash); ok && ref.Kind == "ReplicaSet" && hash != "" && name != "" {
			owners = append(owners, Owner{owner.Namespace, owner.Group, "Deployment", name})
		}
	}
	return owners
}

// Owners returns what owns a pod, nothing for a pod that does not exist.
func (r Reader) Owners(namespace, pod string) []Owner {
	lister, ok := r.Lister(corev1.Resource("pods"))
	if !ok {
		return nil
	}
	found, err := lister.ByNamespace(namespace).Get(pod)
	if err != nil {
		return nil // a cache knows no other error than that there is none
	}
	object, ok := found.(*corev1.Pod)
	if !ok {
		return nil
	}
	return ownersOf(object)
}

// PodsByOwner returns the pods of all namespaces that run or will run: not those that are
// being deleted or have ended.
func (r Reader) PodsByOwner() (map[Owner][]*corev1.Pod, error) {
	pods, err := r.podsOf("")
	if err != nil {
		return nil, err
	}
	owned := map[Owner][]*corev1.Pod{}
	for _, pod := range pods {
		if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		for _, owner := range ownersOf(pod) {
			owned[owner] = append(owned[owner], pod)
		}
	}
	return owned, nil
}
