package deploy_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/promlet/promlet/bench/controlplane"
)

// render is `kubectl kustomize`, of the kubectl that the control plane of the
// end-to-end tests has.
func render(t *testing.T, dir string) []*unstructured.Unstructured {
	t.Helper()
	kube, err := controlplane.Build(t.Context(), controlplane.DefaultVersion, os.Stderr)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, kube, "kubectl", "kustomize", dir).Output()
	if exit := (*exec.ExitError)(nil); err != nil {
		require.ErrorAs(t, err, &exit)
		require.NoError(t, err, string(exit.Stderr))
	}
	return split(t, out)
}

// overlay renders a kustomization, with the files given beside it. Where it
// names deploy/ by its public address, this directory stands in.
func overlay(t *testing.T, kustomization string, beside map[string]string) []*unstructured.Unstructured {
	t.Helper()
	here, err := filepath.Abs(".")
	require.NoError(t, err)
	dir := t.TempDir()
	relative, err := filepath.Rel(dir, here)
	require.NoError(t, err)
	kustomization = strings.ReplaceAll(kustomization, "https://github.com/promlet/promlet//deploy", relative)
	kustomization = strings.ReplaceAll(kustomization, "?ref=main", "")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(kustomization), 0o600))
	for file, content := range beside {
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600))
	}
	return render(t, dir)
}

func withComponents(components ...string) string {
	const deploy = "https://github.com/promlet/promlet//deploy"
	k := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [" + deploy + "]\ncomponents:\n"
	for _, c := range components {
		k += "  - " + deploy + "/components/" + c + "\n"
	}
	return k
}

// Compared as objects: versions of kubectl need not agree about layout.
func TestInstallIsRenderedFromTheBase(t *testing.T) {
	require.Equal(t, render(t, "."), read(t, "install.yaml"), "run deploy/generate.sh")
}

func TestEveryCombinationOfComponentsRenders(t *testing.T) {
	components, err := os.ReadDir("components")
	require.NoError(t, err)
	require.Len(t, components, 10)
	base := len(read(t, "install.yaml"))
	adds := map[string]int{
		"alerts": 1, "crds": 2, "external-metrics": 4, "high-availability": 0, "persistence": 1, "resource-metrics": 5, "scrape-secrets": 2, "self-monitoring": 7, "self-monitoring-pods": 7, "sharded": 9,
	}
	beside := func(c string) bool { return c == "sharded" || c == "alerts" || c == "self-monitoring-pods" }
	for set := range 1 << len(components) {
		var chosen []string
		want := base
		for i, c := range components {
			if set&(1<<i) != 0 {
				chosen = append(chosen, c.Name())
				want += adds[c.Name()]
			}
		}
		if slices.Contains(chosen, "self-monitoring") && slices.Contains(chosen, "self-monitoring-pods") {
			continue // one of the two
		}
		if len(chosen) > 2 && len(chosen) < len(components)-1 && slices.ContainsFunc(chosen, beside) {
			continue // each of the others beside it, and all of them
		}
		objects := overlay(t, withComponents(chosen...), nil)
		require.Len(t, objects, want, chosen)
	}
}

func TestPersistence(t *testing.T) {
	objects := overlay(t, withComponents("persistence"), nil)
	deployment := find[appsv1.Deployment](t, objects, "Deployment promlet/promlet")
	require.Equal(t, appsv1.RecreateDeploymentStrategyType, deployment.Spec.Strategy.Type)
	require.Nil(t, deployment.Spec.Strategy.RollingUpdate, "the API server refuses it beside Recreate")
	volumes := deployment.Spec.Template.Spec.Volumes
	require.Len(t, volumes, 1)
	require.Nil(t, volumes[0].EmptyDir, "the API server refuses two sources")
	claim := find[corev1.PersistentVolumeClaim](t, objects, "PersistentVolumeClaim promlet/"+volumes[0].PersistentVolumeClaim.ClaimName)
	require.Equal(t, []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, claim.Spec.AccessModes)
	require.NotNil(t, deployment.Spec.Template.Spec.SecurityContext.FSGroup, "a new volume belongs to root")
}

func TestHighAvailability(t *testing.T) {
	deployment := find[appsv1.Deployment](t, overlay(t, withComponents("high-availability"), nil), "Deployment promlet/promlet")
	require.Equal(t, int32(2), *deployment.Spec.Replicas)
	spread := deployment.Spec.Template.Spec.TopologySpreadConstraints
	require.Len(t, spread, 1)
	require.Equal(t, deployment.Spec.Selector.MatchLabels, spread[0].LabelSelector.MatchLabels)
	require.Equal(t, "0", deployment.Spec.Strategy.RollingUpdate.MaxUnavailable.String())
}

// The overlays in the documents are to be copied, so they must render.
func TestOverlaysOfTheDocuments(t *testing.T) {
	var text strings.Builder
	for _, file := range []string{"README.md", "MIGRATION.md", "ACCESS.md", "ENGINES.md"} {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		text.Write(data)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(# kustomization.yaml\n.*?)```").FindAllStringSubmatch(text.String(), -1)
	require.Len(t, blocks, 5)

	own := find[appsv1.Deployment](t, overlay(t, blocks[0][1], nil), "Deployment promlet/promlet")
	container := own.Spec.Template.Spec.Containers[0]
	require.Equal(t, int32(2), *own.Spec.Replicas)
	require.Equal(t, "registry.example.com/promlet:v0.1.0", container.Image)
	require.Contains(t, container.Args, "--scrape-interval=15s")
	require.Contains(t, container.Args, "--serving-cert-secret=promlet-serving-cert")
	require.Equal(t, "512Mi", container.Resources.Limits.Memory().String())

	configured := find[appsv1.Deployment](t, overlay(t, blocks[1][1], nil), "Deployment promlet/promlet").Spec.Template.Spec
	require.Contains(t, configured.Containers[0].Args, "--config=/config/config.yaml")
	require.Equal(t, "prometheus-adapter", configured.Volumes[len(configured.Volumes)-1].ConfigMap.Name)
	mounts := configured.Containers[0].VolumeMounts
	require.Equal(t, corev1.VolumeMount{Name: "config", MountPath: "/config", ReadOnly: true}, mounts[len(mounts)-1])

	certManager := overlay(t, blocks[2][1], map[string]string{
		"certificate.yaml": "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: promlet, namespace: promlet}\n",
	})
	injected := 0
	for _, o := range certManager {
		if o.GetKind() == "APIService" {
			require.Equal(t, "promlet/promlet", o.GetAnnotations()["cert-manager.io/inject-ca-from"])
			injected++
		}
	}
	require.Equal(t, 2, injected)
	pod := find[appsv1.Deployment](t, certManager, "Deployment promlet/promlet").Spec.Template.Spec
	require.Len(t, pod.Volumes, 2)
	require.Len(t, pod.Containers[0].VolumeMounts, 2)
	require.Contains(t, pod.Containers[0].Args, "--tls-cert-file=/tls/tls.crt")
	require.NotContains(t, fmt.Sprint(pod.Containers[0].Args), "--serving-cert-secret")

	closed := find[networkingv1.NetworkPolicy](t, overlay(t, blocks[3][1], nil), "NetworkPolicy promlet/promlet")
	require.Len(t, closed.Spec.Ingress, 1, "from these, to that port")
	require.Len(t, closed.Spec.Ingress[0].From, 4)
	require.Len(t, closed.Spec.Ingress[0].Ports, 1)

	sharded := overlay(t, blocks[4][1], nil)
	shards := find[appsv1.StatefulSet](t, sharded, "StatefulSet promlet/promlet-shard")
	require.Equal(t, int32(8), *shards.Spec.Replicas)
	require.Contains(t, shards.Spec.Template.Spec.Containers[0].Env, corev1.EnvVar{Name: "SHARDS", Value: "8"})
	require.Equal(t, int32(2), *find[appsv1.Deployment](t, sharded, "Deployment promlet/promlet").Spec.Replicas)
	engine := find[corev1.ConfigMap](t, sharded, "ConfigMap promlet/promlet-engine")
	require.Equal(t, "http://thanos-query.monitoring.svc:9090", engine.Data["prometheus-url"])
	require.Contains(t, engine.Data["shard.yaml"], "thanos-receive")
}

// A release names its image by digest, and whoever names another image gets that.
func TestPin(t *testing.T) {
	above := t.TempDir()
	dir := filepath.Join(above, "deploy")
	require.NoError(t, os.CopyFS(dir, os.DirFS(".")))
	pin := func(arguments ...string) error {
		return exec.CommandContext(t.Context(), filepath.Join(dir, "pin.sh"), arguments...).Run()
	}
	image := func(objects []*unstructured.Unstructured) string {
		return find[appsv1.Deployment](t, objects, "Deployment promlet/promlet").Spec.Template.Spec.Containers[0].Image
	}
	sha := func(digit string) string { return "sha256:" + strings.Repeat(digit, 64) }
	for _, digest := range []string{sha("a"), sha("7"), ""} { // main has none
		arguments, want := []string{"v1.2.3"}, "ghcr.io/promlet/promlet:v1.2.3"
		if digest != "" {
			arguments, want = append(arguments, digest), want+"@"+digest
		}
		require.NoError(t, pin(arguments...))
		require.Equal(t, want, image(render(t, dir)))
		chart, err := helmCommand(t, "template", "promlet", filepath.Join(dir, chartDir), "--namespace", "promlet").Output()
		require.NoError(t, err)
		require.Equal(t, want, image(split(t, chart)))
		require.Contains(t, string(chart), "helm.sh/chart: promlet-1.2.3\n")
	}
	const own = "resources: [deploy]\nimages: [{name: ghcr.io/promlet/promlet, newName: example.com/promlet, newTag: own}]\n"
	require.NoError(t, os.WriteFile(filepath.Join(above, "kustomization.yaml"), []byte(own), 0o600))
	require.Equal(t, "example.com/promlet:own", image(render(t, above)))
	for _, wrong := range [][]string{{"v1.2.3", "sha256:abc"}, {"v1.2.3", ""}, {"latest", sha("a")}, {"latest"}} {
		require.Error(t, pin(wrong...))
	}
}

// The CRDs are made from the types that promlet is compiled with.
func TestCRDsAreOfTheVersionInGoMod(t *testing.T) {
	gomod, err := os.ReadFile("../go.mod")
	require.NoError(t, err)
	version := regexp.MustCompile(`prometheus-operator/pkg/apis/monitoring v(\S+)`).FindSubmatch(gomod)
	require.NotNil(t, version)
	for _, file := range []string{"servicemonitors", "podmonitors"} {
		crd := read(t, "components/crds/"+file+".yaml")
		require.Len(t, crd, 1)
		require.Equal(t, file+".monitoring.coreos.com", crd[0].GetName())
		require.Equal(t, string(version[1]), crd[0].GetAnnotations()["operator.prometheus.io/version"], "run deploy/generate.sh")
	}
}

func TestCRDsHaveEveryFieldOfTheTypes(t *testing.T) {
	for file, spec := range map[string]reflect.Type{
		"servicemonitors": reflect.TypeFor[monitoringv1.ServiceMonitorSpec](),
		"podmonitors":     reflect.TypeFor[monitoringv1.PodMonitorSpec](),
	} {
		crd := read(t, "components/crds/"+file+".yaml")[0]
		versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
		require.NoError(t, err)
		require.Len(t, versions, 1)
		schema, found, err := unstructured.NestedMap(versions[0].(map[string]any),
			"schema", "openAPIV3Schema", "properties", "spec", "properties")
		require.NoError(t, err)
		require.True(t, found, file)
		var got []string
		for field := range schema {
			got = append(got, field)
		}
		require.ElementsMatch(t, jsonFields(spec), got, file)
		require.NotContains(t, fmt.Sprint(crd.Object), "description:", "left out, for size")
	}
}

// jsonFields are the keys of a struct in JSON, those of inlined structs too.
func jsonFields(of reflect.Type) []string {
	var fields []string
	for i := range of.NumField() {
		field := of.Field(i)
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case key != "":
			fields = append(fields, key)
		case field.Anonymous:
			fields = append(fields, jsonFields(field.Type)...)
		}
	}
	return fields
}
