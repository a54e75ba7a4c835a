package client

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientdiscovery "k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/restmapper"

	"github.com/promlet/promlet/adapter/objects"
)

// described is the object, or all objects of a resource, that a metric describes.
type described struct {
	schema.GroupResource
	namespaced bool
	name       string // "": all of a namespace
}

// String returns RESOURCE/NAME, or RESOURCE.
func (d described) String() string {
	if d.name == "" {
		return d.GroupResource.String()
	}
	return d.GroupResource.String() + "/" + d.name
}

// isNamespace reports whether it is a namespace, whose metrics have a path of their own.
func (d described) isNamespace() bool { return d.Group == "" && d.Resource == "namespaces" }

// path returns the path of a metric of the object in the custom metrics API.
func (d described) path(namespace, metric string) string {
	name := cmp.Or(d.name, "*")
	switch {
	case d.isNamespace():
		return fmt.Sprintf("/apis/%s/namespaces/%s/metrics/%s", customMetricsAPI, name, metric)
	case d.namespaced:
		return fmt.Sprintf("/apis/%s/namespaces/%s/%s/%s/%s", customMetricsAPI, namespace, d.GroupResource, name, metric)
	}
	return fmt.Sprintf("/apis/%s/%s/%s/%s", customMetricsAPI, d.GroupResource, name, metric)
}

func externalPath(namespace, metric string) string {
	return fmt.Sprintf("/apis/%s/namespaces/%s/%s", externalMetricsAPI, namespace, metric)
}

// checkMetric rejects names that would change the path of a request.
func (c *connection) checkMetric(metric string) error {
	if metric == "" {
		return errors.New("name the metric")
	}
	return checkNames(c.namespace, metric)
}

func checkNames(names ...string) error {
	for _, name := range names {
		if problems := content.IsPathSegmentName(name); len(problems) > 0 {
			return fmt.Errorf("invalid name %q: it %s", name, problems[0])
		}
	}
	return nil
}

// described parses RESOURCE[/NAME], where RESOURCE is any of a resource's names.
func (c *connection) described(arg string) (described, error) {
	resource, name, named := strings.Cut(arg, "/")
	if named && name == "" {
		return described{}, fmt.Errorf("%s: name the object after the slash, or leave the slash out", arg)
	}
	if err := checkNames(resource, name); err != nil {
		return described{}, err
	}
	found, err := resolve(NewMapper(c.discovery), resource)
	found.name = name
	return found, err
}

// NewMapper returns a mapper of all resources that are installed. It knows those of
// Kubernetes itself without a request.
func NewMapper(discovery clientdiscovery.DiscoveryInterface) meta.RESTMapper {
	installed := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(discovery))
	return meta.FirstHitRESTMapper{MultiRESTMapper: meta.MultiRESTMapper{objects.BuiltinMapper(), installed}}
}

// resolve finds the resource of a name.
func resolve(mapper meta.RESTMapper, name string) (described, error) {
	resource := objects.LongName(schema.ParseGroupResource(name))
	gvk, err := mapper.KindFor(resource.WithVersion(""))
	if meta.IsNoMatchError(err) {
		return described{}, fmt.Errorf("unknown resource %s: kubectl api-resources lists all", resource)
	}
	if err != nil {
		return described{}, fmt.Errorf("resource %s: %w", resource, err)
	}
	mapping, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return described{}, fmt.Errorf("resource %s: %w", resource, err)
	}
	return described{GroupResource: mapping.Resource.GroupResource(), namespaced: mapping.Scope.Name() == meta.RESTScopeNameNamespace}, nil
}
