package monitors

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"
)

// surroundingsOfEach is how many clusters are made around each monitor.
const surroundingsOfEach = 8

// TestCharts compares each monitor of testdata/charts in clusters made for it.
func TestCharts(t *testing.T) {
	files, err := filepath.Glob("testdata/charts/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	g, err := NewGenerator()
	require.NoError(t, err)
	monitors := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		c, err := ReadCluster(bytes.NewReader(text))
		require.NoError(t, err, file)
		var all []runtime.Object
		for _, m := range c.ServiceMonitors {
			all = append(all, m)
		}
		for _, m := range c.PodMonitors {
			all = append(all, m)
		}
		require.NotEmpty(t, all, file)
		monitors += len(all)
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			for _, m := range all {
				compareSurrounded(t, g, m)
			}
		})
	}
	require.GreaterOrEqual(t, monitors, 60)
}

func compareSurrounded(t *testing.T, g *Generator, monitor runtime.Object) {
	targets := 0
	for seed := range uint64(surroundingsOfEach) {
		c, err := g.Surroundings(monitor, seed)
		require.NoError(t, err)
		_, theirs := compare(t, c)
		require.NotNil(t, theirs, "there are no Endpoints for it")
		targets += theirs.Targets()
	}
	require.NotZero(t, targets, "no target in any cluster: %v", monitor)
}
