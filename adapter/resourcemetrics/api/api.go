package api

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/metrics/pkg/apis/metrics"
	"k8s.io/metrics/pkg/apis/metrics/install"
	metricsv1 "k8s.io/metrics/pkg/apis/metrics/v1"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/resourcemetrics"
)

// ResourceMetrics answers requests for metrics.k8s.io.
type ResourceMetrics struct {
	// Source gives the values. Required.
	Source resourcemetrics.Source
	// Lister lists the pods and nodes that exist. Others have no metrics. Required.
	Lister objects.Lister
}

// Group returns the API group to install in an API server.
func (r ResourceMetrics) Group() *genericapiserver.APIGroupInfo {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	group := genericapiserver.NewDefaultAPIGroupInfo(metrics.GroupName, scheme, metav1.ParameterCodec, serializer.NewCodecFactory(scheme))
	for _, version := range []schema.GroupVersion{metricsv1.SchemeGroupVersion, metricsv1beta1.SchemeGroupVersion} {
		group.VersionedResourcesStorageMap[version.Version] = map[string]rest.Storage{"nodes": &nodes{resource: resource{r}}, "pods": &pods{resource: resource{r}}}
	}
	return &group
}
