package deploy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/adapter/apiserver"
)

// Shards scrape, and are not endpoints of the Service of the APIServices. The Deployment queries the engine.
func TestSharded(t *testing.T) {
	objects := overlay(t, withComponents("high-availability", "sharded"), nil)
	shards := find[appsv1.StatefulSet](t, objects, "StatefulSet promlet/promlet-shard")
	deployment := find[appsv1.Deployment](t, objects, "Deployment promlet/promlet")
	pod, asking := shards.Spec.Template.Spec, deployment.Spec.Template.Spec
	container := pod.Containers[0]

	env := map[string]corev1.EnvVar{}
	for _, e := range container.Env {
		env[e.Name] = e
	}
	require.Contains(t, container.Args, "--shard=$(POD_INDEX)/$(SHARDS)")
	require.Equal(t, "metadata.labels['apps.kubernetes.io/pod-index']", env["POD_INDEX"].ValueFrom.FieldRef.FieldPath)
	require.Equal(t, "4", env["SHARDS"].Value)
	require.Equal(t, int32(4), *shards.Spec.Replicas, "as many as SHARDS")
	require.Equal(t, "metadata.name", env["POD_NAME"].ValueFrom.FieldRef.FieldPath)
	require.Zero(t, shards.Spec.Ordinals, "the first is 0")
	require.Equal(t, asking.Containers[0].Image, container.Image)

	// The pods have the same restrictions, probes and priority as the Deployment's.
	other := asking.Containers[0]
	require.Equal(t, asking.SecurityContext, pod.SecurityContext)
	require.Equal(t, other.SecurityContext, container.SecurityContext)
	require.Equal(t, other.Ports, container.Ports)
	require.Equal(t, []*corev1.Probe{other.StartupProbe, other.ReadinessProbe, other.LivenessProbe}, []*corev1.Probe{container.StartupProbe, container.ReadinessProbe, container.LivenessProbe})
	require.Equal(t, other.Resources, container.Resources)
	require.Equal(t, asking.PriorityClassName, pod.PriorityClassName)
	require.Equal(t, "promlet-shard", pod.ServiceAccountName)

	// No selector matches the pods of both.
	require.Equal(t, shards.Spec.Selector.MatchLabels, find[corev1.Service](t, objects, "Service promlet/"+shards.Spec.ServiceName).Spec.Selector)
	require.Equal(t, shards.Spec.Selector, find[policyv1.PodDisruptionBudget](t, objects, "PodDisruptionBudget promlet/promlet-shard").Spec.Selector)
	require.Equal(t, *shards.Spec.Selector, find[networkingv1.NetworkPolicy](t, objects, "NetworkPolicy promlet/promlet-shard").Spec.PodSelector)
	require.Subset(t, shards.Spec.Template.Labels, shards.Spec.Selector.MatchLabels)
	require.NotSubset(t, shards.Spec.Template.Labels, deployment.Spec.Selector.MatchLabels)
	for _, o := range objects {
		if strings.HasSuffix(o.GetName(), "-shard") {
			require.Equal(t, "promlet-shard", o.GetLabels()["app.kubernetes.io/name"], name(o))
			require.Equal(t, "promlet", o.GetLabels()["app.kubernetes.io/instance"], name(o))
		}
	}

	engine := find[corev1.ConfigMap](t, objects, "ConfigMap promlet/promlet-engine")
	require.Contains(t, other.Args, "--prometheus-url=$(PROMETHEUS_URL)")
	asked := other.Env[len(other.Env)-1]
	require.Equal(t, "PROMETHEUS_URL", asked.Name)
	require.Equal(t, engine.Name, asked.ValueFrom.ConfigMapKeyRef.Name)
	require.Contains(t, engine.Data, asked.ValueFrom.ConfigMapKeyRef.Key)
	configured := pod.Volumes[1].ConfigMap
	require.Equal(t, engine.Name, configured.Name)
	require.Contains(t, container.Args, "--config="+filepath.Join(container.VolumeMounts[1].MountPath, configured.Items[0].Path))
	var file struct {
		RemoteWrite []struct{ URL string }
		Keep        []string
	}
	require.NoError(t, yaml.UnmarshalStrict([]byte(engine.Data[configured.Items[0].Key]), &file))
	require.NotEmpty(t, file.RemoteWrite[0].URL)
}

// The permissions of the shards, and those of the Deployment with them.
func TestPermissionsOfShardsAreTheLeast(t *testing.T) {
	of := map[string][]*unstructured.Unstructured{} // roles, and the bindings of an account
	for _, o := range overlay(t, withComponents("sharded"), nil) {
		switch o.GetKind() {
		case "RoleBinding", "ClusterRoleBinding":
			account := find[rbacv1.ClusterRoleBinding](t, []*unstructured.Unstructured{o}, name(o)).Subjects[0].Name
			of[account] = append(of[account], o)
		case "Role", "ClusterRole":
			for _, account := range []string{"promlet", "promlet-shard"} {
				of[account] = append(of[account], o)
			}
		}
	}
	require.Len(t, of, 2)
	require.ElementsMatch(t, []string{
		"ClusterRole system:auth-delegator", "create events", "patch events",
		"list endpointslices.discovery.k8s.io", "list horizontalpodautoscalers.autoscaling", "list namespaces", "list nodes", "list pods",
		"list podmonitors.monitoring.coreos.com", "list servicemonitors.monitoring.coreos.com", "list services",
		"watch endpointslices.discovery.k8s.io", "watch horizontalpodautoscalers.autoscaling", "watch namespaces", "watch nodes", "watch pods",
		"watch podmonitors.monitoring.coreos.com", "watch servicemonitors.monitoring.coreos.com", "watch services",
	}, permissions(t, of["promlet-shard"], "promlet-shard"))
	var less []string
	for _, may := range permissions(t, read(t, "install.yaml"), "promlet") {
		if !strings.Contains(may, "monitoring.coreos.com") {
			less = append(less, may)
		}
	}
	require.ElementsMatch(t, less, permissions(t, of["promlet"], "promlet"))
}

// KEDA keeps external.metrics.k8s.io, and queries promlet through the Service, with the certificate verified.
func TestBesideKEDA(t *testing.T) {
	install, example := read(t, "install.yaml"), read(t, "example/keda.yaml")
	for _, o := range install {
		require.NotContains(t, o.GetName(), "external.metrics", name(o))
	}
	var scaled struct {
		Spec struct {
			ScaleTargetRef struct{ Name string }
			Triggers       []struct {
				Type              string
				Metadata          map[string]string
				AuthenticationRef struct{ Name string }
			}
		}
	}
	var authentication struct {
		Spec struct {
			SecretTargetRef, ConfigMapTargetRef []struct{ Parameter, Name, Key string }
		}
	}
	for _, o := range example {
		for kind, into := range map[string]any{"ScaledObject": &scaled, "TriggerAuthentication": &authentication} {
			if o.GetKind() == kind {
				written, err := o.MarshalJSON()
				require.NoError(t, err)
				require.NoError(t, yaml.Unmarshal(written, into))
			}
		}
	}
	require.Len(t, scaled.Spec.Triggers, 1)
	trigger := scaled.Spec.Triggers[0]
	service := find[corev1.Service](t, install, "Service promlet/promlet")
	require.Equal(t, "prometheus", trigger.Type)
	require.Equal(t, "https://"+service.Name+"."+service.Namespace+".svc"+apiserver.QueryPrefix, trigger.Metadata["serverAddress"])
	require.Equal(t, "bearer", trigger.Metadata["authModes"])
	require.Equal(t, "false", trigger.Metadata["ignoreNullValues"], "no value is not 0")
	require.NotContains(t, trigger.Metadata, "unsafeSsl")
	require.Equal(t, "bearerToken", authentication.Spec.SecretTargetRef[0].Parameter)
	require.Equal(t, "ca", authentication.Spec.ConfigMapTargetRef[0].Parameter)
	token := find[corev1.Secret](t, example, "Secret default/"+authentication.Spec.SecretTargetRef[0].Name)
	require.Equal(t, corev1.SecretTypeServiceAccountToken, token.Type)
	binding := find[rbacv1.ClusterRoleBinding](t, example, "ClusterRoleBinding keda-promlet")
	require.Equal(t, find[rbacv1.ClusterRole](t, install, "ClusterRole promlet-query-reader").Name, binding.RoleRef.Name)
	require.Equal(t, []rbacv1.Subject{{Kind: "ServiceAccount", Name: token.Annotations[corev1.ServiceAccountNameKey], Namespace: token.Namespace}}, binding.Subjects)
	application, err := os.ReadFile("example/hpa.yaml")
	require.NoError(t, err)
	require.Contains(t, string(application), "name: "+scaled.Spec.ScaleTargetRef.Name+"\n", "it stands in for this")
}
