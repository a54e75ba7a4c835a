package deploy_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/restmapper"

	"github.com/promlet/promlet/bench/controlplane"
)

// release is the chart's release promlet on a control plane whose pods run.
type release struct {
	plane   *controlplane.Plane
	client  *kubernetes.Clientset
	objects *dynamic.DynamicClient
	binary  string // promlet
}

func startRelease(t *testing.T) *release {
	t.Helper()
	r := &release{binary: filepath.Join(t.TempDir(), "promlet")}
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w", "-o", r.binary, "../cmd/promlet")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	binary, err := controlplane.Build(t.Context(), controlplane.DefaultVersion, os.Stderr)
	require.NoError(t, err)
	r.plane, err = controlplane.Start(t.Context(), controlplane.Options{Binary: binary, LogDir: t.TempDir()})
	require.NoError(t, err)
	kubelet, err := controlplane.NewKubelet(r.plane, r.run, nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running errgroup.Group
	running.Go(func() error { return kubelet.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		require.NoError(t, running.Wait())
		require.NoError(t, r.plane.Stop())
	})
	r.client, err = kubernetes.NewForConfig(r.plane.Config())
	require.NoError(t, err)
	r.objects, err = dynamic.NewForConfig(r.plane.Config())
	require.NoError(t, err)
	return r
}

// run is the container runtime: promlet, with the arguments of the chart and what differs on loopback.
func (r *release) run(ctx context.Context, c controlplane.Container) (*exec.Cmd, error) {
	args := slices.Clone(c.Args)
	for port, listen := range c.Listen {
		_, own, err := net.SplitHostPort(listen)
		if err != nil {
			return nil, err
		}
		if port == 6443 {
			args = append(args, "--bind-address=127.0.0.1", "--secure-port="+own, "--web-listen-address=",
				"--data-dir="+filepath.Join(c.Dir, "data"), "--scrape-allowed-networks=127.0.0.0/8")
		}
	}
	return exec.CommandContext(ctx, r.binary, append(args, "--kubeconfig="+c.Kubeconfig)...), nil
}

func (r *release) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return helmCommand(t, append(args, "--kubeconfig", r.plane.Kubeconfig(), "--namespace", "promlet")...)
}

func (r *release) helm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := r.command(t, args...).CombinedOutput()
	require.NoError(t, err, "helm %v: %s", args, out)
	return string(out)
}

// monitorSomething makes a PodMonitor with a target. Processes do not reach the addresses of pods, so a proxy answers.
func (r *release) monitorSomething(t *testing.T) {
	t.Helper()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintln(w, "queue_depth 3")
	}))
	t.Cleanup(proxy.Close)
	apply := r.plane.Kubectl(t.Context(), "apply", "-f", "-")
	apply.Stdin = strings.NewReader(`
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: something, namespace: promlet}
spec:
  selector: {matchLabels: {app.kubernetes.io/name: promlet}}
  podMetricsEndpoints: [{port: https, interval: 1s, proxyUrl: "` + proxy.URL + `"}]
`)
	out, err := apply.CombinedOutput()
	require.NoError(t, err, string(out))
}

// find returns an object of the cluster, or nil if it is not there.
func (r *release) find(t *testing.T, o *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(r.client.Discovery()))
	gvk := o.GroupVersionKind()
	mapping, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	require.NoError(t, err)
	found, err := r.objects.Resource(mapping.Resource).Namespace(o.GetNamespace()).Get(t.Context(), o.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	require.NoError(t, err)
	return found
}

// bundles returns the CA and the Service of each APIService that has a CA.
func (r *release) bundles(t *testing.T) map[string]string {
	t.Helper()
	list, err := r.objects.Resource(schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	all := map[string]string{}
	for _, o := range list.Items {
		if ca, _, _ := unstructured.NestedString(o.Object, "spec", "caBundle"); ca != "" {
			service, _, err := unstructured.NestedString(o.Object, "spec", "service", "name")
			require.NoError(t, err)
			all[o.GetName()] = service + " " + ca
		}
	}
	return all
}

func (r *release) secret(t *testing.T) map[string][]byte {
	t.Helper()
	secret, err := r.client.CoreV1().Secrets("promlet").Get(t.Context(), "promlet-serving-cert", metav1.GetOptions{})
	require.NoError(t, err)
	return secret.Data
}

// helm install, test, upgrade from values to values, and uninstall, with promlet running. Upgrades leave alone what
// promlet writes.
func TestChartIsInstalledUpgradedAndUninstalled(t *testing.T) {
	r := startRelease(t)
	wait := []string{"--wait", "--timeout", "4m"}
	out := r.helm(t, append([]string{"install", "promlet", chartDir, "--create-namespace", "--set", "crds.enabled=true"}, wait...)...)
	require.Contains(t, out, "helm -n promlet test promlet")
	require.Error(t, r.command(t, "test", "promlet", "--timeout", "4m").Run(), "no target exposes a metric")
	r.monitorSomething(t)
	require.Eventually(t, func() bool { return r.command(t, "test", "promlet", "--timeout", "4m").Run() == nil }, time.Minute, time.Second)
	certificate, bundles := r.secret(t), r.bundles(t)
	require.Len(t, certificate, 4)
	require.Equal(t, []string{"v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io"}, slices.Sorted(maps.Keys(bundles)))

	previous := template(t)
	upgrade := func(flags, values []string) {
		t.Helper()
		before := r.bundles(t)
		r.helm(t, slices.Concat([]string{"upgrade", "promlet", chartDir, "--reset-values"}, flags, values)...)
		wanted := template(t, values...)
		for _, o := range wanted {
			if o.GetAnnotations()["helm.sh/hook"] == "" {
				require.NotNil(t, r.find(t, o), "%s with %s", name(o), values)
			}
		}
		for _, o := range previous {
			gone := !slices.ContainsFunc(wanted, func(w *unstructured.Unstructured) bool { return name(w) == name(o) })
			if gone && o.GetKind() != "CustomResourceDefinition" {
				require.Eventually(t, func() bool {
					found := r.find(t, o)
					return found == nil || found.GetDeletionTimestamp() != nil
				}, time.Minute, 100*time.Millisecond, "%s after %s", name(o), values)
			}
		}
		previous = wanted
		require.Equal(t, certificate, r.secret(t))
		for apiService, bundle := range r.bundles(t) {
			if before[apiService] != "" {
				require.Equal(t, before[apiService], bundle, "%s with %s", apiService, values)
			}
		}
	}
	clientSide := []string{"--server-side=false", "--force-conflicts=false"} // as Helm 3 does
	for _, flags := range [][]string{nil, clientSide} {
		upgrade(flags, []string{"--set", "externalMetrics.enabled=true,serviceMonitor.enabled=true,resources.limits.memory=300Mi"})
		const resourceMetrics = "resourceMetrics.enabled=true,podMonitor.enabled=true,replicas=2,config.keep={a}"
		upgrade(flags, []string{"--set", resourceMetrics})
		keeper := promletsCertificate(t, r.plane.Config(), "v1beta1.metrics.k8s.io", "v1.metrics.k8s.io")
		require.Eventually(t, func() bool { return keeper.Ensure(t.Context()) == nil && len(r.bundles(t)) == 4 }, time.Minute, 100*time.Millisecond, "promlet puts itself in")
		upgrade(flags, []string{"--set", resourceMetrics + ",podLabels.a=b"})
		require.Len(t, r.bundles(t), 4)
		upgrade(flags, []string{"--set", "sharded.enabled=true,scrapeSecrets.enabled=true,rules.default=false"})
		upgrade(flags, []string{"--set", "persistence.enabled=true,priorityClassName=system-cluster-critical"})
		deployment, err := r.client.AppsV1().Deployments("promlet").Get(t.Context(), "promlet", metav1.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, appsv1.RecreateDeploymentStrategyType, deployment.Spec.Strategy.Type)
		require.Equal(t, []string{"promlet"}, claims(deployment))
		upgrade(flags, nil)
	}
	r.helm(t, append([]string{"upgrade", "promlet", chartDir, "--reset-values", "--set", "replicas=2"}, wait...)...)
	r.helm(t, "rollback", "promlet", "--wait", "--timeout", "4m")
	r.helm(t, "test", "promlet", "--timeout", "4m")
	require.Equal(t, certificate, r.secret(t))
	require.Equal(t, bundles, r.bundles(t))

	r.helm(t, "uninstall", "promlet", "--wait", "--timeout", "4m")
	for _, o := range template(t, "--set", "crds.enabled=true") {
		require.Equal(t, o.GetKind() == "CustomResourceDefinition", r.find(t, o) != nil, "%s", name(o))
	}
}

// Whoever installed with kubectl goes on with Helm, without a Deployment made anew.
func TestHelmTakesOverFromKubectl(t *testing.T) {
	r := startRelease(t)
	out, err := r.plane.Kubectl(t.Context(), "apply", "-f", "install.yaml").CombinedOutput()
	require.NoError(t, err, string(out))
	deployment := func() *appsv1.Deployment {
		found, err := r.client.AppsV1().Deployments("promlet").Get(t.Context(), "promlet", metav1.GetOptions{})
		require.NoError(t, err)
		return found
	}
	require.Eventually(t, func() bool { return deployment().Status.ReadyReplicas == 1 }, 3*time.Minute, time.Second)
	before, certificate, bundles := deployment(), r.secret(t), r.bundles(t)
	r.helm(t, "install", "promlet", chartDir, "--take-ownership", "--force-conflicts", "--wait", "--timeout", "4m")
	require.Equal(t, before.UID, deployment().UID)
	require.Equal(t, before.Spec.Template, deployment().Spec.Template, "no pod is started anew")
	require.Equal(t, certificate, r.secret(t))
	require.Equal(t, bundles, r.bundles(t))
}

func claims(deployment *appsv1.Deployment) []string {
	var all []string
	for _, volume := range deployment.Spec.Template.Spec.Volumes {
		if volume.PersistentVolumeClaim != nil {
			all = append(all, volume.PersistentVolumeClaim.ClaimName)
		}
	}
	return all
}
