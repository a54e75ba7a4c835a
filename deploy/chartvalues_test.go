package deploy_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/cmd/promlet/configfile"
)

func readValues(t *testing.T, file string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	var values map[string]any
	require.NoError(t, yaml.UnmarshalStrict(data, &values))
	return values
}

// paths adds the paths of all values that are not maps with something in them.
func paths(at string, value any, to map[string]any) {
	if m, ok := value.(map[string]any); ok && len(m) > 0 {
		for key, value := range m {
			paths(strings.TrimPrefix(at+"."+key, "."), value, to)
		}
		return
	}
	to[at] = value
}

// leaves returns the strings and numbers in a value.
func leaves(value any) []string {
	var all []string
	switch v := value.(type) {
	case map[string]any:
		for _, value := range v {
			all = append(all, leaves(value)...)
		}
	case []any:
		for _, value := range v {
			all = append(all, leaves(value)...)
		}
	case string:
		all = append(all, v)
	case float64:
		all = append(all, fmt.Sprint(v))
	}
	return all
}

// No value is without effect.
func TestEachValueOfTheChartReachesTheObjects(t *testing.T) {
	given := map[string]any{}
	for _, file := range []string{"testdata/chart/shards.yaml", "testdata/chart/one.yaml"} {
		values := readValues(t, file)
		paths("", values, given)
		rendered, stderr, err := tryTemplate(t, "--values", file)
		require.NoError(t, err, stderr)
		for _, leaf := range leaves(values) {
			switch leaf {
			case "x-ca-bundle":
				leaf = base64.StdEncoding.EncodeToString([]byte(leaf))
			case "existingSecret", "cert-manager": // a choice, whose effect the others have
				continue
			}
			require.True(t, strings.Contains(string(rendered), leaf), "%s of %s has no effect", leaf, file)
		}
	}
	defaults := map[string]any{}
	paths("", readValues(t, chartDir+"/values.yaml"), defaults)
	for path := range defaults {
		above := path // a map may be given whole, with other keys
		for ; above != ""; above = above[:max(0, strings.LastIndex(above, "."))] {
			if slices.ContainsFunc(slices.Collect(maps.Keys(given)), func(g string) bool { return g == above || strings.HasPrefix(g, above+".") }) {
				break
			}
		}
		require.NotEmpty(t, above, "give %s in testdata/chart", path)
	}
}

// checkClosed requires that a schema refuses unknown keys wherever it names known ones.
func checkClosed(t *testing.T, at string, schema any) (objects int) {
	t.Helper()
	switch s := schema.(type) {
	case map[string]any:
		if _, ok := s["properties"]; ok && !strings.HasSuffix(at, ".properties") {
			require.Equal(t, false, s["additionalProperties"], at)
			objects++
		}
		for key, value := range s {
			objects += checkClosed(t, at+"."+key, value)
		}
	case []any:
		for _, value := range s {
			objects += checkClosed(t, at, value)
		}
	}
	return objects
}

func TestChartRefusesWhatItDoesNotKnow(t *testing.T) {
	data, err := os.ReadFile(chartDir + "/values.schema.json")
	require.NoError(t, err)
	var schema any
	require.NoError(t, json.Unmarshal(data, &schema))
	require.Greater(t, checkClosed(t, "", schema), 25)

	f := func(set, want string) {
		t.Helper()
		_, stderr, err := tryTemplate(t, "--set", set)
		require.Error(t, err, set)
		require.Contains(t, stderr, want)
	}
	f("nonsense=1", "at '': additional properties 'nonsense' not allowed")
	f("image.repo=a", "at '/image': additional properties 'repo' not allowed")
	f("config.keeps={a}", "at '/config': additional properties 'keeps' not allowed")
	f("rules.custom[0].query=a", "at '/rules/custom/0': additional properties 'query' not allowed")
	f("tls.type=helm", "at '/tls/type'")
	f("replicas=two", "at '/replicas'")
	f("image.digest=sha256:abc", "at '/image/digest'")
	f("replicas=2,persistence.enabled=true", "persistence does not go together with more than one replica")
	f("serviceMonitor.enabled=true,podMonitor.enabled=true", "serviceMonitor and podMonitor do not go together")
	f("sharded.enabled=true,rules.existing=a", "rules.existing does not go together with sharded")
	f("sharded.enabled=true,sharded.prometheusUrl=", "sharded.prometheusUrl: name the engine")
	f("tls.type=existingSecret", "tls.existingSecret.name: name the Secret")
}

// What is switched off leaves nothing behind.
func TestChartWithout(t *testing.T) {
	f := func(set string, absent ...string) []*unstructured.Unstructured {
		t.Helper()
		before, after := normalised(t, template(t)), template(t, "--set", set)
		kept := normalised(t, after)
		gone := slices.DeleteFunc(slices.Sorted(maps.Keys(before)), func(name string) bool { return kept[name] != nil })
		require.Equal(t, absent, gone, set)
		return after
	}
	f("networkPolicy.enabled=false", "NetworkPolicy promlet/promlet")
	f("podDisruptionBudget.enabled=false", "PodDisruptionBudget promlet/promlet")
	f("priorityClassName=system-cluster-critical", "PriorityClass promlet")
	f("apiService.create=false", "APIService v1beta1.custom.metrics.k8s.io", "APIService v1beta2.custom.metrics.k8s.io")
	f("serviceAccount.create=false,serviceAccount.name=own", "ServiceAccount promlet/promlet")
	bound := f("rbac.create=false",
		"ClusterRole promlet", "ClusterRole promlet-apiservices", "ClusterRole promlet-query-reader", "ClusterRole promlet-view",
		"ClusterRoleBinding promlet", "ClusterRoleBinding promlet-apiservices", "ClusterRoleBinding promlet-auth-delegator",
		"Role promlet/promlet-serving-cert", "RoleBinding kube-system/promlet-auth-reader", "RoleBinding promlet/promlet-serving-cert")
	require.Empty(t, permissions(t, bound, "promlet"))

	// With a certificate of somebody else's promlet writes neither Secrets nor APIServices.
	own := []string{
		"ClusterRole promlet-apiservices", "ClusterRoleBinding promlet-apiservices", "Role promlet/promlet-serving-cert",
		"RoleBinding promlet/promlet-serving-cert", "Secret promlet/promlet-serving-cert",
	}
	for _, set := range []string{"tls.type=existingSecret,tls.existingSecret.name=mine,apiService.caBundle=ca", "tls.type=cert-manager"} {
		objects := f(set+",externalMetrics.enabled=true,resourceMetrics.enabled=true", own...)
		for _, permission := range permissions(t, objects, "promlet") {
			require.NotContains(t, permission, "secrets")
			require.NotContains(t, permission, "apiservices")
		}
		pod := find[appsv1.Deployment](t, objects, "Deployment promlet/promlet").Spec.Template.Spec
		require.Contains(t, pod.Containers[0].Args, "--tls-cert-file=/tls/tls.crt")
		for _, o := range objects {
			if o.GetKind() == "APIService" {
				service, _, err := unstructured.NestedString(o.Object, "spec", "service", "name")
				require.NoError(t, err)
				require.Equal(t, "promlet", service, "promlet does not put itself in")
				ca, _, err := unstructured.NestedString(o.Object, "spec", "caBundle")
				require.NoError(t, err)
				require.NotEqual(t, ca == "", o.GetAnnotations()["cert-manager.io/inject-ca-from"] == "", "one of the two")
			}
		}
	}
}

// promlet puts its Service into APIServices that have none with port 443, so those of another port have it from the start.
func TestAPIServicesHaveThePortOfTheService(t *testing.T) {
	for _, port := range []int64{443, 8443} {
		for _, o := range template(t, "--set", fmt.Sprintf("resourceMetrics.enabled=true,service.port=%d", port)) {
			if o.GetKind() != "APIService" {
				continue
			}
			rendered, hasService, err := unstructured.NestedFieldNoCopy(o.Object, "spec", "service", "port")
			require.NoError(t, err)
			require.Equal(t, port != 443 || strings.HasSuffix(o.GetName(), ".custom.metrics.k8s.io"), hasService, o.GetName())
			if hasService {
				require.EqualValues(t, port, rendered, o.GetName())
			}
		}
	}
}

// configOf returns what the ConfigMap of a chart holds for promlet, or an empty file.
func configOf(t *testing.T, objects []*unstructured.Unstructured, configMap string) configfile.File {
	t.Helper()
	if !slices.ContainsFunc(objects, func(o *unstructured.Unstructured) bool { return name(o) == configMap }) {
		return configfile.File{}
	}
	file, err := configfile.Parse([]byte(find[corev1.ConfigMap](t, objects, configMap).Data["config.yaml"]))
	require.NoError(t, err)
	return file
}

// The rules values of prometheus-adapter's chart are taken as they are: promlet reads the same from its chart's ConfigMap
// as from that which prometheus-adapter's template (testdata/prometheus-adapter) makes of them.
func TestRulesAreThoseOfPrometheusAdaptersChart(t *testing.T) {
	files, err := filepath.Glob("../adapter/testdata/rules/*.yaml")
	require.NoError(t, err)
	require.Greater(t, len(files), 30)
	for _, file := range files {
		config := readValues(t, file)
		values := map[string]any{}
		for key, of := range map[string]string{"custom": "rules", "external": "externalRules", "resource": "resourceRules"} {
			if config[of] != nil {
				values[key] = config[of]
			}
		}
		for _, defaults := range []bool{false, true} {
			values["default"] = defaults
			checkRules(t, file, map[string]any{"rules": values}, defaults)
		}
	}
	checkRules(t, "no rules", map[string]any{"rules": map[string]any{"default": false}}, false)
	checkRules(t, "the default", map[string]any{}, true)
}

func checkRules(t *testing.T, file string, values map[string]any, withDefaults bool) {
	t.Helper()
	data, err := yaml.Marshal(values)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "values.yaml")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	out, err := helmCommand(t, "template", "prometheus-adapter", "testdata/prometheus-adapter", "--namespace", "promlet", "--values", path).Output()
	require.NoError(t, err, file)
	want := configOf(t, split(t, out), "ConfigMap promlet/prometheus-adapter")
	objects := template(t, "--values", path)
	got := configOf(t, objects, "ConfigMap promlet/promlet")

	require.Equal(t, withDefaults, got.HasDefaults(), file)
	require.Equal(t, want.ExternalRules, got.ExternalRules, file)
	require.Equal(t, want.ResourceRules, got.ResourceRules, file)
	wantCustom, gotCustom := want.Rules, got.AdapterRules(1).Custom
	if withDefaults { // promlet's own take the place of prometheus-adapter's
		wantCustom, gotCustom = wantCustom[6:], gotCustom[len(rules.Defaults(1)):]
	}
	require.Len(t, gotCustom, len(wantCustom), file)
	for i := range wantCustom {
		require.Equal(t, wantCustom[i], gotCustom[i], file)
	}
}

// The default rules and others go with other keys, for promlet and for its shards.
func TestDefaultRulesGoWithOtherKeys(t *testing.T) {
	objects := template(t, "--set", "rules.custom[0].seriesQuery=a,config.keep={a},sharded.enabled=true")
	own := configOf(t, objects, "ConfigMap promlet/promlet")
	shards, err := configfile.Parse([]byte(find[corev1.ConfigMap](t, objects, "ConfigMap promlet/promlet-engine").Data["shard.yaml"]))
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, own.Keep)
	require.NotEmpty(t, shards.RemoteWrite)
	for _, file := range []configfile.File{own, shards} {
		require.True(t, file.HasDefaults())
		require.Len(t, file.Rules, 1)
	}
}

// The Go runtime takes its number of CPUs from a limit, where there is one.
func TestChartLimitsCPUs(t *testing.T) {
	f := func(set string, want ...corev1.EnvVar) {
		t.Helper()
		env := find[appsv1.Deployment](t, template(t, "--set", set), "Deployment promlet/promlet").Spec.Template.Spec.Containers[0].Env
		require.ElementsMatch(t, want, slices.DeleteFunc(env, func(v corev1.EnvVar) bool { return v.Name != "GOMAXPROCS" }))
	}
	two := corev1.EnvVar{Name: "GOMAXPROCS", Value: "2"}
	f("replicas=1", two)
	f("resources.limits.memory=1Gi", two)
	f("resources.limits=null", two)
	f("resources=null", two)
	f("resources.limits.cpu=4")
}
