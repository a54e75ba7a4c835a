package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// The name that the binary is started by tells what it is.
func TestCommandFor(t *testing.T) {
	f := func(args ...string) (string, error) {
		t.Helper()
		var out bytes.Buffer
		cmd := commandFor(args, newOptions)
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	plugin := "/usr/local/bin/kubectl-promlet"
	out, err := f(plugin)
	require.NoError(t, err)
	require.Contains(t, out, "  kubectl promlet COMMAND [flags]\n")
	require.Contains(t, out, "  top         Display the values of a metric\n")
	require.NotContains(t, out, "serve ")

	out, err = f(plugin, "top", "--help")
	require.NoError(t, err)
	require.Contains(t, out, "  kubectl promlet top [RESOURCE[/NAME]] METRIC [flags]\n")
	require.Contains(t, out, "\n  kubectl promlet top --external queue_length -n default\n")
	require.NotContains(t, out, "\n  promlet ")

	_, err = f(plugin, "serve")
	require.EqualError(t, err, `unknown command "serve" for "kubectl promlet"`)
	_, err = f(plugin, "--manifests", "x")
	require.ErrorContains(t, err, "unknown flag: --manifests")

	out, err = f("kubectl_complete-promlet", "expl")
	require.NoError(t, err)
	require.Contains(t, out, "explain\tExplain why")

	for _, name := range []string{"promlet", "kubectl-promlet-linux", ""} {
		out, err = f(name, "--help")
		require.NoError(t, err)
		require.Contains(t, out, "Usage:\n  promlet [flags]\n", name)
		require.Contains(t, out, "serve --manifests")
	}
}
