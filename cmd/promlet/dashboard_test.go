package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

// grafanaDashboard is as far as the test reads it.
type grafanaDashboard struct {
	Templating struct {
		List []struct {
			Type  string
			Query any
		}
	}
	Panels []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ H, W, X, Y int }
		Targets []struct{ Expr string }
	}
}

func readDashboard(t *testing.T) grafanaDashboard {
	t.Helper()
	content, err := os.ReadFile("../../deploy/grafana-dashboard.json")
	require.NoError(t, err)
	var d grafanaDashboard
	require.NoError(t, json.Unmarshal(content, &d))
	return d
}

// checkDashboard holds each query against the metrics that there are: names, labels, and
// the values that these are compared with.
func checkDashboard(t *testing.T, served map[string]*dto.MetricFamily) {
	d := readDashboard(t)
	queries := 0
	for _, panel := range d.Panels {
		require.Equal(t, panel.Type == "row", len(panel.Targets) == 0, panel.Title)
		for _, target := range panel.Targets {
			queries++
			expr := strings.ReplaceAll(target.Expr, "$__rate_interval", "1m")
			parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
			require.NoError(t, err, "%s: %s", panel.Title, expr)
			selectors := 0
			parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
				if s, ok := node.(*parser.VectorSelector); ok {
					selectors++
					checkSelector(t, served, s)
				}
				return nil
			})
			require.Positive(t, selectors, expr)
		}
	}
	require.Greater(t, queries, 25)
	of := regexp.MustCompile(`label_values\((\w+), job\)`)
	for _, variable := range d.Templating.List {
		if variable.Type != "query" {
			continue
		}
		written, err := json.Marshal(variable.Query)
		require.NoError(t, err)
		name := of.FindSubmatch(written)
		require.Len(t, name, 2, "%s", written)
		require.Contains(t, served, string(name[1]))
	}
}

func checkSelector(t *testing.T, served map[string]*dto.MetricFamily, s *parser.VectorSelector) {
	t.Helper()
	family := served[s.Name]
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if of := served[strings.TrimSuffix(s.Name, suffix)]; family == nil && of.GetType() == dto.MetricType_HISTOGRAM {
			family = of
		}
	}
	require.NotNil(t, family, "promlet serves no %s", s.Name)
	for _, m := range s.LabelMatchers {
		if m.Name == model.MetricNameLabel || m.Name == model.JobLabel { // the job is the target's
			continue
		}
		require.True(t, anyHas(family, m), "no series of %s has %s", s.Name, m)
	}
}

func anyHas(family *dto.MetricFamily, m *labels.Matcher) bool {
	for _, series := range family.GetMetric() {
		for _, l := range series.GetLabel() {
			if l.GetName() == m.Name && m.Matches(l.GetValue()) {
				return true
			}
		}
	}
	return false
}

// Panels lie in Grafana's 24 columns without covering one another.
func TestDashboardPanelsFit(t *testing.T) {
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, panel := range readDashboard(t).Panels {
		require.False(t, ids[panel.ID], panel.Title)
		ids[panel.ID] = true
		p := panel.GridPos
		require.LessOrEqual(t, p.X+p.W, 24, panel.Title)
		for x := p.X; x < p.X+p.W; x++ {
			for y := p.Y; y < p.Y+p.H; y++ {
				require.Empty(t, taken[[2]int{x, y}], panel.Title)
				taken[[2]int{x, y}] = panel.Title
			}
		}
	}
}
