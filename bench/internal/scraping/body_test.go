package scraping

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"
)

// A body has the series it is said to have, none twice, and those with the names kept
// are 1 % of them. It is the same every time.
func TestBodies(t *testing.T) {
	for _, series := range []int{100, 1_000, 10_000} {
		b, err := newBody(testdata, series)
		require.NoError(t, err)
		found, kept := map[string]bool{}, 0
		p := textparse.NewPromParser(slices.Clone(b.text), labels.NewSymbolTable(), false)
		for {
			entry, err := p.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			if entry != textparse.EntrySeries {
				continue
			}
			var lset labels.Labels
			p.Labels(&lset)
			require.False(t, found[lset.String()], lset)
			found[lset.String()] = true
			if slices.Contains(b.kept, lset.Get(model.MetricNameLabel)) {
				kept++
			}
		}
		require.Len(t, found, series)
		require.Equal(t, series/100, kept, b.kept)
		again, err := newBody(testdata, series)
		require.NoError(t, err)
		require.Equal(t, b, again)
	}
}

func TestBodiesRefused(t *testing.T) {
	_, err := newBody(testdata, 1_000_000)
	require.ErrorContains(t, err, "series only")
	_, err = newBody(t.TempDir(), 100)
	require.ErrorContains(t, err, "node_exporter.txt.gz")
	_, err = newResults(t.TempDir())
	require.ErrorContains(t, err, "make the body of 100 series: ")
}
