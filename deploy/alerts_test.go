package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/bench/upstream"
)

func readAlerts(t *testing.T) monitoringv1.PrometheusRule {
	t.Helper()
	data, err := os.ReadFile("components/alerts/prometheusrule.yaml")
	require.NoError(t, err)
	var rule monitoringv1.PrometheusRule
	require.NoError(t, yaml.UnmarshalStrict(data, &rule))
	return rule
}

// promtool's own tests, in testdata/alerts.yaml.
func TestAlerts(t *testing.T) {
	binaries, err := upstream.Build(t.Context(), "../bench/prometheus")
	require.NoError(t, err)
	dir := t.TempDir()
	spec, err := yaml.Marshal(readAlerts(t).Spec)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.yaml"), spec, 0o600))
	cases, err := os.ReadFile("testdata/alerts.yaml")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tests.yaml"), cases, 0o600))
	for _, args := range [][]string{
		{"check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"},
		{"test", "rules", "tests.yaml"},
	} {
		cmd := exec.CommandContext(t.Context(), binaries.Promtool, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}

	var tested struct {
		Tests []struct {
			AlertRuleTest []struct {
				AlertName string `json:"alertname"`
				ExpAlerts []any  `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		} `json:"tests"`
	}
	require.NoError(t, yaml.Unmarshal(cases, &tested))
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range tested.Tests {
		for _, c := range test.AlertRuleTest {
			if len(c.ExpAlerts) > 0 {
				fires[c.AlertName] = true
			} else {
				silent[c.AlertName] = true
			}
		}
	}
	for _, rule := range readAlerts(t).Spec.Groups[0].Rules {
		require.True(t, fires[rule.Alert] && silent[rule.Alert], "%s needs a case in which it fires and one in which it does not", rule.Alert)
	}
}

// Alerts read metrics that METRICS.md lists, and link to a heading that says what to do.
func TestAlertsReadAndLinkToWhatThereIs(t *testing.T) {
	reference, err := os.ReadFile("METRICS.md")
	require.NoError(t, err)
	anchors := headings(t, "README.md")
	for _, group := range readAlerts(t).Spec.Groups {
		for _, rule := range group.Rules {
			expr, err := parser.NewParser(parser.Options{}).ParseExpr(rule.Expr.String())
			require.NoError(t, err, rule.Alert)
			parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
				selector, ok := node.(*parser.VectorSelector)
				if !ok {
					return nil
				}
				if !strings.HasPrefix(selector.Name, "prometheus_") { // Prometheus's own code has these
					require.Contains(t, string(reference), "| `"+selector.Name+"` |", rule.Alert)
				}
				for _, m := range selector.LabelMatchers {
					if m.Name != "__name__" {
						require.Regexp(t, "`"+selector.Name+"`.*`"+m.Name+"`", string(reference), rule.Alert)
					}
				}
				return nil
			})
			anchor, found := strings.CutPrefix(rule.Annotations["runbook_url"], "https://github.com/promlet/promlet/blob/main/deploy/README.md#")
			require.True(t, found, rule.Alert)
			require.True(t, anchors[anchor], "README.md has no heading for #%s", anchor)
			require.NotEmpty(t, rule.Annotations["summary"])
			require.NotEmpty(t, rule.Labels["severity"])
		}
	}
}
