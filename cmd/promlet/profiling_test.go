package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProfilingFlag(t *testing.T) {
	manifests := t.TempDir()
	p := startProcess(t, manifests, t.TempDir())
	require.Contains(t, p.page("/debug/pprof/"), "goroutine")
	require.Contains(t, p.page("/debug/pprof/goroutine?debug=1"), "goroutine profile: total")
	require.NoError(t, p.terminate())

	p = startProcess(t, manifests, t.TempDir(), "--profiling=false")
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine", "/debug/pprof/cmdline", "/debug/pprof/profile"} {
		code, _, err := p.get(p.web + path)
		require.NoError(t, err)
		require.Equal(t, http.StatusNotFound, code, path)
	}
	require.NoError(t, p.terminate())
}
