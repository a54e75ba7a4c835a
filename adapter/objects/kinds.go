package objects

import (
	"fmt"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// mapperResetInterval is how often at most an unknown resource makes the mapper ask
// the API server again. A CRD installed later becomes known, and requests for nonsense
// cost one discovery per half minute.
const mapperResetInterval = 30 * time.Second

// Kind is what the API knows a resource as.
type Kind struct {
	schema.GroupResource                         // plural
	GVK                  schema.GroupVersionKind // of the preferred version
	Singular             string
	Namespaced           bool
}

// Pod is the kind of pods, without a version.
func Pod() Kind {
	return Kind{GroupResource: corev1.Resource("pods"), Singular: "pod", Namespaced: true}
}

// Namespace is the kind of namespaces, without a version.
func Namespace() Kind {
	return Kind{GroupResource: corev1.Resource("namespaces"), GVK: schema.GroupVersionKind{Kind: "Namespace"}, Singular: "namespace"}
}

// Node is the kind of nodes, without a version.
func Node() Kind {
	return Kind{GroupResource: corev1.Resource("nodes"), Singular: "node"}
}

// IsPod reports whether it is the kind of pods.
func (k Kind) IsPod() bool { return k.GroupResource == corev1.Resource("pods") }

// IsService reports whether it is the kind of Services.
func (k Kind) IsService() bool { return k.GroupResource == corev1.Resource("services") }

// IsNamespace reports whether it is the kind of namespaces.
func (k Kind) IsNamespace() bool { return k.GroupResource == corev1.Resource("namespaces") }

// Kinds resolves resources, singular or plural, with or without their group.
type Kinds struct {
	mapper meta.RESTMapper
	now    func() time.Time

	mu        sync.Mutex
	lastReset time.Time
}

// NewKinds resolves by a mapper; nil is BuiltinMapper. One that can be reset is reset, at
// most every half minute, when a resource is unknown.
func NewKinds(mapper meta.RESTMapper, now func() time.Time) *Kinds {
	if mapper == nil {
		mapper = BuiltinMapper()
	}
	return &Kinds{mapper: mapper, now: now}
}

// Resolve returns meta.NoKindMatchError or NoResourceMatchError (see
// meta.IsNoMatchError) for a resource that does not exist.
func (k *Kinds) Resolve(gr schema.GroupResource) (Kind, error) {
	found, err := k.LookUp(gr)
	if meta.IsNoMatchError(err) && k.reset() {
		found, err = k.LookUp(gr)
	}
	if err != nil {
		return Kind{}, fmt.Errorf("resolve resource %s: %w", gr, err)
	}
	return found, nil
}

// OfObject is Resolve for the apiVersion and kind of an object.
func (k *Kinds) OfObject(apiVersion, kindName string) (Kind, error) {
	gvk := schema.FromAPIVersionAndKind(apiVersion, kindName)
	mapping, err := k.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) && k.reset() {
		mapping, err = k.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	}
	if err != nil {
		return Kind{}, fmt.Errorf("resolve kind %s of %s: %w", kindName, apiVersion, err)
	}
	return k.Resolve(mapping.Resource.GroupResource())
}

// MayComeLater reports whether an unknown resource may be a custom one whose CRD is not
// installed yet.
func MayComeLater(gr schema.GroupResource) bool {
	return strings.Contains(gr.Group, ".") && gr.Group != networkingv1.GroupName
}

// LookUp is Resolve that never makes the mapper ask the API server again.
func (k *Kinds) LookUp(gr schema.GroupResource) (Kind, error) {
	gvr, err := k.mapper.ResourceFor(gr.WithVersion(""))
	if err != nil {
		return Kind{}, err
	}
	gvk, err := k.mapper.KindFor(gvr)
	if err != nil {
		return Kind{}, err
	}
	mapping, err := k.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return Kind{}, err
	}
	singular, err := k.mapper.ResourceSingularizer(gvr.Resource)
	if err != nil {
		return Kind{}, err
	}
	return Kind{
		GroupResource: gvr.GroupResource(),
		GVK:           gvk,
		Singular:      singular,
		Namespaced:    mapping.Scope.Name() == meta.RESTScopeNameNamespace,
	}, nil
}

// reset makes the mapper forget what it knows, and reports whether it did.
func (k *Kinds) reset() bool {
	resettable, ok := k.mapper.(meta.ResettableRESTMapper)
	if !ok {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if now.Sub(k.lastReset) < mapperResetInterval {
		return false
	}
	k.lastReset = now
	resettable.Reset()
	return true
}

// LongName returns the resource of a short name that kubectl accepts, such as services for svc. It returns other resources
// unchanged.
func LongName(gr schema.GroupResource) schema.GroupResource {
	long, ok := map[string]string{
		"po": "pods", "svc": "services", "ns": "namespaces", "no": "nodes", "deploy": "deployments.apps", "sts": "statefulsets.apps",
		"ds": "daemonsets.apps", "rs": "replicasets.apps", "rc": "replicationcontrollers", "cm": "configmaps", "sa": "serviceaccounts",
		"cj": "cronjobs.batch", "ing": "ingresses.networking.k8s.io", "pv": "persistentvolumes", "pvc": "persistentvolumeclaims",
		"hpa": "horizontalpodautoscalers.autoscaling",
	}[gr.Resource]
	if !ok || gr.Group != "" {
		return gr
	}
	return schema.ParseGroupResource(long)
}

// BuiltinMapper knows Kubernetes' own kinds that have metrics. It needs no API server and
// never changes: without a cluster it is the only mapper, with one it answers first.
func BuiltinMapper() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	namespaced, cluster := meta.RESTScopeNamespace, meta.RESTScopeRoot
	add := func(gv schema.GroupVersion, scope meta.RESTScope, kinds ...string) {
		for _, k := range kinds {
			mapper.Add(gv.WithKind(k), scope)
		}
	}
	add(corev1.SchemeGroupVersion, cluster, "Namespace", "Node", "PersistentVolume")
	add(corev1.SchemeGroupVersion, namespaced, "Pod", "Service", "PersistentVolumeClaim", "ReplicationController", "ConfigMap", "Secret", "ServiceAccount")
	add(appsv1.SchemeGroupVersion, namespaced, "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")
	add(batchv1.SchemeGroupVersion, namespaced, "Job", "CronJob")
	add(networkingv1.SchemeGroupVersion, namespaced, "Ingress")
	add(autoscalingv2.SchemeGroupVersion, namespaced, "HorizontalPodAutoscaler")
	return mapper
}
