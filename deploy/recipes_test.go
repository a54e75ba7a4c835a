package deploy_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promlet/promlet/cmd/promlet/configfile"
)

// The rules of a recipe are values of the chart, and a file of --config.
func TestRulesOfRecipesAreValuesOfTheChart(t *testing.T) {
	files, err := filepath.Glob("recipes/*/rules.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, path := range files {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		want, err := configfile.Parse(data)
		require.NoError(t, err, path)
		require.Equal(t, want, configOf(t, template(t, "--values", path), "ConfigMap promlet/promlet"), path)
	}
}

// kubectl apply -k of a recipe applies a monitor and an HPA.
func TestRecipesRender(t *testing.T) {
	files, err := filepath.Glob("recipes/*/kustomization.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, path := range files {
		kinds := map[string]bool{}
		for _, o := range render(t, filepath.Dir(path)) {
			kinds[o.GetKind()] = true
			require.NotEmpty(t, o.GetNamespace(), path)
		}
		require.Len(t, kinds, 2, path)
		require.True(t, kinds["HorizontalPodAutoscaler"] && (kinds["ServiceMonitor"] || kinds["PodMonitor"]), path)
	}
}
