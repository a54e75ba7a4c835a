package resources

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/promlet/promlet/bench/internal/harness"
)

const (
	namespace = "team"
	// creators is how many requests create objects at once.
	creators = 8
	// variables is how many environment variables each container has. Pods of real clusters are large, and whoever
	// watches them reads all of them.
	variables = 20
)

// newCluster returns a client with all rights, once pods can be created in the namespace.
func newCluster(ctx context.Context, config *rest.Config) (kubernetes.Interface, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	for { // the namespace's ServiceAccount is created a moment after the namespace
		_, err := client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		if err == nil {
			return client, nil
		}
		if !apierrors.IsNotFound(err) || harness.Sleep(ctx, 100*time.Millisecond) != nil {
			return nil, err
		}
	}
}

// register creates the Node of a kubelet and its Pods, which run.
func (k *kubelet) register(ctx context.Context, client kubernetes.Interface) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: k.node.name}, Status: corev1.NodeStatus{
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: k.port()}},
		Conditions:      []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"}},
	}}
	if _, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create node %s: %w", node.Name, err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(creators)
	for _, m := range k.pods {
		group.Go(func() error {
			created, err := client.CoreV1().Pods(namespace).Create(ctx, k.podObject(m), metav1.CreateOptions{})
			if err != nil {
				return fmt.Errorf("create pod %s: %w", m.name, err)
			}
			created.Status.Phase = corev1.PodRunning // metrics-server asks for those that run
			if _, err := client.CoreV1().Pods(namespace).UpdateStatus(ctx, created, metav1.UpdateOptions{}); err != nil {
				return fmt.Errorf("run pod %s: %w", m.name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (k *kubelet) podObject(m *measured) *corev1.Pod {
	no := false
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: m.name, Labels: map[string]string{
			"app.kubernetes.io/name": "application", "app.kubernetes.io/instance": "application", "pod-template-hash": "7d764666f9",
		}},
		Spec: corev1.PodSpec{NodeName: k.node.name, AutomountServiceAccountToken: &no},
	}
	for i := range m.meters {
		container := corev1.Container{Name: containerName(i), Image: "registry.example.com/team/application:v1.2.3"}
		for v := range variables {
			container.Env = append(container.Env, corev1.EnvVar{Name: fmt.Sprintf("APPLICATION_SETTING_%d", v), Value: "a value of some length"})
		}
		pod.Spec.Containers = append(pod.Spec.Containers, container)
	}
	return pod
}
