package web

import (
	"html"
	"net/http"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/stretchr/testify/require"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/scrape"
)

func TestConfigurationPage(t *testing.T) {
	no := false
	own := rules.Rule{
		SeriesQuery: `{__name__=~"^x.*"}`, SeriesFilters: []rules.Filter{{IsNot: "_bucket$"}}, MetricsQuery: "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
		Resources: rules.Resources{Template: "<<.Resource>>", Namespaced: &no}, Name: rules.Name{As: "y"},
	}
	opts := nothing(t)
	opts.Configuration = func() Configuration {
		return Configuration{
			File: "/etc/promlet.yaml", Rules: append(rules.Defaults(rules.DefaultRateWindow), own), ExternalRules: []rules.Rule{own},
			Flags: []Flag{{Name: "shard", Value: "1/2", Set: true}, {Name: "log-level", Value: "info"}, {Name: "ingest", Value: "demand"}},
		}
	}
	page := get(t, opts, "/configuration", http.StatusOK)
	for _, want := range []string{
		`<details class="card" id="default rule 4">`, `<article class="card" id="rules[0]">`, `<article class="card" id="externalRules[0]">`,
		"The default rules come before those of the file.", `<details id="defaults"><summary>2 flags are at their defaults</summary>`,
	} {
		require.Contains(t, page, want)
	}
	require.NotContains(t, page, `id="rules[4]"`, "rules are called as problems call them")
	require.Less(t, strings.Index(page, "--shard"), strings.Index(page, `id="defaults"`), "what is given is not folded")
	require.Less(t, strings.Index(page, `id="defaults"`), strings.Index(page, "--log-level"))

	text, err := ruleYAML(own)
	require.NoError(t, err)
	var config rules.Config
	require.NoError(t, yaml.UnmarshalStrict([]byte("rules:\n"+text), &config), text)
	require.Equal(t, []rules.Rule{own}, config.Rules, "what is shown is the rule")
	require.True(t, strings.HasPrefix(text, "- seriesQuery: "), text)
}

// Kubernetes' and the operator's types accept the examples on empty pages strictly.
func TestOffers(t *testing.T) {
	opts := nothing(t)
	offered := func() string {
		t.Helper()
		s, err := New(opts)
		require.NoError(t, err)
		text, err := s.exampleHPA(t.Context())
		require.NoError(t, err)
		require.Contains(t, get(t, opts, "/autoscalers", http.StatusOK), "<pre>"+html.EscapeString(text)+"</pre>")
		return text
	}
	text := offered()
	var hpa autoscalingv2.HorizontalPodAutoscaler
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), &hpa), text)
	require.Equal(t, "http_requests", hpa.Spec.Metrics[0].Object.Metric.Name)
	require.Contains(t, text, "# Replace my-app and http_requests.")

	// If a metric is served, the example is about that metric.
	opts.Targets = func() []Target { return []Target{shopTarget} }
	opts.Metrics = func() []scrape.Metric {
		return []scrape.Metric{{Job: "shop/0", Name: "go_threads"}, {Job: "shop/0", Name: "orders_total", Metadata: metadata.Metadata{Type: "counter"}}}
	}
	text = offered()
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), &hpa), text)
	require.Equal(t, "orders", hpa.Spec.Metrics[0].Object.Metric.Name, "not on a metric of a runtime")
	require.NotContains(t, text, "Replace")

	text, err := exampleMonitor()
	require.NoError(t, err)
	require.Contains(t, get(t, opts, "/targets", http.StatusOK), "<pre>"+html.EscapeString(text)+"</pre>")
	var monitor monitoringv1.ServiceMonitor
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), &monitor), text)
	require.Equal(t, "monitoring.coreos.com/v1 ServiceMonitor", monitor.APIVersion+" "+monitor.Kind)
	require.Equal(t, map[string]string{"app": "my-app"}, monitor.Spec.Selector.MatchLabels)
	require.Equal(t, "web", monitor.Spec.Endpoints[0].Port)
	require.NotContains(t, text, "{}")
}
