// Package deploy_test holds what is true of the manifests without a cluster.
package deploy_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	yamlutil "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/adapter/apiserver"
	"github.com/promlet/promlet/tsdb/httpapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// split parses a file of YAML documents, refusing keys that are given twice.
func split(t *testing.T, data []byte) []*unstructured.Unstructured {
	t.Helper()
	var objects []*unstructured.Unstructured
	reader := yamlutil.NewDocumentDecoder(io.NopCloser(bytes.NewReader(data)))
	document := make([]byte, len(data)+1)
	for {
		n, err := reader.Read(document)
		if errors.Is(err, io.EOF) {
			return objects
		}
		require.NoError(t, err)
		var content map[string]any
		require.NoError(t, yaml.UnmarshalStrict(document[:n], &content))
		if len(content) > 0 { // a comment alone is a document, too
			objects = append(objects, &unstructured.Unstructured{Object: content})
		}
	}
}

func read(t *testing.T, path string) []*unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return split(t, data)
}

// name is how an object is told from others: Kind [namespace/]name.
func name(o *unstructured.Unstructured) string {
	return o.GetKind() + " " + filepath.Join(o.GetNamespace(), o.GetName())
}

// find decodes the object of that name into a type of Kubernetes.
func find[T any](t *testing.T, objects []*unstructured.Unstructured, wanted string) T {
	t.Helper()
	var object T
	i := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return name(o) == wanted })
	require.GreaterOrEqual(t, i, 0, "there is no %s", wanted)
	require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(objects[i].Object, &object))
	return object
}

func TestInstallIsWhole(t *testing.T) {
	var names []string
	for _, o := range read(t, "install.yaml") {
		names = append(names, name(o))
	}
	require.ElementsMatch(t, []string{
		"Namespace promlet",
		"PriorityClass promlet",
		"ServiceAccount promlet/promlet",
		"ClusterRole promlet",
		"ClusterRoleBinding promlet",
		"ClusterRoleBinding promlet-auth-delegator",
		"RoleBinding kube-system/promlet-auth-reader",
		"ClusterRole promlet-apiservices",
		"ClusterRoleBinding promlet-apiservices",
		"Role promlet/promlet-serving-cert",
		"RoleBinding promlet/promlet-serving-cert",
		"Secret promlet/promlet-serving-cert",
		"ClusterRole promlet-view",
		"ClusterRole promlet-query-reader",
		"Service promlet/promlet",
		"Deployment promlet/promlet",
		"PodDisruptionBudget promlet/promlet",
		"NetworkPolicy promlet/promlet",
		"APIService v1beta1.custom.metrics.k8s.io",
		"APIService v1beta2.custom.metrics.k8s.io",
	}, names)
	require.Equal(t, "Namespace promlet", names[0], "kubectl applies in this order, and the rest needs the namespace")
}

// A field that no Kubernetes type has would be dropped by the API server.
func TestManifestsAreOfKubernetesTypes(t *testing.T) {
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	paths, err := filepath.Glob("components/*/*.yaml")
	require.NoError(t, err)
	decoded := 0
	for _, path := range append(paths, "install.yaml") {
		if filepath.Base(path) == "kustomization.yaml" {
			continue
		}
		for _, o := range read(t, path) {
			if !scheme.Scheme.Recognizes(o.GroupVersionKind()) {
				require.Contains(t, []string{"APIService", "CustomResourceDefinition", "ServiceMonitor", "PodMonitor", "PrometheusRule"}, o.GetKind(), path)
				continue
			}
			data, err := o.MarshalJSON()
			require.NoError(t, err)
			_, _, err = strict.Decode(data, nil, nil)
			require.NoError(t, err, "%s: %s", path, name(o))
			decoded++
		}
	}
	require.Greater(t, decoded, 15)
}

func TestLabels(t *testing.T) {
	for _, path := range []string{
		"install.yaml", "components/persistence/persistentvolumeclaim.yaml", "components/scrape-secrets/rbac.yaml",
		"components/external-metrics/apiservice.yaml", "components/external-metrics/rbac.yaml",
		"components/resource-metrics/apiservice.yaml", "components/resource-metrics/rbac.yaml",
		"components/self-monitoring/rbac.yaml", "components/self-monitoring/reader.yaml", "components/self-monitoring/servicemonitor.yaml",
		"components/self-monitoring-pods/podmonitor.yaml", "components/alerts/prometheusrule.yaml",
	} {
		for _, o := range read(t, path) {
			for label, value := range map[string]string{"name": "promlet", "instance": "promlet", "component": "metrics-adapter"} {
				require.Equal(t, value, o.GetLabels()["app.kubernetes.io/"+label], "%s: %s", path, name(o))
			}
		}
	}
}

func TestNamespaceIsRestricted(t *testing.T) {
	ns := find[corev1.Namespace](t, read(t, "install.yaml"), "Namespace promlet")
	require.Equal(t, "restricted", ns.Labels["pod-security.kubernetes.io/enforce"])
}

// promlet proves who it is to the API server, everywhere and always.
func TestNothingSkipsVerification(t *testing.T) {
	checked := 0
	require.NoError(t, filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yaml" {
			return err
		}
		data, err := os.ReadFile(path)
		checked++
		require.NotContains(t, string(data), "insecureSkipTLSVerify", path)
		if !strings.HasPrefix(path, chartDir) && !strings.HasPrefix(path, "testdata/chart") { // TestChartIsTheKustomization has these
			require.NotContains(t, string(data), "caBundle:", path, "promlet's to write: a value here would take it away at each apply")
		}
		return err
	}))
	require.Greater(t, checked, 20)
}

func TestAPIServicesReachTheDeployment(t *testing.T) {
	objects := append(read(t, "install.yaml"), read(t, "components/external-metrics/apiservice.yaml")...)
	service := find[corev1.Service](t, objects, "Service promlet/promlet")
	deployment := find[appsv1.Deployment](t, objects, "Deployment promlet/promlet")
	pod := deployment.Spec.Template
	require.Equal(t, service.Spec.Selector, deployment.Spec.Selector.MatchLabels)
	require.Subset(t, pod.Labels, service.Spec.Selector)
	require.Equal(t, pod.Spec.Containers[0].Ports[0].Name, service.Spec.Ports[0].TargetPort.StrVal)
	require.Equal(t, int32(6443), pod.Spec.Containers[0].Ports[0].ContainerPort)
	require.Contains(t, pod.Spec.Containers[0].Args, "--secure-port=6443")
	require.Contains(t, pod.Spec.Containers[0].Args, "--service-name="+service.Name)

	priority := map[string]any{}
	for _, o := range objects {
		if o.GetKind() != "APIService" {
			continue
		}
		spec := o.Object["spec"].(map[string]any)
		require.Equal(t, o.GetName(), spec["version"].(string)+"."+spec["group"].(string), "the API server refuses another name")
		target := spec["service"].(map[string]any)
		require.Equal(t, []any{service.Namespace, service.Name, float64(service.Spec.Ports[0].Port)},
			[]any{target["namespace"], target["name"], target["port"]})
		require.InDelta(t, 100, spec["groupPriorityMinimum"], 0)
		priority[o.GetName()] = spec["versionPriority"]
	}
	require.Len(t, priority, 3)
	require.Greater(t, priority["v1beta2.custom.metrics.k8s.io"], priority["v1beta1.custom.metrics.k8s.io"])
}

func TestPodIsRestricted(t *testing.T) {
	pod := find[appsv1.Deployment](t, read(t, "install.yaml"), "Deployment promlet/promlet").Spec.Template.Spec
	require.True(t, *pod.SecurityContext.RunAsNonRoot)
	require.Equal(t, []int64{65532, 65532}, []int64{*pod.SecurityContext.RunAsUser, *pod.SecurityContext.RunAsGroup})
	require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, pod.SecurityContext.SeccompProfile.Type)
	require.False(t, *pod.EnableServiceLinks)
	require.Len(t, pod.Containers, 1)
	container := pod.Containers[0]
	require.False(t, *container.SecurityContext.AllowPrivilegeEscalation)
	require.True(t, *container.SecurityContext.ReadOnlyRootFilesystem)
	require.Equal(t, []corev1.Capability{"ALL"}, container.SecurityContext.Capabilities.Drop)
	require.Empty(t, container.SecurityContext.Capabilities.Add)
	require.NotEmpty(t, pod.Volumes[0].EmptyDir.SizeLimit)
	require.Contains(t, container.Args, "--data-dir="+container.VolumeMounts[0].MountPath)
	for _, list := range []corev1.ResourceList{container.Resources.Requests, container.Resources.Limits} {
		require.NotEmpty(t, list.Cpu().String())
		require.Positive(t, list.Memory().Cmp(resource.MustParse("64Mi")), "promlet is 70 MB resident")
	}
}

// A namespace other than kube-system may be refused the system's classes.
func TestPodHasAPriorityOfItsOwn(t *testing.T) {
	objects := read(t, "install.yaml")
	class := find[schedulingv1.PriorityClass](t, objects, "PriorityClass promlet")
	require.Equal(t, class.Name, find[appsv1.Deployment](t, objects, "Deployment promlet/promlet").Spec.Template.Spec.PriorityClassName)
	require.Equal(t, int32(1_000_000_000), class.Value, "the API server refuses more")
	require.False(t, class.GlobalDefault)
}

// An apply writes the fields that a manifest gives: none of the certificate's.
func TestServingCertIsLeftToPromlet(t *testing.T) {
	objects := read(t, "install.yaml")
	i := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return name(o) == "Secret promlet/promlet-serving-cert" })
	require.ElementsMatch(t, []string{"apiVersion", "kind", "metadata"}, slices.Collect(maps.Keys(objects[i].Object)))
	pod := find[appsv1.Deployment](t, objects, "Deployment promlet/promlet").Spec.Template.Spec
	require.Contains(t, pod.Containers[0].Args, "--serving-cert-secret="+objects[i].GetName())
}

// The API server's addresses are not known, and the port of the status pages is on loopback.
func TestNetworkPolicyAdmitsToOnePort(t *testing.T) {
	objects := read(t, "install.yaml")
	policy := find[networkingv1.NetworkPolicy](t, objects, "NetworkPolicy promlet/promlet")
	deployment := find[appsv1.Deployment](t, objects, "Deployment promlet/promlet")
	require.Subset(t, deployment.Spec.Template.Labels, policy.Spec.PodSelector.MatchLabels)
	require.Len(t, policy.Spec.Ingress, 1)
	require.Empty(t, policy.Spec.Ingress[0].From)
	require.Len(t, policy.Spec.Ingress[0].Ports, 1)
	require.Equal(t, deployment.Spec.Template.Spec.Containers[0].Ports[0].ContainerPort, policy.Spec.Ingress[0].Ports[0].Port.IntVal)
	require.Len(t, policy.Spec.Egress, 1)
	require.Empty(t, policy.Spec.Egress[0])
}

func TestPodIsProbedAndHasTimeToStop(t *testing.T) {
	deployment := find[appsv1.Deployment](t, read(t, "install.yaml"), "Deployment promlet/promlet")
	require.Equal(t, int32(1), *deployment.Spec.Replicas)
	require.Equal(t, "0", deployment.Spec.Strategy.RollingUpdate.MaxUnavailable.String())
	require.Equal(t, "1", deployment.Spec.Strategy.RollingUpdate.MaxSurge.String())
	pod := deployment.Spec.Template.Spec
	container := pod.Containers[0]
	for path, probe := range map[string]*corev1.Probe{"/livez": container.LivenessProbe, "/readyz": container.ReadinessProbe} {
		require.Equal(t, path, probe.HTTPGet.Path)
		require.Equal(t, corev1.URISchemeHTTPS, probe.HTTPGet.Scheme)
		require.Equal(t, container.Ports[0].Name, probe.HTTPGet.Port.StrVal)
	}
	require.Equal(t, container.LivenessProbe.HTTPGet, container.StartupProbe.HTTPGet)
	require.Contains(t, container.Args, "--shutdown-delay-duration=10s")
	require.GreaterOrEqual(t, *pod.TerminationGracePeriodSeconds, int64(30), "the delay, and the requests under way")
	require.Contains(t, container.Args, "--pod-name=$(POD_NAME)")
	require.Equal(t, "POD_NAME", container.Env[0].Name)
	require.Equal(t, "metadata.name", container.Env[0].ValueFrom.FieldRef.FieldPath)
}

// permissions lists what the bindings let a ServiceAccount of promlet's do, as
// "verb resource.group[/name][ in namespace]". A role that is not among the
// objects, being Kubernetes's own, is listed by its name.
func permissions(t *testing.T, objects []*unstructured.Unstructured, account string) []string {
	t.Helper()
	var all []string
	for _, o := range objects {
		if o.GetKind() != "RoleBinding" && o.GetKind() != "ClusterRoleBinding" {
			continue
		}
		binding := find[rbacv1.ClusterRoleBinding](t, objects, name(o)) // a RoleBinding has the same fields
		require.Equal(t, []rbacv1.Subject{{Kind: "ServiceAccount", Name: account, Namespace: "promlet"}}, binding.Subjects, name(o))
		where := ""
		if o.GetNamespace() != "" {
			where = " in " + o.GetNamespace()
		}
		role := binding.RoleRef.Kind + " " + binding.RoleRef.Name
		if binding.RoleRef.Kind == "Role" {
			role = binding.RoleRef.Kind + " " + o.GetNamespace() + "/" + binding.RoleRef.Name
		}
		if !slices.ContainsFunc(objects, func(o *unstructured.Unstructured) bool { return name(o) == role }) {
			all = append(all, role)
			continue
		}
		for _, rule := range find[rbacv1.ClusterRole](t, objects, role).Rules {
			all = append(all, flatten(rule, where)...)
		}
	}
	return all
}

func flatten(rule rbacv1.PolicyRule, where string) []string {
	var all []string
	for _, verb := range rule.Verbs {
		for _, group := range rule.APIGroups {
			for _, kind := range rule.Resources {
				what := strings.TrimSuffix(kind+"."+group, ".") // the core group has no name
				if len(rule.ResourceNames) == 0 {
					all = append(all, verb+" "+what+where)
				}
				for _, n := range rule.ResourceNames {
					all = append(all, verb+" "+what+"/"+n+where)
				}
			}
		}
	}
	return all
}

// Adding a permission takes a line here, and one in ACCESS.md.
func TestPermissionsAreTheLeast(t *testing.T) {
	base := read(t, "install.yaml")
	want := []string{
		"ClusterRole system:auth-delegator",
		"Role kube-system/extension-apiserver-authentication-reader",
		"create events",
		"get apiservices.apiregistration.k8s.io/v1beta1.custom.metrics.k8s.io",
		"get apiservices.apiregistration.k8s.io/v1beta2.custom.metrics.k8s.io",
		"get secrets/promlet-serving-cert in promlet",
		"list endpointslices.discovery.k8s.io",
		"list horizontalpodautoscalers.autoscaling",
		"list namespaces",
		"list nodes",
		"list pods",
		"list podmonitors.monitoring.coreos.com",
		"list servicemonitors.monitoring.coreos.com",
		"list services",
		"patch events",
		"patch apiservices.apiregistration.k8s.io/v1beta1.custom.metrics.k8s.io",
		"patch apiservices.apiregistration.k8s.io/v1beta2.custom.metrics.k8s.io",
		"update secrets/promlet-serving-cert in promlet",
		"watch endpointslices.discovery.k8s.io",
		"watch horizontalpodautoscalers.autoscaling",
		"watch namespaces",
		"watch nodes",
		"watch pods",
		"watch podmonitors.monitoring.coreos.com",
		"watch servicemonitors.monitoring.coreos.com",
		"watch services",
	}
	require.ElementsMatch(t, want, permissions(t, base, "promlet"))

	for component, more := range map[string][]string{
		"external-metrics": {"get apiservices.apiregistration.k8s.io/v1beta1.external.metrics.k8s.io", "patch apiservices.apiregistration.k8s.io/v1beta1.external.metrics.k8s.io"},
		"resource-metrics": {
			"get apiservices.apiregistration.k8s.io/v1.metrics.k8s.io", "get apiservices.apiregistration.k8s.io/v1beta1.metrics.k8s.io", "get nodes/metrics",
			"patch apiservices.apiregistration.k8s.io/v1.metrics.k8s.io", "patch apiservices.apiregistration.k8s.io/v1beta1.metrics.k8s.io",
		},
		"scrape-secrets": {
			"list configmaps", "list secrets", "watch configmaps", "watch secrets",
		},
		"self-monitoring": {
			"list secrets/promlet-metrics-reader in promlet", "list secrets/promlet-serving-cert in promlet",
			"watch secrets/promlet-metrics-reader in promlet", "watch secrets/promlet-serving-cert in promlet",
		},
	} {
		with := append(slices.Clone(base), read(t, "components/"+component+"/rbac.yaml")...)
		require.ElementsMatch(t, append(slices.Clone(want), more...), permissions(t, with, "promlet"), component)
	}
}

// Nobody has it by default. A path below /api would be open to every ServiceAccount: system:discovery has get of /api/*.
func TestQueryReadersQueryOnly(t *testing.T) {
	role := find[rbacv1.ClusterRole](t, read(t, "install.yaml"), "ClusterRole promlet-query-reader")
	require.Equal(t, []rbacv1.PolicyRule{{NonResourceURLs: []string{apiserver.QueryPrefix + httpapi.Prefix + "/*"}, Verbs: []string{"get", "post"}}}, role.Rules)
	require.NotContains(t, role.Labels, "rbac.authorization.k8s.io/aggregate-to-view")
	require.Nil(t, role.AggregationRule)
}

func TestViewersReadMetrics(t *testing.T) {
	for file, want := range map[string][]string{
		"install.yaml":                          {"ClusterRole promlet-view", "get *.custom.metrics.k8s.io", "list *.custom.metrics.k8s.io"},
		"components/external-metrics/rbac.yaml": {"ClusterRole promlet-view-external-metrics", "get *.external.metrics.k8s.io", "list *.external.metrics.k8s.io"},
		"components/resource-metrics/rbac.yaml": {
			"ClusterRole system:aggregated-metrics-reader", "get pods.metrics.k8s.io", "get nodes.metrics.k8s.io",
			"list pods.metrics.k8s.io", "list nodes.metrics.k8s.io", "watch pods.metrics.k8s.io", "watch nodes.metrics.k8s.io",
		},
	} {
		role := find[rbacv1.ClusterRole](t, read(t, file), want[0])
		require.Equal(t, "true", role.Labels["rbac.authorization.k8s.io/aggregate-to-view"])
		require.Len(t, role.Rules, 1)
		require.Equal(t, want[1:], flatten(role.Rules[0], ""))
	}
}
