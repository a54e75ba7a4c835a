package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/promlet/promlet/bench/controlplane"
)

const (
	// metricsServerAddress is where testdata/e2e/resources.yaml says that metrics-server is.
	metricsServerAddress = "10.244.253.1:10250"
	resourceMetricsPath  = "/apis/metrics.k8s.io/v1beta1/"
	mebibyte             = 1 << 20
)

// resourceHPAs are the metrics that HPAs in testdata/e2e/resources-app.yaml scale on, by name.
var resourceHPAs = map[string]string{
	"by-utilization": "{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}",
	"by-memory":      "{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 100Mi}}}",
	"by-container":   "{type: ContainerResource, containerResource: {name: cpu, container: idle-app, target: {type: Utilization, averageUtilization: 50}}}",
}

// resourceLoad is what the pods of an application use, shared evenly.
type resourceLoad struct {
	e     *endToEnd
	total controlplane.Use // of all pods of one application
}

// resources installs the component resource-metrics beside a metrics-server that is then removed,
// and reads and scales on what played kubelets report.
func (e *endToEnd) resources(t *testing.T) {
	nodes := map[string]*controlplane.Node{}
	for _, name := range []string{"hanging", "impostor", "vanishing"} {
		node, err := e.kubelet.AddNode(t.Context(), name)
		require.NoError(t, err)
		nodes[name] = node
	}
	load := &resourceLoad{e: e}
	load.set(t, controlplane.Use{Cores: 0.152, Bytes: 152 * mebibyte})
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }))
	t.Cleanup(server.Close)
	e.plane.Network().Route(metricsServerAddress, server.Listener.Addr().String())
	t.Cleanup(func() {
		e.plane.Network().Unroute(metricsServerAddress)
		for _, args := range [][]string{{"namespace", "resources"}, {"apiservice", "v1beta1.metrics.k8s.io", "v1.metrics.k8s.io"}} {
			_, err := e.tryKubectl(context.WithoutCancel(t.Context()), "", append([]string{"delete", "--wait=false", "--ignore-not-found"}, args...)...)
			require.NoError(t, err)
		}
		for _, node := range nodes {
			require.NoError(t, node.Leave(context.WithoutCancel(t.Context())))
		}
	})
	e.kubectl(t, "apply", "--server-side", "--field-manager=metrics-server", "-f", "testdata/e2e/resources.yaml")
	app, err := os.ReadFile("testdata/e2e/resources-app.yaml")
	require.NoError(t, err)
	for name, metric := range resourceHPAs {
		_, err := e.tryKubectl(t.Context(), strings.NewReplacer("NAME", name, "METRIC", metric).Replace(string(app)), "apply", "--server-side", "-f", "-")
		require.NoError(t, err)
	}

	e.takesPlaceOfMetricsServer(t)
	e.top(t)
	require.NoError(t, nodes["hanging"].Hang())
	require.NoError(t, nodes["impostor"].Impersonate("elsewhere"))
	require.NoError(t, nodes["vanishing"].Vanish())
	load.set(t, controlplane.Use{Cores: 0.384, Bytes: 384 * mebibyte})
	load.requireReplicas(t, 4, "48%", "96Mi", "48%")
	e.othersHaveValues(t, nodes)
	load.set(t, controlplane.Use{Cores: 0.152, Bytes: 152 * mebibyte})
	load.requireReplicas(t, 2, "38%", "76Mi", "38%")
}

// takesPlaceOfMetricsServer applies the component: the APIService of a metrics-server is left to it while its Service is
// there, and promlet's afterwards.
func (e *endToEnd) takesPlaceOfMetricsServer(t *testing.T) {
	e.eventually(t, "metrics-server serves", func(ctx context.Context) error { return e.servedBy(ctx, "metrics-server", "v1beta1.metrics.k8s.io") })
	// Replicas that find no other one wait for two scrapes only.
	e.kubectl(t, "-n", "promlet", "scale", "deployment/promlet", "--replicas=0")
	e.eventually(t, "promlet is down", func(ctx context.Context) error { return e.replicas(ctx, "promlet", "promlet", 0) })
	overlay := t.TempDir()
	text := e.kustomization(t, overlay, repository(t, "deploy"), "BASE", "resource-metrics")
	const last = "value: --demand-ttl=15s}\n"
	require.Contains(t, text, last)
	text = strings.Replace(text, last, last+"    - {op: add, path: /spec/template/spec/containers/0/args/-, value: --metric-resolution=10s}\n", 1)
	require.NoError(t, os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(text), 0o600))
	e.kubectl(t, "apply", "--server-side", "--force-conflicts", "-k", overlay)
	e.eventually(t, "promlet says whose the APIService is", func(context.Context) error {
		for _, pod := range e.promletPods(t) {
			log, err := os.ReadFile(filepath.Join(e.logs, "pod-promlet-"+pod+".log"))
			if err == nil && strings.Contains(string(log), "it belongs to Service kube-system/metrics-server, not to Service promlet/promlet, and is left alone") {
				return nil
			}
		}
		return errNotYet
	})
	require.NoError(t, e.servedBy(t.Context(), "metrics-server", "v1beta1.metrics.k8s.io"))
	e.kubectl(t, "api-resources") // fails if discovery does
	e.kubectl(t, "-n", "kube-system", "delete", "service", "metrics-server")
	e.eventually(t, "two replicas of promlet are ready", func(ctx context.Context) error { return e.replicas(ctx, "promlet", "promlet", 2) })
	e.eventually(t, "promlet serves", func(ctx context.Context) error {
		return errors.Join(e.servedBy(ctx, "promlet", "v1beta1.metrics.k8s.io"), e.servedBy(ctx, "promlet", "v1.metrics.k8s.io"))
	})
}

// servedBy is an error unless an APIService is available and has this Service.
func (e *endToEnd) servedBy(ctx context.Context, service, name string) error {
	apiServices := schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
	object, err := e.objects.Resource(apiServices).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if found, _, _ := unstructured.NestedString(object.Object, "spec", "service", "name"); found != service {
		return fmt.Errorf("APIService %s has Service %q, want %q: %w", name, found, service, errNotYet)
	}
	if err := isAvailable(object); err != nil {
		return fmt.Errorf("APIService %s: %w", name, err)
	}
	return nil
}

// set changes what the applications use. How many pods share it changes with requireReplicas.
func (l *resourceLoad) set(t *testing.T, total controlplane.Use) {
	t.Helper()
	l.total = total
	require.NoError(t, l.share(t.Context()))
}

// share gives each pod of an application its share: three quarters are used by the application's container, one by the
// sidecar. The sidecars of by-container use half a core each, which must not count.
func (l *resourceLoad) share(ctx context.Context) error {
	deployments, err := l.e.client.AppsV1().Deployments("resources").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	replicas := map[string]int64{}
	for i := range deployments.Items {
		replicas[deployments.Items[i].Name] = int64(deployments.Items[i].Status.Replicas)
	}
	l.e.kubelet.SetUsage(controlplane.Usage{
		Node: func(string) controlplane.Use { return controlplane.Use{Cores: 1.5, Bytes: 2048 * mebibyte} },
		Container: func(pod *corev1.Pod, name string) controlplane.Use {
			n := cmp.Or(replicas[pod.Labels["app"]], 2) // those of the manifest
			switch {
			case pod.Namespace != "resources" || pod.Labels["app"] == "":
				return controlplane.Use{Cores: 0.250, Bytes: 50 * mebibyte}
			case pod.Labels["app"] == "by-container" && name == "sidecar":
				return controlplane.Use{Cores: 0.5, Bytes: mebibyte}
			case pod.Labels["app"] == "by-container":
				return controlplane.Use{Cores: l.total.Cores / 2 / float64(n), Bytes: mebibyte}
			case name == "sidecar":
				return controlplane.Use{Cores: l.total.Cores / 4 / float64(n), Bytes: l.total.Bytes / 4 / n}
			}
			return controlplane.Use{Cores: l.total.Cores * 3 / 4 / float64(n), Bytes: l.total.Bytes * 3 / 4 / n}
		},
	})
	return nil
}

// requireReplicas waits until each HPA has scaled to so many replicas and stays there, with the values of its metric that
// they share.
func (l *resourceLoad) requireReplicas(t *testing.T, want int32, utilization, memory, container string) {
	t.Helper()
	values := map[string]string{"by-utilization": utilization, "by-memory": memory, "by-container": container}
	l.e.eventually(t, fmt.Sprintf("HPAs on resources scale to %d", want), func(ctx context.Context) error {
		if err := l.share(ctx); err != nil {
			return err
		}
		for name := range resourceHPAs {
			hpa, err := l.e.client.AutoscalingV2().HorizontalPodAutoscalers("resources").Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			s := hpa.Status
			if s.DesiredReplicas != want || s.CurrentReplicas != want || currentResource(s.CurrentMetrics) != values[name] {
				return fmt.Errorf("%s has %d replicas and wants %d at %s, want %d at %s: %w: %v", name, s.CurrentReplicas, s.DesiredReplicas,
					currentResource(s.CurrentMetrics), want, values[name], errNotYet, s.Conditions)
			}
		}
		return nil
	})
	t.Log("\n" + l.e.kubectl(t, "-n", "resources", "get", "hpa"))
}

// currentResource returns the value that an HPA has read as kubectl prints it.
func currentResource(current []autoscalingv2.MetricStatus) string {
	if len(current) != 1 {
		return ""
	}
	var value autoscalingv2.MetricValueStatus
	switch {
	case current[0].Resource != nil:
		value = current[0].Resource.Current
	case current[0].ContainerResource != nil:
		value = current[0].ContainerResource.Current
	}
	if value.AverageUtilization != nil {
		return fmt.Sprintf("%d%%", *value.AverageUtilization)
	}
	return value.AverageValue.String()
}

// top shows that kubectl top prints what is used, exactly.
func (e *endToEnd) top(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		e.eventually(t, "kubectl top "+strings.Join(args, " "), func(ctx context.Context) error {
			out, err := e.tryKubectl(ctx, "", append([]string{"top"}, args...)...)
			if err == nil && words(out) != words(want) {
				err = fmt.Errorf("%w: %s", errNotYet, out)
			}
			return err
		})
		t.Log("\n" + e.kubectl(t, append([]string{"top"}, args...)...))
	}
	f(`NAME CPU(cores) CPU(%) MEMORY(bytes) MEMORY(%)
hanging 1500m 18% 2048Mi 6%
impostor 1500m 18% 2048Mi 6%
node-1 1500m 18% 2048Mi 6%
vanishing 1500m 18% 2048Mi 6%`, "nodes")
	f(`POD NAME CPU(cores) MEMORY(bytes)
on-hanging idle-app 250m 50Mi
on-hanging sidecar 250m 50Mi
on-impostor idle-app 250m 50Mi
on-impostor sidecar 250m 50Mi
on-node-1 idle-app 250m 50Mi
on-node-1 sidecar 250m 50Mi
on-vanishing idle-app 250m 50Mi
on-vanishing sidecar 250m 50Mi`, "pods", "--containers", "-n", "resources", "-l", "!app")
	f(`NAME CPU(cores) MEMORY(bytes)
on-node-1 500m 100Mi`, "pods", "on-node-1", "-n", "resources")
}

// words replaces spaces in a table by single ones.
func words(table string) string {
	var lines []string
	for line := range strings.Lines(table) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

// othersHaveValues shows that nodes in trouble, and their pods, have no values, with the reason, and that all others have.
func (e *endToEnd) othersHaveValues(t *testing.T, nodes map[string]*controlplane.Node) {
	for name, reason := range map[string]string{
		"hanging":   "timed out after ",
		"impostor":  "its certificate is not valid for " + nodes["impostor"].Address + ", but for ",
		"vanishing": "no pod listens there: check that the node is up",
	} {
		e.noResourceMetrics(t, "nodes/"+name, reason)
		e.noResourceMetrics(t, "namespaces/resources/pods/on-"+name, reason)
	}
	for _, path := range []string{"nodes/node-1", "namespaces/resources/pods/on-node-1"} {
		t.Log(e.kubectl(t, "get", "--raw", resourceMetricsPath+path))
	}
	require.Contains(t, html.UnescapeString(e.page(t, "/targets")), "its certificate is not valid for "+nodes["impostor"].Address)
	list := func(path string) (names []string) {
		var items metav1.PartialObjectMetadataList
		require.NoError(t, json.Unmarshal([]byte(e.kubectl(t, "get", "--raw", resourceMetricsPath+path)), &items))
		for i := range items.Items {
			names = append(names, items.Items[i].Name)
		}
		return names
	}
	require.Equal(t, []string{"node-1"}, list("nodes"))
	require.Equal(t, []string{"on-node-1"}, list("namespaces/resources/pods?labelSelector=!app"))
	require.Len(t, list("namespaces/resources/pods?labelSelector=app"), 12)
	require.NoError(t, nodes["vanishing"].Leave(t.Context()))
	e.noResourceMetrics(t, "nodes/vanishing", `"vanishing" not found`)
	e.noResourceMetrics(t, "namespaces/resources/pods/on-vanishing", `node "vanishing" is not scraped`)
	for _, pod := range e.promletPods(t) {
		log, err := os.ReadFile(filepath.Join(e.logs, "pod-promlet-"+pod+".log"))
		require.NoError(t, err)
		require.Contains(t, string(log), "x509: cannot validate certificate for "+nodes["impostor"].Address)
	}
}

// noResourceMetrics waits until something has no value for a reason.
func (e *endToEnd) noResourceMetrics(t *testing.T, path, reason string) {
	t.Helper()
	e.eventually(t, path+" has no value", func(ctx context.Context) error {
		err := e.client.RESTClient().Get().AbsPath(resourceMetricsPath + path).Do(ctx).Error()
		if !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), reason) {
			return fmt.Errorf("%w: %w", errNotYet, err)
		}
		t.Log(err)
		return nil
	})
}
