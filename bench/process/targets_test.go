package main

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
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
func TestServe(t *testing.T) {
	in, lines := io.Pipe()
	answers, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := serve(t.Context(), in, out)
		out.CloseWithError(err)
		done <- err
	}()
	_, err := io.WriteString(lines, "addresses\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(answers).ReadBytes('\n')
	require.NoError(t, err)
	var addresses []string
	require.NoError(t, json.Unmarshal(line, &addresses))
	require.Len(t, addresses, targets)
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	for i, address := range addresses {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/metrics", nil)
		require.NoError(t, err)
		if i%2 == 0 {
			req.Header.Set("Accept-Encoding", "gzip")
		}
		resp, err := client.Do(req)
		require.NoError(t, err)
		var from io.Reader = resp.Body
		if i%2 == 0 {
			from, err = gzip.NewReader(resp.Body)
			require.NoError(t, err)
		}
		text, err := io.ReadAll(from)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Len(t, samples(t, text), families*familySeries)
	}
	client.CloseIdleConnections()
	require.NoError(t, lines.Close())
	require.NoError(t, <-done)
}
