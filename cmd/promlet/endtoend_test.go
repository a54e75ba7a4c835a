package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"

	"github.com/promlet/promlet/bench/controlplane"
)

// What `make e2e` sets. Without them the tests run on a control plane of the
// default version.
const (
	e2eVersion    = "PROMLET_E2E_K8S"        // another version of Kubernetes
	e2eKubeconfig = "PROMLET_E2E_KUBECONFIG" // an existing cluster instead
	e2eImage      = "PROMLET_E2E_IMAGE"      // promlet's image there
	e2eAppImage   = "PROMLET_E2E_APP_IMAGE"  // the sample application's
)

// e2ePatience is how long a rollout, or the HPA, may take on a loaded machine.
const e2ePatience = 4 * time.Minute

// endToEnd is a cluster that promlet is installed in.
type endToEnd struct {
	config     *rest.Config
	client     *kubernetes.Clientset
	objects    *dynamic.DynamicClient
	kubeconfig string
	binary     string // of the control plane, for its kubectl
	logs       string // directory

	plane   *controlplane.Plane   // nil for an existing cluster
	kubelet *controlplane.Kubelet // of the plane
	app     string                // path of the sample application's binary

	mtx  sync.Mutex
	webs map[string]string // URL of the web port by pod of promlet
}

// startEndToEnd starts a control plane, or takes an existing cluster, for as long
// as the test runs.
func startEndToEnd(t *testing.T) *endToEnd {
	version := controlplane.DefaultVersion
	if asked := os.Getenv(e2eVersion); asked != "" {
		version = asked
	}
	binary, err := controlplane.Build(t.Context(), version, os.Stderr)
	require.NoError(t, err)
	e := &endToEnd{binary: binary, kubeconfig: os.Getenv(e2eKubeconfig), webs: map[string]string{}}
	if e.kubeconfig == "" {
		e.startPlane(t, version)
	} else {
		e.config, err = clientcmd.BuildConfigFromFlags("", e.kubeconfig)
		require.NoError(t, err)
		// Files would be watched for as long as the process runs.
		require.NoError(t, rest.LoadTLSFiles(e.config))
		e.config.CertFile, e.config.KeyFile, e.config.CAFile = "", "", ""
		e.config.QPS = -1
	}
	e.client = clientFor(t, e.config)
	e.objects, err = dynamic.NewForConfigAndClient(e.config, httpClient(t, e.config))
	require.NoError(t, err)
	served, err := e.client.Discovery().ServerVersion()
	require.NoError(t, err)
	t.Logf("Kubernetes %s", served.GitVersion)
	return e
}

func clientFor(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfigAndClient(config, httpClient(t, config))
	require.NoError(t, err)
	return client
}

// httpClient returns a client whose connections end with the test.
func httpClient(t *testing.T, config *rest.Config) *http.Client {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	require.NoError(t, err)
	t.Cleanup(func() { utilnet.CloseIdleConnectionsFor(client.Transport) })
	return client
}

func (e *endToEnd) startPlane(t *testing.T, version string) {
	var err error
	e.logs, err = os.MkdirTemp("", "promlet-e2e-")
	require.NoError(t, err)
	e.copyConfig(t)
	e.app = filepath.Join(e.logs, "sample-metrics-app")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", e.app, "github.com/promlet/promlet/deploy/example/app")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	e.plane, err = controlplane.Start(t.Context(), controlplane.Options{Binary: e.binary, LogDir: e.logs, FeatureGates: featureGates(version)})
	require.NoError(t, err)
	e.config, e.kubeconfig = e.plane.Config(), e.plane.Kubeconfig()

	log, err := os.Create(filepath.Join(e.logs, "kubelet.log"))
	require.NoError(t, err)
	e.kubelet, err = controlplane.NewKubelet(e.plane, e.run, slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running errgroup.Group
	running.Go(func() error { return e.kubelet.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		require.NoError(t, running.Wait())
		require.NoError(t, e.plane.Stop())
		require.NoError(t, log.Close())
		if t.Failed() {
			t.Logf("the logs of the control plane and of every pod are in %s", e.logs)
			return
		}
		require.NoError(t, os.RemoveAll(e.logs))
	})
}

// run is the container runtime: real processes, with the arguments of the manifest
// and then what differs on loopback.
func (e *endToEnd) run(ctx context.Context, c controlplane.Container) (*exec.Cmd, error) {
	switch c.Spec.Name {
	case "sample-metrics-app":
		return exec.CommandContext(ctx, e.app, append(c.Args, "--listen-address", c.Listen[8080])...), nil
	case "secure-app":
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), asSecureApp+"="+e.logs, secureAppListen+"="+c.Listen[8443])
		return cmd, nil
	case "odd-app":
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), asOddApp+"="+c.Listen[8080], oddAppRefuse+"="+c.Listen[9999], oddAppMixed+"="+strings.Join(c.Args, ""))
		return cmd, nil
	case "steady-app":
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), asSteadyApp+"="+c.Listen[8080], steadyShares+"="+filepath.Join(e.logs, "shares.json"), steadyPod+"="+c.Pod.Name)
		return cmd, nil
	case "idle-app":
		return exec.CommandContext(ctx, "sleep", "infinity"), nil
	case "recipe-app":
		return e.runRecipeApp(ctx, c), nil
	case "promlet":
		return e.runPromlet(ctx, c, append(c.Args, "--config", e.configFile(), "--data-dir", filepath.Join(c.Dir, "data")))
	case chartName:
		return e.runChart(ctx, c)
	default:
		return nil, fmt.Errorf("there is no program for container %s", c.Spec.Name)
	}
}

// runPromlet runs promlet with arguments, to which it adds what differs on loopback.
func (e *endToEnd) runPromlet(ctx context.Context, c controlplane.Container, args []string) (*exec.Cmd, error) {
	_, port, err := net.SplitHostPort(c.Listen[6443])
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	web := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return nil, err
	}
	e.mtx.Lock()
	e.webs[c.Pod.Name] = "http://" + web
	e.mtx.Unlock()
	cmd := exec.CommandContext(ctx, os.Args[0], append(slices.Clone(args),
		"--kubeconfig", c.Kubeconfig, "--bind-address", "127.0.0.1", "--secure-port", port, "--web-listen-address", web)...)
	cmd.Env = append(os.Environ(), asPromlet+"=1", podNetwork+"="+e.plane.Network().Socket(), podServiceAccount+"="+c.ServiceAccount)
	return cmd, nil
}

// web returns the URL of a pod's web port, which is reached on a control plane only.
func (e *endToEnd) web(pod string) string {
	e.mtx.Lock()
	defer e.mtx.Unlock()
	return e.webs[pod]
}

// tryKubectl runs kubectl and returns what it printed.
func (e *endToEnd) tryKubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := controlplane.Kubectl(ctx, e.binary, e.kubeconfig, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

func (e *endToEnd) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := e.tryKubectl(t.Context(), "", args...)
	require.NoError(t, err)
	return out
}

// install applies the CRDs where there are none, and deploy/ with two replicas and
// deploy/example as they are shipped, but for shorter times. On a control plane
// promlet is there before the CRDs are. On an existing cluster all of it is removed
// in the end, so nothing of it may be there before.
func (e *endToEnd) install(t *testing.T) {
	deploy, overlay := repository(t, "deploy"), t.TempDir()
	variants, err := os.ReadFile("testdata/e2e/variants.yaml")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(overlay, "variants.yaml"), variants, 0o600))
	write := func(resources string) {
		text := e.kustomization(t, overlay, deploy, resources)
		require.NoError(t, os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(text), 0o600))
	}
	if e.plane == nil {
		for _, namespace := range []string{"promlet", "variants"} {
			_, err := e.client.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{})
			require.True(t, apierrors.IsNotFound(err), "the test makes and deletes namespace %s, and there is one (%v): take another cluster", namespace, err)
		}
	} else {
		write("BASE")
		e.kubectl(t, "apply", "--server-side", "-k", overlay)
		e.eventually(t, "promlet is ready without the CRDs", func(ctx context.Context) error { return e.replicas(ctx, "promlet", "promlet", 2) })
	}
	if _, err := e.tryKubectl(t.Context(), "", "get", "crd", "servicemonitors.monitoring.coreos.com"); err != nil {
		e.installCRDs(t, deploy)
	}
	write("BASE, BASE/example, variants.yaml")
	e.removeInTheEnd(t, "-k", overlay)
	e.kubectl(t, "apply", "--server-side", "-k", overlay)
	if e.plane != nil {
		secureAppFiles := secureAppFiles(t, e.logs, "first")
		e.kubectl(t, "apply", "--server-side", "-f", "testdata/e2e/monitors.yaml", "-f", "testdata/e2e/demand.yaml")
		_, err := e.client.CoreV1().Secrets("monitors").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "secure"}, Data: secureAppFiles}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
}

func (e *endToEnd) installCRDs(t *testing.T, deploy string) {
	crds := filepath.Join(deploy, "components", "crds")
	files := []string{"-f", filepath.Join(crds, "servicemonitors.yaml"), "-f", filepath.Join(crds, "podmonitors.yaml")}
	e.removeInTheEnd(t, files...)
	e.kubectl(t, append([]string{"apply", "--server-side"}, files...)...)
	e.kubectl(t, "wait", "--for=condition=Established", "--timeout=1m", "crd/servicemonitors.monitoring.coreos.com", "crd/podmonitors.monitoring.coreos.com")
}

// removeInTheEnd removes from an existing cluster what was applied to it.
func (e *endToEnd) removeInTheEnd(t *testing.T, what ...string) {
	if e.plane != nil {
		return
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), e2ePatience)
		defer cancel()
		_, err := e.tryKubectl(ctx, "", append([]string{"delete", "--ignore-not-found"}, what...)...)
		require.NoError(t, err)
	})
}

// kustomization is promlet with two replicas, shorter times and more components; in the
// resources, BASE stands for deploy/.
func (e *endToEnd) kustomization(t *testing.T, overlay, deploy, resources string, components ...string) string {
	base, err := filepath.Rel(overlay, deploy)
	require.NoError(t, err)
	k := `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [RESOURCES]
components: [BASE/components/high-availability, BASE/components/external-metricsMORE]
patches:
- target: {kind: Deployment, name: promlet}
  patch: |
    - {op: add, path: /spec/template/spec/containers/0/args/-, value: --scrape-interval=5s}
    - {op: add, path: /spec/template/spec/containers/0/args/-, value: --rate-window=20s}
    - {op: add, path: /spec/template/spec/containers/0/args/-, value: --demand-ttl=15s}
- target: {kind: HorizontalPodAutoscaler}
  patch: |
    - {op: add, path: /spec/behavior, value: {scaleDown: {stabilizationWindowSeconds: 0}}}
`
	more := ""
	for _, name := range components {
		more += ", BASE/components/" + name
	}
	k = strings.NewReplacer("RESOURCES", resources, "MORE", more).Replace(k)
	k = strings.ReplaceAll(k, "BASE", base)
	if images := []string{os.Getenv(e2eImage), os.Getenv(e2eAppImage)}; images[0]+images[1] != "" {
		k += "images:\n"
		for i, shipped := range []string{"ghcr.io/promlet/promlet", "sample-metrics-app"} {
			if name, tag, ok := strings.Cut(images[i], ":"); ok {
				k += fmt.Sprintf("- {name: %s, newName: %s, newTag: %s}\n", shipped, name, strconv.Quote(tag))
			}
		}
	}
	return k
}

// repository returns the path of a directory of this checkout.
func repository(t *testing.T, dir string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", dir))
	require.NoError(t, err)
	require.DirExists(t, path)
	return path
}

// metric asks the aggregator for a metric, as the HPA does: namespaces/NS/….
func (e *endToEnd) metric(ctx context.Context, path string) ([]v1beta2.MetricValue, error) {
	answer := e.client.RESTClient().Get().RequestURI("/apis/custom.metrics.k8s.io/v1beta2/" + path).Do(ctx)
	// What Raw and DoRaw return leaves out what the error says.
	if err := answer.Error(); err != nil {
		return nil, err
	}
	body, err := answer.Raw()
	if err != nil {
		return nil, err
	}
	var list v1beta2.MetricValueList
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	return list.Items, nil
}

// number asks for a metric that has one value.
func (e *endToEnd) number(ctx context.Context, path string) (float64, error) {
	items, err := e.metric(ctx, path)
	if err != nil {
		return 0, err
	}
	if len(items) != 1 {
		return 0, fmt.Errorf("%s has %d values", path, len(items))
	}
	return items[0].Value.AsApproximateFloat64(), nil
}

// eventually waits until check has no error.
func (e *endToEnd) eventually(t *testing.T, what string, check func(ctx context.Context) error) {
	t.Helper()
	start := time.Now()
	for {
		err := check(t.Context())
		if err == nil {
			t.Logf("%s: after %s", what, time.Since(start).Round(100*time.Millisecond))
			return
		}
		if time.Since(start) > e2ePatience {
			require.NoError(t, err, what)
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// replicas is an error unless a Deployment has so many, all ready and no others.
func (e *endToEnd) replicas(ctx context.Context, namespace, name string, want int32) error {
	d, err := e.client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if s := d.Status; s.ObservedGeneration < d.Generation || s.Replicas != want || s.ReadyReplicas != want || s.UpdatedReplicas != want {
		return fmt.Errorf("deployment %s/%s has %d replicas, %d ready, %d updated, want %d", namespace, name, s.Replicas, s.ReadyReplicas, s.UpdatedReplicas, want)
	}
	return nil
}

// promletPods lists the pods of promlet that are not on their way out.
func (e *endToEnd) promletPods(t *testing.T) []string {
	t.Helper()
	pods, err := e.client.CoreV1().Pods("promlet").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	var names []string
	for i := range pods.Items {
		if pods.Items[i].DeletionTimestamp == nil {
			names = append(names, pods.Items[i].Name)
		}
	}
	return names
}
