package process

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"
)

// samples gives the values of a body by series.
func samples(t *testing.T, text []byte) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	p := textparse.NewPromParser(text, labels.NewSymbolTable(), false)
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		if entry == textparse.EntrySeries {
			series, _, v := p.Series()
			out[string(series)] = v
		}
	}
}

// A body has its series, of which those read grow by the true rate.
func TestBody(t *testing.T) {
	before, after := samples(t, bodyAt(1)), samples(t, bodyAt(61))
	require.Len(t, before, families*familySeries)
	grown, read := 0.0, 0
	for series, v := range before {
		require.Greater(t, after[series], v)
		if strings.HasPrefix(series, readFamily+"{") {
			read++
			grown += after[series] - v
		}
	}
	require.Equal(t, familySeries, read)
	require.InDelta(t, trueRate(), grown/60*targets, 1e-9)
}

// All targets answer, compressed where that is asked for.
func TestTargets(t *testing.T) {
	child, err := startTargets(t.Context(), nil)
	require.NoError(t, err)
	answer, err := child.Answer("addresses")
	require.NoError(t, err)
	addresses, ok := answer.([]string)
	require.True(t, ok)
	require.Len(t, addresses, targets)
	client := &http.Client{Transport: &http.Transport{}} // it unzips
	for _, address := range addresses {
		resp, err := client.Get("http://" + address + "/metrics")
		require.NoError(t, err)
		require.True(t, resp.Uncompressed)
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Len(t, samples(t, text), families*familySeries)
	}
	client.CloseIdleConnections()
	require.NoError(t, child.Close())
}
