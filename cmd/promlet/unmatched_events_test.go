package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A whole process tells of a rule that matches nothing, and not of the one that does.
func TestServeTellsOfUnmatchedRules(t *testing.T) {
	manifests, config := t.TempDir(), filepath.Join(t.TempDir(), "config.yaml")
	writeManifests(t, manifests, map[string]string{"app-1": counting(t, 10)})
	require.NoError(t, os.WriteFile(config, []byte(gaugeRules("queue_depth", "queue_dept")), 0o600))
	p := startProcess(t, manifests, t.TempDir(), "--config", config)
	p.eventuallyOn("/", `<a href="/configuration#rules%5B1%5D">rules[1]: seriesQuery "queue_dept" matches no series (closest: queue_depth)`)
	require.NotContains(t, p.page("/"), "rules[0]")
	require.Contains(t, p.page("/configuration"), `id="rules[1]"`, "the link leads to the rule")
	require.Contains(t, p.page("/metrics"), `promlet_rules_unmatched{api="custom"} 1`)
	require.Contains(t, p.page("/metrics"), "promlet_problems 1")
	p.eventually("pods/*/queue_depth", "app-1=3")

	require.NoError(t, os.WriteFile(config, []byte(gaugeRules("queue_depth")), 0o600))
	require.Eventually(t, func() bool { return strings.Contains(p.page("/metrics"), "promlet_problems 0") }, patience, 100*time.Millisecond)
	require.NoError(t, p.terminate())
}

// gaugeRules serves gauges under their own names.
func gaugeRules(series ...string) string {
	config := "rules:\n"
	for _, s := range series {
		config += fmt.Sprintf("- seriesQuery: %s\n  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}\n", s) +
			"  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)\n"
	}
	return config
}
