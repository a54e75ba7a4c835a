package cluster

import (
	"context"
	"errors"
	"sync"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/promlet/promlet/discovery/internal/storetest"
	"github.com/promlet/promlet/discovery/objects"
)

// fakeCluster is an API server in the form of client-go's fake clients.
type fakeCluster struct {
	kube     *fake.Clientset
	dynamic  *dynamicfake.FakeDynamicClient
	metadata *metadatafake.FakeMetadataClient

	mtx    sync.Mutex
	crds   []string // resources of monitoring.coreos.com/v1
	crdErr error
}

// kubeWithCRDs is a clientset whose discovery tells of the CRDs that there are now.
type kubeWithCRDs struct {
	*fake.Clientset
	cluster *fakeCluster
}

func (k kubeWithCRDs) Discovery() discovery.DiscoveryInterfaces {
	return crdDiscovery{k.Clientset.Discovery(), k.cluster}
}

type crdDiscovery struct {
	discovery.DiscoveryInterfaces
	cluster *fakeCluster
}

func (d crdDiscovery) ServerResourcesForGroupVersionWithContext(_ context.Context, gv string) (*metav1.APIResourceList, error) {
	d.cluster.mtx.Lock()
	defer d.cluster.mtx.Unlock()
	switch {
	case d.cluster.crdErr != nil:
		return nil, d.cluster.crdErr
	case gv != "monitoring.coreos.com/v1" || len(d.cluster.crds) == 0:
		return nil, apierrors.NewNotFound(schema.GroupResource{}, gv)
	}
	list := &metav1.APIResourceList{GroupVersion: gv}
	for _, name := range d.cluster.crds {
		list.APIResources = append(list.APIResources, metav1.APIResource{Name: name})
	}
	return list, nil
}

// newFakeCluster holds the objects of YAML texts; monitors among them are there
// whether or not their CRDs are.
func newFakeCluster(t *testing.T, texts ...string) *fakeCluster {
	t.Helper()
	o := storetest.Load(t, texts...)
	c := &fakeCluster{}
	var core, meta []runtime.Object
	for _, indexer := range storetest.All(o) {
		for _, obj := range indexer.List() {
			switch x := obj.(type) {
			case *corev1.Node:
				meta = append(meta, &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}, ObjectMeta: x.ObjectMeta})
			case *corev1.Namespace:
				meta = append(meta, &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: x.ObjectMeta})
			case *monitoringv1.ServiceMonitor, *monitoringv1.PodMonitor:
			default:
				core = append(core, obj.(runtime.Object))
			}
		}
	}
	c.kube = fake.NewClientset(core...)
	scheme := metadatafake.NewTestScheme()
	require.NoError(t, metav1.AddMetaToScheme(scheme))
	c.metadata = metadatafake.NewSimpleMetadataClient(scheme, meta...)
	c.dynamic = dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		monitoringv1.SchemeGroupVersion.WithResource("servicemonitors"): "ServiceMonitorList",
		monitoringv1.SchemeGroupVersion.WithResource("podmonitors"):     "PodMonitorList",
	})
	for _, m := range objects.List[monitoringv1.ServiceMonitor](o, nil) {
		c.createMonitor(t, "servicemonitors", "ServiceMonitor", m)
	}
	for _, m := range objects.List[monitoringv1.PodMonitor](o, nil) {
		c.createMonitor(t, "podmonitors", "PodMonitor", m)
	}
	return c
}

func (c *fakeCluster) createMonitor(t *testing.T, resource, kind string, obj runtime.Object) {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	require.NoError(t, err)
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(monitoringv1.SchemeGroupVersion.WithKind(kind))
	c.create(t, resource, u)
}

func (c *fakeCluster) create(t *testing.T, resource string, u *unstructured.Unstructured) {
	t.Helper()
	_, err := c.dynamic.Resource(monitoringv1.SchemeGroupVersion.WithResource(resource)).
		Namespace(u.GetNamespace()).Create(context.Background(), u, metav1.CreateOptions{})
	require.NoError(t, err)
}

func (c *fakeCluster) setCRDs(names ...string) {
	c.mtx.Lock()
	defer c.mtx.Unlock()
	c.crds = names
}

func (c *fakeCluster) setCRDError(err error) {
	c.mtx.Lock()
	defer c.mtx.Unlock()
	c.crdErr = err
}

func (c *fakeCluster) clients() Clients {
	return Clients{Kubernetes: kubeWithCRDs{c.kube, c}, Dynamic: c.dynamic, Metadata: c.metadata}
}

// refusal makes a verb on a resource fail with 403 while it is on.
type refusal struct {
	mtx sync.Mutex
	on  bool
}

func (r *refusal) set(on bool) {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	r.on = on
}

func (r *refusal) err(resource string) error {
	r.mtx.Lock()
	defer r.mtx.Unlock()
	if !r.on {
		return nil
	}
	return apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", errors.New("no RBAC rule"))
}

func refuse(f *clienttesting.Fake, verb, resource string) *refusal {
	r := &refusal{on: true}
	if verb == "watch" {
		f.PrependWatchReactor(resource, func(clienttesting.Action) (bool, watch.Interface, error) {
			err := r.err(resource)
			return err != nil, nil, err
		})
		return r
	}
	f.PrependReactor(verb, resource, func(clienttesting.Action) (bool, runtime.Object, error) {
		err := r.err(resource)
		return err != nil, nil, err
	})
	return r
}
