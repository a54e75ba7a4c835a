package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	prometheusv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta1"

	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/bench/controlplane"
	prometheusbuild "github.com/promlet/promlet/bench/upstream"
)

const (
	// chartName is the name of prometheus-adapter's Helm chart, of the objects that it installs and of its container.
	chartName = "prometheus-adapter"
	// chartMetric is the path of the value that the HPA of testdata/e2e/shop.yaml reads. The chart serves only this version of
	// the API.
	chartMetric = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/shop/services/shop/http_requests_per_second"
)

// runChart runs promlet as the container of prometheus-adapter: with the arguments of the Helm chart, the ConfigMap in
// /etc/adapter, and a file system on which only /tmp is writable.
func (e *endToEnd) runChart(ctx context.Context, c controlplane.Container) (*exec.Cmd, error) {
	config, err := e.client.CoreV1().ConfigMaps(c.Pod.Namespace).Get(ctx, chartName, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	mounted, temporary := filepath.Join(c.Dir, "etc", "adapter"), filepath.Join(c.Dir, "tmp")
	for _, dir := range []string{mounted, temporary} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	for name, text := range config.Data {
		if err := os.WriteFile(filepath.Join(mounted, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	inPod := strings.NewReplacer("=/etc/adapter/", "="+mounted+"/", "=/tmp/", "="+temporary+"/")
	args := make([]string, len(c.Args))
	for i, arg := range c.Args {
		args[i] = inPod.Replace(arg)
	}
	cmd, err := e.runPromlet(ctx, c, args)
	if err == nil {
		cmd.Dir, cmd.Env = "/proc/self", append(cmd.Env, "TMPDIR="+temporary) // a directory that is read-only even for root
	}
	return cmd, err
}

// movesFromPrometheusAdapter replaces the image in a release of prometheus-adapter's Helm chart, and later removes
// Prometheus. The same HPA scales on what Prometheus answers, and then on promlet's own samples.
func (e *endToEnd) movesFromPrometheusAdapter(t *testing.T) {
	built, err := prometheusbuild.Build(t.Context(), "../../bench/prometheus")
	require.NoError(t, err)
	e.uninstallPromlet(t)
	e.kubectl(t, "apply", "--server-side", "-f", "testdata/e2e/shop.yaml")
	prometheus, engine, stopPrometheus := e.prometheusBeside(t, built.Prometheus, "shop")
	load := e.startLoad(t, "shop", "shop", 34) // for two pods
	e.eventually(t, "Prometheus has the series", func(ctx context.Context) error {
		_, err := numberOf(ctx, prometheus, `sum(http_requests_total{namespace="shop",service="shop"})`)
		return err
	})
	e.applyChart(t, engine)
	e.eventually(t, "promlet has the place of prometheus-adapter", func(ctx context.Context) error { return e.replicas(ctx, "monitoring", chartName, 1) })
	e.eventually(t, "2 replicas, by Prometheus", func(ctx context.Context) error { return e.replicas(ctx, "shop", "shop", 2) })
	e.eventually(t, "the value is Prometheus's", func(ctx context.Context) error {
		value, err := e.chartValue(ctx)
		if err != nil {
			return err
		}
		want, err := numberOf(ctx, prometheus, `sum(rate(http_requests_total{namespace="shop",service="shop"}[1m]))`)
		if err != nil || value < 0.95*want || value > 1.05*want {
			return fmt.Errorf("%.1f, Prometheus has %.1f: %w", value, want, errors.Join(err, errNotYet))
		}
		t.Logf("%.1f, Prometheus has %.1f", value, want)
		return nil
	})
	explained := e.explainChart(t)
	require.Contains(t, explained, "from "+engine)
	require.Contains(t, explained, "promlet may not list HorizontalPodAutoscalers", "with the ServiceAccount of the chart")
	require.NotContains(t, explained, "ServiceMonitor")

	e.dropPrometheus(t)
	stopPrometheus()
	explained = e.explainChart(t)
	require.NotContains(t, explained, engine)
	require.Contains(t, explained, "ServiceMonitor shop selects the Service")
	require.Contains(t, explained, "2 of 2 are up")
	require.NoError(t, e.replicas(t.Context(), "shop", "shop", 2), "nothing has changed for the HPA")
	load.stop()
	load = e.startLoad(t, "shop", "shop", 140) // for more pods than the HPA may ask for
	e.eventually(t, "4 replicas, by promlet's own samples", func(ctx context.Context) error { return e.replicas(ctx, "shop", "shop", 4) })
	e.eventually(t, "the value is the rate of requests", func(ctx context.Context) error {
		rate := load.rate(ctx, 5*time.Second)
		value, err := e.chartValue(ctx)
		if err != nil || value < 0.8*rate || value > 1.2*rate {
			return fmt.Errorf("%.1f at %.1f requests a second: %w", value, rate, errors.Join(err, errNotYet))
		}
		t.Logf("%.1f at %.1f requests a second", value, rate)
		return nil
	})
}

// numberOf returns the value of a query with one result in Prometheus.
func numberOf(ctx context.Context, prometheus prometheusv1.API, query string) (float64, error) {
	answer, _, err := prometheus.Query(ctx, query, time.Now())
	if err != nil {
		return 0, err
	}
	vector, ok := answer.(model.Vector)
	if !ok || len(vector) != 1 {
		return 0, fmt.Errorf("%s has the values %q: %w", query, answer, errNotYet)
	}
	return float64(vector[0].Value), nil
}

// uninstallPromlet makes the metrics API free for the chart. It also removes the monitors of other parts of the test, which
// would be scraped, too.
func (e *endToEnd) uninstallPromlet(t *testing.T) {
	e.kubectl(t, "-n", "promlet", "scale", "deployment/promlet", "--replicas=0")
	e.kubectl(t, "delete", "apiservice", "v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io")
	e.kubectl(t, "delete", "servicemonitors,podmonitors", "--all", "--all-namespaces")
}

// applyChart installs the chart with the URL of a Prometheus.
func (e *endToEnd) applyChart(t *testing.T, engine string) {
	manifests, err := os.ReadFile("testdata/e2e/chart.yaml")
	require.NoError(t, err)
	_, err = e.tryKubectl(t.Context(), strings.Replace(string(manifests), "=PROMETHEUS", "="+engine, 1), "apply", "--server-side", "-f", "-")
	require.NoError(t, err)
}

// dropPrometheus does what deploy/MIGRATION.md says about a chart in which only the image was replaced.
func (e *endToEnd) dropPrometheus(t *testing.T) {
	e.kubectl(t, "create", "clusterrolebinding", chartName+"-promlet", "--clusterrole=promlet", "--serviceaccount=monitoring:"+chartName)
	e.kubectl(t, "-n", "monitoring", "patch", "deployment", chartName, "--type=json", "-p", `[
  {"op": "replace", "path": "/spec/template/spec/containers/0/args/3", "value": "--data-dir=/tmp/promlet"},
  {"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--service-name=prometheus-adapter"},
  {"op": "replace", "path": "/spec/template/spec/containers/0/readinessProbe/httpGet/path", "value": "/readyz"}]`)
	e.eventually(t, "promlet without --prometheus-url", func(ctx context.Context) error { return e.replicas(ctx, "monitoring", chartName, 1) })
	args := e.kubectl(t, "-n", "monitoring", "get", "deployment", chartName, "-o", "jsonpath={.spec.template.spec.containers[0].args}")
	require.NotContains(t, args, "prometheus-url")
	e.eventually(t, "the metric has a value", func(ctx context.Context) error {
		_, err := e.chartValue(ctx)
		return err
	})
}

// chartValue returns the value that the HPA reads.
func (e *endToEnd) chartValue(ctx context.Context) (float64, error) {
	out, err := e.tryKubectl(ctx, "", "get", "--raw", chartMetric)
	if err != nil {
		return 0, err
	}
	var list v1beta1.MetricValueList
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return 0, err
	}
	if len(list.Items) != 1 {
		return 0, fmt.Errorf("%s has %d values", chartMetric, len(list.Items))
	}
	return list.Items[0].Value.AsApproximateFloat64(), nil
}

// explainChart returns the explanation of the HPA's value, one line for each step.
func (e *endToEnd) explainChart(t *testing.T) string {
	out := e.kubectl(t, "get", "--raw", chartMetric+"?"+url.Values{explain.Parameter: {"true"}}.Encode())
	var explanation explain.Explanation
	require.NoError(t, json.Unmarshal([]byte(out), &explanation), out)
	require.Empty(t, explanation.Reason, "it has a value")
	var text strings.Builder
	for _, step := range explanation.Steps {
		fmt.Fprintf(&text, "%s %s: %s\n", step.State, step.Link, step.Text)
	}
	t.Logf("%s", text.String())
	return text.String()
}
