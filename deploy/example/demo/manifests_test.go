package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

const shippedDir = ".."

func decode(t *testing.T, b []byte, into any) {
	t.Helper()
	require.NoError(t, yaml.UnmarshalStrict(b, into), "%s", b)
}

func file(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return b
}

// The shipped manifests must fit together, or nothing is scraped.
func TestShippedManifestsFit(t *testing.T) {
	var deployment appsv1.Deployment
	var monitor monitoringv1.ServiceMonitor
	decode(t, file(t, filepath.Join(shippedDir, "deployment.yaml")), &deployment)
	decode(t, file(t, filepath.Join(shippedDir, "servicemonitor.yaml")), &monitor)
	e, err := readExample(shippedDir)
	require.NoError(t, err)

	for _, o := range []metav1.ObjectMeta{deployment.ObjectMeta, monitor.ObjectMeta, e.service.ObjectMeta, e.hpa.ObjectMeta} {
		require.Equal(t, "sample-metrics-app", o.Name)
		require.Equal(t, "default", o.Namespace)
	}
	pod := deployment.Spec.Template
	require.Equal(t, deployment.Spec.Selector.MatchLabels, pod.Labels)
	require.True(t, labels.SelectorFromSet(e.service.Spec.Selector).Matches(labels.Set(pod.Labels)))
	selects, err := metav1.LabelSelectorAsSelector(&monitor.Spec.Selector)
	require.NoError(t, err)
	require.True(t, selects.Matches(labels.Set(e.service.Labels)))

	port := e.service.Spec.Ports[0]
	require.Equal(t, port.Name, monitor.Spec.Endpoints[0].Port)
	require.Equal(t, port.TargetPort.StrVal, pod.Spec.Containers[0].Ports[0].Name)
	require.Equal(t, "web", port.TargetPort.StrVal)
	require.EqualValues(t, 2, *deployment.Spec.Replicas)
	container := pod.Spec.Containers[0]
	require.True(t, *pod.Spec.SecurityContext.RunAsNonRoot)
	require.True(t, *container.SecurityContext.ReadOnlyRootFilesystem)
	require.Equal(t, "web", container.ReadinessProbe.HTTPGet.Port.StrVal)
	require.NotEmpty(t, container.Resources.Limits)

	require.Equal(t, deployment.Name, e.hpa.Spec.ScaleTargetRef.Name)
	require.EqualValues(t, 2, *e.hpa.Spec.MinReplicas)
	require.EqualValues(t, 10, e.hpa.Spec.MaxReplicas)
	metric := e.hpa.Spec.Metrics[0].Object
	require.Equal(t, "http_requests", metric.Metric.Name)
	require.Equal(t, autoscalingv2.ValueMetricType, metric.Target.Type)
	require.Equal(t, "100", metric.Target.Value.String())
	require.Equal(t, "services", resourceOf(metric.DescribedObject))

	var kustomization struct{ Resources []string }
	require.NoError(t, yaml.Unmarshal(file(t, filepath.Join(shippedDir, "kustomization.yaml")), &kustomization))
	files, err := filepath.Glob(filepath.Join(shippedDir, "*.yaml"))
	require.NoError(t, err)
	require.Len(t, kustomization.Resources, len(files)-1)
	for _, name := range kustomization.Resources {
		require.FileExists(t, filepath.Join(shippedDir, name))
	}
}

func TestWriteManifests(t *testing.T) {
	e, err := readExample(shippedDir)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, e.write(dir, shippedDir, []string{"127.0.0.1:4001", "127.0.0.1:4002"}))
	require.Equal(t, []string{"sample-metrics-app-1", "sample-metrics-app-2"}, e.pods)
	for _, name := range shipped {
		require.Equal(t, file(t, filepath.Join(shippedDir, name)), file(t, filepath.Join(dir, name)))
	}
	for i, name := range e.pods {
		docs := strings.Split(string(file(t, filepath.Join(dir, name+".yaml"))), "---\n")
		require.Len(t, docs, 2)
		var pod corev1.Pod
		var slice discoveryv1.EndpointSlice
		decode(t, []byte(docs[0]), &pod)
		decode(t, []byte(docs[1]), &slice)
		port := int32(4001 + i)

		require.Equal(t, name, pod.Name)
		require.Equal(t, "default", pod.Namespace)
		require.Equal(t, map[string]string{"app": "sample-metrics-app", "pod-template-hash": "demo"}, pod.Labels)
		require.Equal(t, "sample-metrics-app-demo", pod.OwnerReferences[0].Name, "a ReplicaSet of the Deployment that the HPA scales")
		require.Equal(t, "127.0.0.1", pod.Status.PodIP)
		require.Equal(t, corev1.PodRunning, pod.Status.Phase)
		require.Equal(t, corev1.ConditionTrue, pod.Status.Conditions[0].Status)
		require.Equal(t, []corev1.ContainerPort{{Name: "web", ContainerPort: port}}, pod.Spec.Containers[0].Ports)

		require.Equal(t, "sample-metrics-app", slice.Labels["kubernetes.io/service-name"])
		require.Equal(t, []string{"127.0.0.1"}, slice.Endpoints[0].Addresses)
		require.True(t, *slice.Endpoints[0].Conditions.Ready)
		require.Equal(t, name, slice.Endpoints[0].TargetRef.Name)
		require.Equal(t, "web", *slice.Ports[0].Name)
		require.Equal(t, port, *slice.Ports[0].Port)
	}
	require.Error(t, e.write(dir, shippedDir, []string{"127.0.0.1"}))
	require.Error(t, e.write(dir, shippedDir, []string{"127.0.0.1:web"}))
	require.Error(t, e.write(dir, t.TempDir(), nil))
	require.Error(t, e.write(filepath.Join(dir, "none"), shippedDir, nil))
}

func TestBadExamples(t *testing.T) {
	f := func(message string, change map[string]func(string) string) {
		t.Helper()
		dir := t.TempDir()
		for _, name := range shipped {
			text := string(file(t, filepath.Join(shippedDir, name)))
			if c := change[name]; c != nil {
				text = c(text)
			}
			if text != "" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
			}
		}
		_, err := readExample(dir)
		require.ErrorContains(t, err, message)
		require.ErrorContains(t, err, dir)
	}
	swap := func(old, now string) func(string) string {
		return func(s string) string { return strings.ReplaceAll(s, old, now) }
	}
	f("service.yaml: no such file", map[string]func(string) string{"service.yaml": func(string) string { return "" }})
	f(`unknown field "maxReplica"`, map[string]func(string) string{"hpa.yaml": swap("maxReplicas", "maxReplica")})
	f(`is a "Deployment", not a Service`, map[string]func(string) string{"service.yaml": swap("kind: Service", "kind: Deployment")})
	f("the same namespace", map[string]func(string) string{"hpa.yaml": swap("namespace: default", "namespace: other")})
	f("needs a port", map[string]func(string) string{"service.yaml": func(s string) string { before, _, _ := strings.Cut(s, "spec:"); return before }})
}
