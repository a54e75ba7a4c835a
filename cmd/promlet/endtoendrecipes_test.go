package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/bench/controlplane"
	"github.com/promlet/promlet/cmd/promlet/configfile"
	"github.com/promlet/promlet/deploy/recipes/played"
)

// programManifest is the program of a recipe. recipe-app plays it.
const programManifest = `
apiVersion: v1
kind: Namespace
metadata: {name: NAMESPACE}
---
apiVersion: v1
kind: Service
metadata: {name: SERVICE, namespace: NAMESPACE, labels: {LABELS}}
spec: {selector: {LABELS}, ports: [{name: PORT, port: 80, targetPort: PORT}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: SERVICE, namespace: NAMESPACE}
spec:
  replicas: REPLICAS
  selector: {matchLabels: {LABELS}}
  template:
    metadata: {labels: {LABELS}}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 1
      containers: [{name: recipe-app, image: recipe-app:test, args: [RECIPE], ports: [{name: PORT, containerPort: 8080}]}]
`

// idleDeployment, idlePod and otherService are what a recipe expects beside its program.
const (
	idleDeployment = `---
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, namespace: default}
spec:
  replicas: 1
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 1
      containers: [{name: idle-app, image: idle-app:dev}]
`
	idlePod = `---
apiVersion: v1
kind: Pod
metadata: {name: NAME, namespace: default, labels: {app: TARGET}}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  containers: [{name: idle-app, image: idle-app:dev}]
`
	otherService = `---
apiVersion: v1
kind: Service
metadata: {name: NAME, namespace: default}
spec: {selector: {app: NAME}, ports: [{name: web, port: 80}]}
`
)

// recipe is one of deploy/recipes, on the control plane.
type recipe struct {
	*endToEnd
	name, dir string
	program   played.Program
	hpa       autoscalingv2.HorizontalPodAutoscaler // as it is shipped
}

// recipes applies each recipe as it is shipped, beside the program that it is for, which is played. Its HPA must have the
// expected values.
func (e *endToEnd) recipes(t *testing.T) {
	e.useRulesOfRecipes(t)
	// The recipe llm-d needs it.
	e.kubectl(t, "apply", "--server-side", "-f", filepath.Join(repository(t, "deploy/components/scrape-secrets"), "rbac.yaml"))
	turns := map[string]*sync.Mutex{} // by HPA: two recipes may have the same names
	for name, program := range played.Programs() {
		r := &recipe{endToEnd: e, name: name, program: program, dir: repository(t, "deploy/recipes/"+name)}
		data, err := os.ReadFile(filepath.Join(r.dir, "hpa.yaml"))
		require.NoError(t, err)
		require.NoError(t, yaml.UnmarshalStrict(data, &r.hpa))
		if turns[r.hpa.Name] == nil {
			turns[r.hpa.Name] = &sync.Mutex{}
		}
		turn := turns[r.hpa.Name]
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait most of their time
			turn.Lock()
			defer turn.Unlock()
			defer r.delete(t)
			r.apply(t)
			r.hasValues(t)
			if name == "scale-to-zero" {
				r.scalesToZero(t)
			}
		})
	}
}

// configFile returns the path of promlet's configuration.
func (e *endToEnd) configFile() string { return filepath.Join(e.logs, "config.yaml") }

// copyConfig makes testdata/e2e/config.yaml promlet's configuration. A test may change the copy.
func (e *endToEnd) copyConfig(t *testing.T) {
	data, err := os.ReadFile("testdata/e2e/config.yaml")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(e.configFile(), data, 0o600))
}

// featureGates returns the feature gates of a control plane that tests need and that are off by default.
func featureGates(version string) string {
	if version == controlplane.DefaultVersion {
		return ""
	}
	return "HPAScaleToZero=true" // on by default from 1.37 on
}

// recipeBody returns the path of what the program of a recipe exposes.
func (e *endToEnd) recipeBody(recipe string) string {
	return filepath.Join(e.logs, "recipe-"+recipe+".txt")
}

// runRecipeApp runs the program of the recipe that the container's arguments name.
func (e *endToEnd) runRecipeApp(ctx context.Context, c controlplane.Container) *exec.Cmd {
	recipe := c.Args[0]
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), asRecipeApp+"="+recipe, recipeAppListen+"="+c.Listen[8080], recipeAppBody+"="+e.recipeBody(recipe))
	return cmd
}

// useRulesOfRecipes adds the rules of all recipes to promlet's configuration, which is loaded while it runs.
func (e *endToEnd) useRulesOfRecipes(t *testing.T) {
	before, err := os.ReadFile(e.configFile())
	require.NoError(t, err)
	write := func(data []byte) {
		require.NoError(t, os.WriteFile(e.configFile()+".new", data, 0o600))
		require.NoError(t, os.Rename(e.configFile()+".new", e.configFile()))
	}
	t.Cleanup(func() { write(before) })
	var config map[string]any
	require.NoError(t, yaml.Unmarshal(before, &config))
	require.NotContains(t, config, "rules")
	files, err := filepath.Glob(filepath.Join(repository(t, "deploy/recipes"), "*", "rules.yaml"))
	require.NoError(t, err)
	var custom []any
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		var values struct{ Rules struct{ Custom []any } }
		require.NoError(t, yaml.Unmarshal(data, &values))
		require.NotEmpty(t, values.Rules.Custom, file)
		custom = append(custom, values.Rules.Custom...)
	}
	config["rules"] = map[string]any{"default": true, "custom": custom}
	data, err := yaml.Marshal(config)
	require.NoError(t, err)
	_, err = configfile.Parse(data)
	require.NoError(t, err)
	write(data)
}

// apply applies the program, and the recipe as kubectl apply -k does. A field that the API server does not know, or warns
// about, is an error.
func (r *recipe) apply(t *testing.T) {
	body, err := os.ReadFile(filepath.Join(filepath.Dir(r.dir), "testdata", r.name+".txt"))
	require.NoError(t, err)
	r.expose(t, string(body))
	_, err = r.tryKubectl(t.Context(), r.manifests(), "apply", "--server-side", "-f", "-")
	require.NoError(t, err)
	r.kubectl(t, "apply", "--server-side", "--validate=strict", "--warnings-as-errors", "-k", r.dir)
	if r.name != "scale-to-zero" { // the pods are processes
		r.patchHPA(t, `{"spec": {"maxReplicas": 2}}`)
	}
}

// delete makes the names free for the next recipe.
func (r *recipe) delete(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), e2ePatience)
	defer cancel()
	_, err := r.tryKubectl(ctx, "", "delete", "--ignore-not-found", "-k", r.dir)
	require.NoError(t, err)
	_, namespaced, _ := strings.Cut(r.manifests(), "---\n") // the namespace stays
	_, err = r.tryKubectl(ctx, namespaced, "delete", "--ignore-not-found", "-f", "-")
	require.NoError(t, err)
}

// manifests returns the program, the target of the HPA, and the objects that the body names.
func (r *recipe) manifests() string {
	p, target := r.program, r.hpa.Spec.ScaleTargetRef.Name
	text := strings.NewReplacer("RECIPE", r.name, "SERVICE", p.Service, "NAMESPACE", p.Namespace, "LABELS", p.Labels, "PORT", p.Port,
		"REPLICAS", fmt.Sprint(len(p.Pods))).Replace(programManifest)
	if target != p.Service {
		text += strings.ReplaceAll(idleDeployment, "NAME", target)
	}
	for _, object := range p.Also {
		kind, name, _ := strings.Cut(object, "/")
		also := otherService
		if kind == "Pod" {
			also = idlePod
		}
		text += strings.NewReplacer("NAME", name, "TARGET", target).Replace(also)
	}
	if p.Token != "" {
		text += fmt.Sprintf("---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: %s}\nstringData: {token: %[1]s}\n", p.Token, p.Namespace)
	}
	return text
}

// expose sets what the program exposes from now on.
func (r *recipe) expose(t *testing.T, body string) {
	file := r.recipeBody(r.name)
	require.NoError(t, os.WriteFile(file+".new", []byte(body), 0o600))
	require.NoError(t, os.Rename(file+".new", file))
}

func (r *recipe) patchHPA(t *testing.T, patch string) {
	r.kubectl(t, "-n", r.hpa.Namespace, "patch", "hpa", r.hpa.Name, "--type=merge", "-p", patch)
}

// hasValues waits until the HPA is active and has the expected value of each metric.
func (r *recipe) hasValues(t *testing.T) {
	r.eventually(t, "the HPA has the values", func(ctx context.Context) error {
		got, err := r.values(ctx)
		if err != nil {
			return err
		}
		isNear := func(got, want float64) bool { return math.Abs(got-want) < 0.1*want }
		if !slices.EqualFunc(got, r.program.Want, isNear) {
			return fmt.Errorf("the HPA has %v, want %v: %w", got, r.program.Want, errNotYet)
		}
		t.Logf("the HPA has %v", got)
		return nil
	})
}

// active returns the HPA. It is an error unless the HPA is active.
func (r *recipe) active(ctx context.Context) (*autoscalingv2.HorizontalPodAutoscaler, error) {
	hpa, err := r.client.AutoscalingV2().HorizontalPodAutoscalers(r.hpa.Namespace).Get(ctx, r.hpa.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	for _, c := range hpa.Status.Conditions {
		if c.Type != autoscalingv2.ScalingActive {
			continue
		}
		if c.Status != corev1.ConditionTrue {
			return nil, fmt.Errorf("%s: %s: %s", hpa.Name, c.Reason, c.Message)
		}
		return hpa, nil
	}
	return nil, fmt.Errorf("%s has no condition ScalingActive: %w", hpa.Name, errNotYet)
}

// values returns what the HPA says that its metrics are: of Pods the average, of an Object the value.
func (r *recipe) values(ctx context.Context) (values []float64, err error) {
	hpa, err := r.active(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range hpa.Status.CurrentMetrics {
		switch {
		case m.Object != nil && m.Object.Current.AverageValue != nil:
			values = append(values, m.Object.Current.AverageValue.AsApproximateFloat64()*float64(hpa.Status.CurrentReplicas))
		case m.Pods != nil && m.Pods.Current.AverageValue != nil:
			values = append(values, m.Pods.Current.AverageValue.AsApproximateFloat64())
		default:
			return nil, fmt.Errorf("%s has no value of %+v: %w", hpa.Name, m, errNotYet)
		}
	}
	return values, nil
}

// jobs sets the length of the list.
func (r *recipe) jobs(t *testing.T, n int) {
	body, err := os.ReadFile(filepath.Join(filepath.Dir(r.dir), "testdata", r.name+".txt"))
	require.NoError(t, err)
	const line = "redis_key_size{db=\"db0\",key=\"jobs\"} "
	require.Equal(t, 1, strings.Count(string(body), line+"37\n"))
	r.expose(t, strings.Replace(string(body), line+"37\n", fmt.Sprintf("%s%d\n", line, n), 1))
}

// scalesToZero empties and fills the list. The Deployment goes to 0 replicas, stays there, and comes back.
func (r *recipe) scalesToZero(t *testing.T) {
	const metric = "namespaces/default/services/redis-exporter/redis_key_size?metricLabelSelector=db%3Ddb0,key%3Djobs"
	workers := func(n int32) {
		t.Helper()
		r.eventually(t, fmt.Sprintf("%d workers", n), func(ctx context.Context) error { return r.replicas(ctx, "default", "worker", n) })
	}
	workers(4) // for 37 jobs
	r.patchHPA(t, `{"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}}`)
	r.jobs(t, 0)
	workers(0)
	atZero := time.Now()
	for time.Since(atZero) < 15*time.Second { // several scrapes, and looks of the HPA
		require.NoError(t, r.replicas(t.Context(), "default", "worker", 0))
		time.Sleep(500 * time.Millisecond)
	}
	_, err := r.active(t.Context())
	require.NoError(t, err, "it reads the metric while there are no pods")
	items, err := r.metric(t.Context(), metric)
	require.NoError(t, err)
	require.Len(t, items, 1)
	require.Equal(t, "0", items[0].Value.String(), "0 is a value")
	require.True(t, items[0].Timestamp.After(atZero), "the exporter is still scraped")
	hpas := exec.CommandContext(t.Context(), os.Args[0], "hpa", "-n", "default", "--kubeconfig", r.kubeconfig)
	hpas.Env = append(os.Environ(), asPromlet+"=1")
	out, err := hpas.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Regexp(t, `worker .* 0 \(0-10\) .* 0 per pod .* at zero`, string(out))
	t.Logf("%s%s", r.kubectl(t, "get", "hpa", "worker"), out)

	r.jobs(t, 1)
	workers(1)
	// 12 jobs are 20 % above the target.
	r.patchHPA(t, `{"spec": {"behavior": {"scaleUp": {"tolerance": "500m"}}}}`)
	r.jobs(t, 12)
	r.eventually(t, "the HPA has read 12 jobs", func(ctx context.Context) error {
		got, err := r.values(ctx)
		if err != nil || len(got) != 1 || got[0] != 12 {
			return fmt.Errorf("%v: %w: %w", got, errNotYet, err)
		}
		return nil
	})
	for range 6 {
		require.NoError(t, r.replicas(t.Context(), "default", "worker", 1), "the tolerance is respected")
		time.Sleep(time.Second)
	}
	r.patchHPA(t, `{"spec": {"behavior": {"scaleUp": {"tolerance": null}}}}`)
	workers(2)
	r.jobs(t, 0)
	workers(0)
}
