package api

import (
	"context"

	corev1 "k8s.io/api/core/v1"
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

// Source gives values. It is safe for concurrent use. A resourcemetrics.Store is one.
type Source interface {
	// PodMetrics returns the values of those pods that have some, in their order. The pods are only read.
	PodMetrics(ctx context.Context, pods []*corev1.Pod) ([]metrics.PodMetrics, error)
	// NodeMetrics returns the values of those nodes that have some, in their order. The nodes are only read.
	NodeMetrics(ctx context.Context, nodes []*corev1.Node) ([]metrics.NodeMetrics, error)
	// Pod and Node report why one has no value.
	Pod(pod *corev1.Pod) resourcemetrics.Report
	Node(name string) resourcemetrics.Report
}

// ResourceMetrics answer requests for metrics.k8s.io.
type ResourceMetrics struct {
	// Source gives the values. Required.
	Source Source
	// Lister gives the pods and nodes that exist; others have no metrics. Required.
	Lister objects.Lister
}

// Group returns the API group to install in a server.
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
