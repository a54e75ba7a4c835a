package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"

	"github.com/promlet/promlet/adapter/engine"
	"github.com/promlet/promlet/adapter/servingcert"
	clustersource "github.com/promlet/promlet/discovery/cluster"
	"github.com/promlet/promlet/discovery/objects"
	"github.com/promlet/promlet/tsdb"
)

// metricsReference is written by this test: go test ./cmd/promlet -run TestMetricsReference -args update
const metricsReference = "../../deploy/METRICS.md"

// families are what a body of the exposition format holds, by name.
func families(t *testing.T, body string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	parsed, err := parser.TextToMetricFamilies(strings.NewReader(body))
	require.NoError(t, err)
	return parsed
}

// ownFamilies are the metrics of promlet's own: those of a process, as both ports serve
// them, and those that only a cluster brings.
func ownFamilies(t *testing.T) (own, others map[string]*dto.MetricFamily) {
	t.Helper()
	manifests := t.TempDir()
	writeManifests(t, manifests, map[string]string{"app-1": counting(t, 10)})
	p := startProcess(t, manifests, t.TempDir())
	p.eventually("pods/*/queue_depth", "app-1=3")
	onWeb := families(t, p.page("/metrics"))
	code, body, err := p.get(p.api + "/metrics")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, code)
	others = families(t, string(body))
	own = map[string]*dto.MetricFamily{}
	for name, f := range onWeb {
		require.Contains(t, others, name, "both ports serve it")
		if strings.HasPrefix(name, "promlet_") {
			own[name] = f
			delete(others, name)
		}
	}
	for name := range others {
		require.False(t, strings.HasPrefix(name, "promlet_"), "%s is not on the web port", name)
	}
	for _, f := range clusterFamilies(t) {
		require.NotContains(t, own, f.GetName())
		own[f.GetName()] = f
	}
	require.NoError(t, p.terminate())
	return own, others
}

// clusterFamilies are the metrics that exist only in a cluster, or with an engine behind a URL.
func clusterFamilies(t *testing.T) []*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewRegistry()
	kube := fake.NewClientset()
	_, err := servingcert.New(servingcert.Options{
		Secrets: kube.CoreV1(), Namespace: "promlet", Secret: "s", Service: "promlet", Registerer: registry,
	})
	require.NoError(t, err)
	scheme := metadatafake.NewTestScheme()
	require.NoError(t, metav1.AddMetaToScheme(scheme))
	source := clustersource.New(clustersource.Clients{
		Kubernetes: kube, Dynamic: dynamicfake.NewSimpleDynamicClient(runtime.NewScheme()), Metadata: metadatafake.NewSimpleMetadataClient(scheme),
	}, clustersource.Options{Registerer: registry})
	asked, err := engine.New(engine.Options{Connection: engine.Connection{URL: "http://127.0.0.1:1"}, Registerer: registry})
	require.NoError(t, err)
	_, err = asked.Instant(t.Context(), tsdb.Query{Expr: "x"})
	require.Error(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx, objects.NewStore(), func() {}) }()
	var gathered []*dto.MetricFamily
	require.Eventually(t, func() bool {
		gathered, err = registry.Gather()
		return err == nil && len(gathered) == 6
	}, patience, 10*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	require.NoError(t, asked.Close())
	return gathered
}

// upstream says whose the other metrics are, by the first word of their names.
func upstream() [][2]string {
	return [][2]string{
		{"prometheus", "the TSDB's (`prometheus_tsdb_*`, among them `prometheus_tsdb_head_series`: the series stored), the PromQL engine's (`prometheus_engine_*`), and those of each `remoteWrite` queue (`prometheus_remote_storage_*`), as Prometheus has them"},
		{"go", "the Go runtime's"},
		{"process", "the process's"},
		{"apiserver", "the Kubernetes API server library's, on the API port only: requests (`apiserver_request_*`, by resource and code), TLS, audit"},
		{"authenticated", "the same: users"},
		{"authentication", "the same: tokens looked up"},
		{"authorization", "the same: permissions looked up"},
		{"aggregator", "the same: discovery"},
		{"metrics", "the same: freshness"},
		{"rest", "the same: requests to the API server (`rest_client_*`)"},
		{"workqueue", "the same: the queues of its controllers"},
		{"field", "the same: validation"},
		{"cardinality", "the same: metrics about its metrics"},
		{"disabled", "likewise"},
		{"hidden", "likewise"},
		{"registered", "likewise"},
	}
}

// reference is the text of the file.
func reference(own map[string]*dto.MetricFamily) string {
	var b bytes.Buffer
	b.WriteString("# promlet's own metrics\n\n" +
		"<!-- Written by go test ./cmd/promlet -run TestMetricsReference -args update -->\n\n" +
		"They are at `/metrics` of the web port, and of the API port beside those of its library. Whoever asks the API port needs\n" +
		"`get` on the nonResourceURL `/metrics`: the component [self-monitoring](components/self-monitoring) gives it to promlet and to Prometheus.\n\n" +
		"| metric | type | labels | |\n|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(own)) {
		f := own[name]
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, strings.ToLower(f.GetType().String()), labelsOf(f), f.GetHelp())
	}
	b.WriteString("\nThe reasons of `promlet_api_answers_total`; all but the first and the last are answered 404, or with an empty list, and the message says more:\n\n| reason | |\n|---|---|\n")
	for _, r := range reasons() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", r[0], r[1])
	}
	b.WriteString("\nThe others keep the names of those whose they are:\n\n| names | are |\n|---|---|\n")
	for _, u := range upstream() {
		fmt.Fprintf(&b, "| `%s_*` | %s |\n", u[0], u[1])
	}
	return b.String()
}

// reasons say what the values of the label reason of promlet_api_answers_total mean.
func reasons() [][2]string {
	return [][2]string{
		{"value", "there is one; of several objects, at least one has one"},
		{"starting", "collection has begun, the first value comes in a moment"},
		{"no_object", "there is no such object, or the selector picks none"},
		{"no_metric", "no rule makes such a metric"},
		{"no_monitor", "no monitor selects the object, or the one that does is rejected"},
		{"no_endpoints", "a monitor selects it and finds no target in it"},
		{"target_down", "its targets are down, or have not been scraped yet"},
		{"no_series", "they are up and expose no such series, with the labels that the rule and the request ask for"},
		{"no_samples", "there are series, without a sample that is recent enough"},
		{"too_few_samples", "a rate needs two"},
		{"not_a_number", "the value is NaN or infinite"},
		{"refused", "the question cannot be answered for any object: an operator that PromQL has not, a kind that there is not"},
		{"error", "a fault, answered 500: the log and the message say more"},
	}
}

// labelsOf lists the labels of a family, with the values that they can have where there are few.
func labelsOf(f *dto.MetricFamily) string {
	values := map[string]map[string]bool{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if values[l.GetName()] == nil {
				values[l.GetName()] = map[string]bool{}
			}
			values[l.GetName()][l.GetValue()] = true
		}
	}
	var listed []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		text := "`" + name + "`"
		if name != "job" && f.GetName() != "promlet_build_info" { // these depend on what runs
			text += ": " + strings.Join(slices.Sorted(maps.Keys(values[name])), ", ")
		}
		listed = append(listed, text)
	}
	return strings.Join(listed, "; ")
}

// The reference is what a process serves, with names and units as Prometheus wants them.
func TestMetricsReference(t *testing.T) {
	own, others := ownFamilies(t)
	for name, f := range own {
		require.NotEmpty(t, f.GetHelp(), name)
	}
	problems, err := promlint.NewWithMetricFamilies(slices.Collect(maps.Values(own))).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	for name := range others {
		word, _, _ := strings.Cut(name, "_")
		require.True(t, slices.ContainsFunc(upstream(), func(u [2]string) bool { return u[0] == word }), "%s: say in upstream whose it is", name)
	}
	require.Len(t, own["promlet_api_answers_total"].GetMetric(), 2*len(reasons()), "say in reasons what each means")
	for _, r := range reasons() {
		require.True(t, anyHas(own["promlet_api_answers_total"], labels.MustNewMatcher(labels.MatchEqual, "reason", r[0])), r[0])
	}
	want := reference(own)
	if slices.Contains(flag.Args(), "update") {
		require.NoError(t, os.WriteFile(metricsReference, []byte(want), 0o644)) //nolint:gosec // It is documentation.
	}
	got, err := os.ReadFile(metricsReference)
	require.NoError(t, err)
	require.Equal(t, want, string(got), "go test ./cmd/promlet -run TestMetricsReference -args update")
	t.Run("Dashboard", func(t *testing.T) {
		maps.Copy(others, own)
		checkDashboard(t, others)
	})
}
