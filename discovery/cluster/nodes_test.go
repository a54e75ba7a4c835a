package cluster

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/internal/runtest"
	"github.com/promlet/promlet/discovery/kubelets"
	"github.com/promlet/promlet/discovery/objects"
)

// With NodeAddresses Nodes have what kubelets are reached by, and not the rest.
func TestNodeAddresses(t *testing.T) {
	c := newFakeCluster(t)
	nodes := c.kube.CoreV1().Nodes()
	ctx := context.Background()
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"zone": "z"}},
		Spec:       corev1.NodeSpec{PodCIDR: "10.2.0.0/24"},
		Status: corev1.NodeStatus{
			Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.1.0.1"}},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: 10251}},
			Images:          []corev1.ContainerImage{{Names: []string{"an-image"}}},
		},
	}
	node, err := nodes.Create(ctx, node, metav1.CreateOptions{})
	require.NoError(t, err)
	job, err := kubelets.New(kubelets.Options{UseNodeStatusPort: true})
	require.NoError(t, err)
	o := objects.NewStore()
	src := New(c.clients(), Options{NodeAddresses: true})
	var a runtest.Applied
	start(t, discovery.New(o, discovery.Options{Kubelets: job}), src, &a)
	const rest = " instance=n1 job=kubelets metrics_path=/metrics/resource node=n1"
	runtest.EventuallyTargets(t, &a, "kubelets 10.1.0.1:10251"+rest)
	require.Empty(t, src.Problems())
	require.Equal(t, &corev1.Node{
		ObjectMeta: objects.TrimMeta(&node.ObjectMeta),
		Status:     corev1.NodeStatus{Addresses: node.Status.Addresses, DaemonEndpoints: node.Status.DaemonEndpoints},
	}, objects.Get[corev1.Node](o, "n1"))

	node = node.DeepCopy()
	node.ResourceVersion = "2"
	node.Status.Addresses[0].Address = "10.1.0.2"
	_, err = nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{})
	require.NoError(t, err)
	runtest.EventuallyTargets(t, &a, "kubelets 10.1.0.2:10251"+rest)
	require.NoError(t, nodes.Delete(ctx, "n1", metav1.DeleteOptions{}))
	runtest.EventuallyTargets(t, &a, "")
}

// Without the right to list Nodes there are no kubelets, and the problem says why; all else
// works.
func TestNodeAddressesForbidden(t *testing.T) {
	c := newFakeCluster(t)
	refuse(&c.kube.Fake, "list", "nodes")
	src := New(c.clients(), Options{NodeAddresses: true})
	d := discovery.New(objects.NewStore(), discovery.Options{})
	var a runtest.Applied
	start(t, d, src, &a)
	runtest.Eventually(t, d.HasSynced)
	require.Contains(t, src.Problems()[0], "list nodes: ")
}

// With PodRequests pods keep what they request, and without it they do not.
func TestPodRequests(t *testing.T) {
	c := newFakeCluster(t)
	requests := corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("100m")}}
	_, err := c.kube.CoreV1().Pods("default").Create(context.Background(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Resources: requests}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	for _, kept := range []bool{true, false} {
		o := objects.NewStore()
		var a runtest.Applied
		start(t, discovery.New(o, discovery.Options{}), New(c.clients(), Options{PodRequests: kept}), &a)
		require.Eventually(t, func() bool { return objects.Get[corev1.Pod](o, "default/p") != nil }, 30*time.Second, 10*time.Millisecond)
		require.Equal(t, kept, len(objects.Get[corev1.Pod](o, "default/p").Spec.Containers[0].Resources.Requests) > 0)
	}
}
