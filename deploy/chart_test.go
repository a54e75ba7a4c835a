package deploy_test

import (
	"bytes"
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/bench/upstream"
)

const chartDir = "helm/promlet"

// helmCommand is Helm, with nothing of the user's own.
func helmCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	binary, err := upstream.BuildHelm(t.Context(), "../bench/helm")
	require.NoError(t, err)
	home := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	return cmd
}

// tryTemplate is `helm template`. It returns what Helm wrote to stderr.
func tryTemplate(t *testing.T, args ...string) (rendered []byte, stderr string, err error) {
	t.Helper()
	var said bytes.Buffer
	cmd := helmCommand(t, append([]string{"template", "promlet", chartDir, "--namespace", "promlet", "--include-crds"}, args...)...)
	cmd.Stderr = &said
	rendered, err = cmd.Output()
	return rendered, said.String(), err
}

func template(t *testing.T, args ...string) []*unstructured.Unstructured {
	t.Helper()
	rendered, stderr, err := tryTemplate(t, args...)
	require.NoError(t, err, stderr)
	return split(t, rendered)
}

// componentValues returns the values that stand for each component.
func componentValues() map[string]string {
	return map[string]string{
		"alerts":               "prometheusRule.enabled=true",
		"crds":                 "crds.enabled=true",
		"external-metrics":     "externalMetrics.enabled=true",
		"high-availability":    "replicas=2",
		"persistence":          "persistence.enabled=true",
		"resource-metrics":     "resourceMetrics.enabled=true",
		"scrape-secrets":       "scrapeSecrets.enabled=true",
		"self-monitoring":      "serviceMonitor.enabled=true",
		"self-monitoring-pods": "podMonitor.enabled=true",
		"sharded":              "sharded.enabled=true",
	}
}

// The chart installs what the kustomization does, for the defaults, for each component, and for all that go together.
func TestChartIsTheKustomization(t *testing.T) {
	entries, err := os.ReadDir("components")
	require.NoError(t, err)
	values := componentValues()
	sets := [][]string{nil}
	var most []string
	for _, entry := range entries {
		require.Contains(t, values, entry.Name(), "add the component's values to the chart")
		sets = append(sets, []string{entry.Name()})
		if entry.Name() != "persistence" && entry.Name() != "self-monitoring-pods" { // not with high-availability and self-monitoring
			most = append(most, entry.Name())
		}
	}
	for _, components := range append(sets, most) {
		var set []string
		for _, component := range components {
			set = append(set, "--set", values[component])
		}
		want := normalised(t, overlay(t, withComponents(components...), nil))
		got := normalised(t, template(t, set...))
		if slices.Contains(components, "scrape-secrets") && slices.Contains(components, "sharded") {
			bindToShards(t, want)
		}
		require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)), components)
		for name := range want {
			require.Equal(t, want[name].Object, got[name].Object, "%s with %s", name, components)
		}
	}
}

// normalised returns the objects by name, without what differs by nature between kustomize and Helm:
//   - the Namespace, which is not a chart's to make (helm install --create-namespace);
//   - the labels that Helm's conventions ask for, which each object of the chart has;
//   - the Pod of helm test;
//   - the layout of YAML in ConfigMaps.
//
// Beside these, bindToShards.
func normalised(t *testing.T, objects []*unstructured.Unstructured) map[string]*unstructured.Unstructured {
	t.Helper()
	byName := map[string]*unstructured.Unstructured{}
	for _, o := range objects {
		if o.GetKind() == "Namespace" || o.GetAnnotations()["helm.sh/hook"] == "test" {
			continue
		}
		labels := o.GetLabels()
		if labels["helm.sh/chart"] != "" {
			for _, label := range []string{"helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/version"} {
				require.NotEmpty(t, labels[label], name(o))
				delete(labels, label)
			}
			o.SetLabels(labels)
		}
		data, _, err := unstructured.NestedStringMap(o.Object, "data")
		if err == nil && o.GetKind() == "ConfigMap" {
			for key, text := range data {
				if filepath.Ext(key) == ".yaml" {
					var content any
					require.NoError(t, yaml.UnmarshalStrict([]byte(text), &content))
					canonical, err := yaml.Marshal(content)
					require.NoError(t, err)
					require.NoError(t, unstructured.SetNestedField(o.Object, string(canonical), "data", key))
				}
			}
		}
		require.NotContains(t, byName, name(o), "twice")
		byName[name(o)] = o
	}
	return byName
}

// bindToShards lets shards read the Secrets of monitors, as the chart does. Of two components neither knows the other, so
// README.md says to do so by hand.
func bindToShards(t *testing.T, objects map[string]*unstructured.Unstructured) {
	t.Helper()
	binding := objects["ClusterRoleBinding promlet-scrape-secrets"]
	subjects, _, err := unstructured.NestedSlice(binding.Object, "subjects")
	require.NoError(t, err)
	subjects = append(subjects, map[string]any{"kind": "ServiceAccount", "name": "promlet-shard", "namespace": "promlet"})
	require.NoError(t, unstructured.SetNestedSlice(binding.Object, subjects, "subjects"))
}

// Names, namespaces and labels follow the release, everywhere.
func TestChartOfAnotherNameIsTheSame(t *testing.T) {
	all := []string{"--set", "externalMetrics.enabled=true,resourceMetrics.enabled=true,scrapeSecrets.enabled=true,sharded.enabled=true,serviceMonitor.enabled=true,prometheusRule.enabled=true,config.keep={a}"}
	want, stderr, err := tryTemplate(t, all...)
	require.NoError(t, err, stderr)
	cmd := helmCommand(t, append([]string{"template", "another", chartDir, "--namespace", "elsewhere", "--include-crds", "--set", "nameOverride=quux"}, all...)...)
	got, err := cmd.Output()
	require.NoError(t, err)
	require.NotContains(t, string(got), "namespace: promlet")
	// The names that are promlet's in any case: of the container, of the repository, of alerts and of files in the chart.
	renamed := strings.NewReplacer("another-quux", "promlet", `instance: "another"`, `instance: "promlet"`, `name: "quux`, `name: "promlet`, "name: quux", "name: promlet", "namespace: elsewhere", "namespace: promlet", ".elsewhere.", ".promlet.")
	require.Equal(t, split(t, want), split(t, []byte(renamed.Replace(string(got)))))
	require.Greater(t, strings.Count(string(got), "another-quux"), 50)
}

// A release may have a name that YAML takes for a number.
func TestChartOfANameThatIsANumber(t *testing.T) {
	rendered, err := helmCommand(t, "template", "123", chartDir, "--namespace", "promlet", "--set", "sharded.enabled=true", "--set-string", "nameOverride=456").Output()
	require.NoError(t, err)
	for _, o := range split(t, rendered) {
		labels, _, err := unstructured.NestedStringMap(o.Object, "metadata", "labels")
		require.NoError(t, err, "%s %s", o.GetKind(), o.GetName())
		require.Equal(t, "123", labels["app.kubernetes.io/instance"], "%s %s", o.GetKind(), o.GetName())
	}
}

// What the chart holds beside templates is what deploy/ has.
func TestChartHasTheFilesOfTheComponents(t *testing.T) {
	for file, of := range map[string]string{
		"charts/crds/crds/servicemonitors.yaml": "components/crds/servicemonitors.yaml",
		"charts/crds/crds/podmonitors.yaml":     "components/crds/podmonitors.yaml",
		"files/prometheusrule.yaml":             "components/alerts/prometheusrule.yaml",
	} {
		want, err := os.ReadFile(of)
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(chartDir, file))
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "run make generate")
	}
}

func TestChartIsClean(t *testing.T) {
	out, err := helmCommand(t, "lint", "--strict", chartDir, "--values", "testdata/chart/shards.yaml").CombinedOutput()
	require.NoError(t, err, string(out))
	require.NotContains(t, string(out), "WARNING")
	out, err = helmCommand(t, "package", chartDir, "--destination", t.TempDir()).CombinedOutput()
	require.NoError(t, err, string(out))
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	for _, o := range append(template(t, "--values", "testdata/chart/shards.yaml"), template(t, "--values", "testdata/chart/one.yaml")...) {
		if scheme.Scheme.Recognizes(o.GroupVersionKind()) {
			data, err := o.MarshalJSON()
			require.NoError(t, err)
			_, _, err = strict.Decode(data, nil, nil)
			require.NoError(t, err, name(o))
		}
	}
}

// What README.md says about the chart: its table of values, k3s's manifest and the images.
func TestReadmeKnowsTheChart(t *testing.T) {
	data, err := os.ReadFile("README.md")
	require.NoError(t, err)
	readme := string(data)
	for component, value := range componentValues() {
		require.Contains(t, readme, "| "+component+" | `"+value+"` |")
	}

	_, after, found := strings.Cut(readme, "```yaml\napiVersion: helm.cattle.io/v1\n")
	require.True(t, found)
	manifest, _, _ := strings.Cut(after, "```")
	var k3s struct {
		Spec struct{ ValuesContent string }
	}
	require.NoError(t, yaml.Unmarshal([]byte(manifest), &k3s))
	values := filepath.Join(t.TempDir(), "values.yaml")
	require.NoError(t, os.WriteFile(values, []byte(k3s.Spec.ValuesContent), 0o600))
	claim := find[corev1.PersistentVolumeClaim](t, template(t, "--values", values), "PersistentVolumeClaim promlet/promlet")
	require.Equal(t, "local-path", *claim.Spec.StorageClassName)

	rendered, stderr, err := tryTemplate(t, "--set", "sharded.enabled=true")
	require.NoError(t, err, stderr)
	manifests := string(rendered)
	for _, file := range []string{"install.yaml", "example/deployment.yaml", chartDir + "/Chart.yaml"} {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		manifests += string(data)
	}
	images := regexp.MustCompile(`(?m)^ *image: "?([^"\s]+)"?`).FindAllStringSubmatch(manifests, -1)
	require.Len(t, images, 6)
	_, after, _ = strings.Cut(readme, "## Without access to a registry\n")
	section, _, _ := strings.Cut(after, "\n## ")
	for _, image := range images {
		require.Contains(t, section, "`"+image[1]+"`")
	}
}
