package adapter

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// mapperResetInterval is how often at most an unknown resource makes the
// mapper ask the API server again: a CRD installed later becomes known, and
// requests for nonsense cost one discovery a half minute.
const mapperResetInterval = 30 * time.Second

// kind is what the API knows a resource as.
type kind struct {
	schema.GroupResource                         // plural
	GVK                  schema.GroupVersionKind // of the preferred version
	Singular             string
	Namespaced           bool
}

// kinds resolves resources, singular or plural, with or without their group.
type kinds struct {
	mapper meta.RESTMapper
	now    func() time.Time

	mu        sync.Mutex
	lastReset time.Time
}

// resolve returns meta.NoKindMatchError or NoResourceMatchError (see
// meta.IsNoMatchError) for a resource that does not exist.
func (k *kinds) resolve(gr schema.GroupResource) (kind, error) {
	found, err := k.lookUp(gr)
	if meta.IsNoMatchError(err) && k.reset() {
		found, err = k.lookUp(gr)
	}
	if err != nil {
		return kind{}, fmt.Errorf("resolve resource %s: %w", gr, err)
	}
	return found, nil
}

// ofObject is resolve for the apiVersion and kind that name an object.
func (k *kinds) ofObject(apiVersion, kindName string) (kind, error) {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return kind{}, err
	}
	gk := gv.WithKind(kindName).GroupKind()
	mapping, err := k.mapper.RESTMapping(gk, gv.Version)
	if meta.IsNoMatchError(err) && k.reset() {
		mapping, err = k.mapper.RESTMapping(gk, gv.Version)
	}
	if err != nil {
		return kind{}, fmt.Errorf("resolve kind %s of %s: %w", kindName, apiVersion, err)
	}
	return k.resolve(mapping.Resource.GroupResource())
}

// mayComeLater tells whether a resource that is not known may be a custom one, whose
// CRD is not installed yet.
func (k *kinds) mayComeLater(gr schema.GroupResource) bool {
	return strings.Contains(gr.Group, ".") && gr.Group != "networking.k8s.io"
}

func (k *kinds) lookUp(gr schema.GroupResource) (kind, error) {
	gvr, err := k.mapper.ResourceFor(gr.WithVersion(""))
	if err != nil {
		return kind{}, err
	}
	gvk, err := k.mapper.KindFor(gvr)
	if err != nil {
		return kind{}, err
	}
	mapping, err := k.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return kind{}, err
	}
	singular, err := k.mapper.ResourceSingularizer(gvr.Resource)
	if err != nil {
		return kind{}, err
	}
	return kind{
		GroupResource: gvr.GroupResource(),
		GVK:           gvk,
		Singular:      singular,
		Namespaced:    mapping.Scope.Name() == meta.RESTScopeNameNamespace,
	}, nil
}

// reset makes the mapper forget what it knows, when it can and may.
func (k *kinds) reset() bool {
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

// BuiltinMapper knows the kinds of Kubernetes itself that metrics are asked
// for. It needs no API server and never changes: without a cluster it is all
// there is, with one it answers first.
func BuiltinMapper() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	namespaced, cluster := meta.RESTScopeNamespace, meta.RESTScopeRoot
	add := func(group, version string, scope meta.RESTScope, kinds ...string) {
		for _, k := range kinds {
			mapper.Add(schema.GroupVersionKind{Group: group, Version: version, Kind: k}, scope)
		}
	}
	add("", "v1", cluster, "Namespace", "Node", "PersistentVolume")
	add("", "v1", namespaced, "Pod", "Service", "PersistentVolumeClaim", "ReplicationController", "ConfigMap", "Secret", "ServiceAccount")
	add("apps", "v1", namespaced, "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")
	add("batch", "v1", namespaced, "Job", "CronJob")
	add("networking.k8s.io", "v1", namespaced, "Ingress")
	add("autoscaling", "v2", namespaced, "HorizontalPodAutoscaler")
	return mapper
}
