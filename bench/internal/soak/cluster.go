package soak

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/promlet/promlet/bench/controlplane"
	"github.com/promlet/promlet/bench/internal/harness"
)

const namespace = "soak"

// cluster is what is in the API server.
type cluster struct {
	client kubernetes.Interface
	fleet  *fleet

	mu sync.Mutex // held while something changes
}

func newCluster(ctx context.Context, plane *controlplane.Plane, f *fleet) (*cluster, error) {
	client, err := kubernetes.NewForConfig(plane.Config())
	if err != nil {
		return nil, err
	}
	c := &cluster{client: client, fleet: f}
	apply := func(cmd *exec.Cmd, stdin string) error {
		cmd.Stdin = strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	const crds = "deploy/components/crds/"
	if err := apply(plane.Kubectl(ctx, "apply", "--server-side", "-f", crds+"servicemonitors.yaml", "-f", crds+"podmonitors.yaml"), ""); err != nil {
		return nil, err
	}
	if err := apply(plane.Kubectl(ctx, "wait", "--for=condition=Established", "--timeout=1m", "crd/servicemonitors.monitoring.coreos.com"), ""); err != nil {
		return nil, err
	}
	if err := apply(plane.Kubectl(ctx, "apply", "--server-side", "-f", "-"), objects(f.url)); err != nil {
		return nil, err
	}
	for i := range pods {
		if err := c.addPod(ctx, fmt.Sprint("s", i%services)); err != nil {
			return nil, err
		}
	}
	for i := range services {
		for _, metric := range []string{rateMetric, gaugeMetric} {
			if err := c.addHPA(ctx, fmt.Sprintf("stays-%d-%s", i, strings.ReplaceAll(metric, "_", "-")), i, metric); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// objects are those that stay.
func objects(proxy string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: v1
kind: Node
metadata: {name: %[2]s}
---
apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: %[1]s, namespace: %[1]s}
spec: {selector: {matchLabels: {soak: "yes"}}, endpoints: [{port: web, proxyUrl: %[3]q}]}
`, namespace, controlplane.NodeName, proxy)
	for i := range services {
		fmt.Fprintf(&b, `---
apiVersion: v1
kind: Service
metadata: {name: s%[2]d, namespace: %[1]s, labels: {soak: "yes"}}
spec: {selector: {app: s%[2]d}, ports: [{name: web, port: 80, targetPort: web}]}
`, namespace, i)
	}
	return b.String()
}

// addPod makes a pod that is ready.
func (c *cluster) addPod(ctx context.Context, service string) error {
	p := c.fleet.add(service)
	no := false
	object := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: p.name, Labels: map[string]string{"app": service}},
		Spec: corev1.PodSpec{
			NodeName: controlplane.NodeName, AutomountServiceAccountToken: &no,
			Containers: []corev1.Container{{Name: "app", Image: "app", Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: port}}}},
		},
	}
	for { // the namespace's ServiceAccount comes a moment after it
		_, err := c.client.CoreV1().Pods(namespace).Create(ctx, object, metav1.CreateOptions{})
		if err == nil {
			break
		}
		if !apierrors.IsForbidden(err) || harness.Sleep(ctx, 100*time.Millisecond) != nil {
			return err
		}
	}
	now := metav1.Now()
	status := corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: p.ip, PodIPs: []corev1.PodIP{{IP: p.ip}}, StartTime: &now,
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: now}},
	}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	if _, err := c.client.CoreV1().Pods(namespace).Patch(ctx, p.name, types.MergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
		return err
	}
	c.fleet.ready(p)
	return nil
}

// replacePod removes a pod and makes another of its Service.
func (c *cluster) replacePod(ctx context.Context, _ int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.fleet.any()
	now := int64(0)
	if err := c.client.CoreV1().Pods(namespace).Delete(ctx, p.name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		return err
	}
	c.fleet.remove(p)
	return c.addPod(ctx, p.service)
}

// replaceHPA makes an HPA, and removes one that has been there for a minute.
func (c *cluster) replaceHPA(ctx context.Context, n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := n - 6; old >= 0 {
		if err := c.client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Delete(ctx, fmt.Sprint("goes-", old), metav1.DeleteOptions{}); err != nil {
			return err
		}
	}
	return c.addHPA(ctx, fmt.Sprint("goes-", n), n%services, []string{rateMetric, churning}[n%2])
}

// addHPA makes an HPA that reads a metric of a Service, and scales nothing.
func (c *cluster) addHPA(ctx context.Context, name string, service int, metric string) error {
	target := resource.MustParse("100k")
	_, err := c.client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Create(ctx, &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "nothing"},
			MaxReplicas:    2,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
				DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: fmt.Sprint("s", service)},
				Metric:          autoscalingv2.MetricIdentifier{Name: metric},
				Target:          autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: &target},
			}}},
		},
	}, metav1.CreateOptions{})
	return err
}
