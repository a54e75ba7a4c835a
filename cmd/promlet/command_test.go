package main

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func execute(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := commandFor(append([]string{"promlet"}, args...), newOptions)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestHelpIsGrouped(t *testing.T) {
	out, err := execute(t, "serve", "--help")
	require.NoError(t, err)
	for _, want := range []string{"Source flags:", "Scrape flags:", "Storage and queries flags:", "API serving flags:", "--manifests", "--secure-port", "--rate-window"} {
		require.Contains(t, out, want)
	}
}

// The help of promlet fits a terminal.
func TestHelpIsShort(t *testing.T) {
	out, err := execute(t, "--help")
	require.NoError(t, err)
	require.LessOrEqual(t, strings.Count(out, "\n"), 40)
	require.Less(t, strings.Index(out, "\nCommands:\n  check"), strings.Index(out, "\nUsage:\n"))
	require.Contains(t, out, `Use "promlet COMMAND --help" for the flags of a command.`)
}

func TestVersion(t *testing.T) {
	for _, arg := range []string{"version", "--version"} {
		out, err := execute(t, arg)
		require.NoError(t, err)
		require.Regexp(t, `^promlet \S+ \(go.*\)\n$`, out)
	}
}

func TestFlagsAreValidatedAllAtOnce(t *testing.T) {
	_, err := execute(t, "serve", "--scrape-interval=0s", "--retention=1m", "--query-max-samples=-1", "--query-max-concurrency=0", "--demand-ttl=0s", "--series-limit=-1",
		"--data-dir=", "--web-listen-address=9090", "--ingest=some", "--monitor-selector=a b", "--log-level=loud", "--log-format=xml", "--secure-port=70000",
		"--manifests=/does/not/exist", "--kubeconfig=x", "--enforcement-exempt-namespaces=a,b", "--bind-address=192.0.2.1", "--shard=4/4",
		"--kubelet-port=10255", "--node-selector=a b")
	require.Error(t, err)
	for _, want := range []string{
		"--scrape-interval=0s: give 1s or more",
		"--retention=1m0s: keep at least the rate window, 2m0s",
		"--query-max-samples=-1: give a number above 0",
		"--demand-ttl=0s: give a duration above 0",
		"--series-limit=-1: give 0 for no limit",
		"--query-max-concurrency=0: give a number above 0",
		`--data-dir="": name a directory`,
		"--web-listen-address=9090: give HOST:PORT, such as 127.0.0.1:9090",
		"--log-level=loud: choose debug, info, warn or error",
		"--ingest=some: choose demand or all",
		"--monitor-selector=a b: give a label selector, such as team=blue",
		"--log-format=xml: choose text or json",
		"--shard=4/4: there is no shard 4 of 4: shards are numbered from 0: give INDEX/COUNT, such as 0/4 for the first of four",
		"--kubelet-port=10255: add --resource-metrics, or leave it out: no kubelets are scraped",
		"--node-selector=a b: give a label selector, such as team=blue",
		"--secure-port 70000 must be between",
		"--manifests=/does/not/exist: name an existing directory",
		"--kubeconfig=x: leave it out",
		"--enforcement-exempt-namespaces=a,b: leave it out, or add --enforce-namespace-label",
		"--bind-address=192.0.2.1: give a loopback address: with --manifests clients are not authenticated",
	} {
		require.ErrorContains(t, err, want)
	}
}

func TestFlagsOfResourceMetrics(t *testing.T) {
	_, err := execute(t, "serve", "--resource-metrics=false", "--manifests=/does/not/exist")
	require.NotContains(t, err.Error(), "resource-metrics")
	_, err = execute(t, "serve", "--resource-metrics", "--kubelet-port=70000", "--shard=0/4")
	require.ErrorContains(t, err, "--kubelet-port: 70000 is not a port")
	require.ErrorContains(t, err, "--shard=0/4: leave out --resource-metrics: a shard serves no values")
}

// The error about a port that is in use names the flag's value.
func TestErrorsNameThePortOfTheFlag(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	require.NoError(t, err)
	_, err = execute(t, "serve", "--manifests", t.TempDir(), "--data-dir", t.TempDir(), "--secure-port", port, "--web-listen-address=127.0.0.1:0", "--log-level=error")
	require.ErrorContains(t, err, "--secure-port="+port+": ")
	require.ErrorContains(t, err, "address already in use")
}

func TestUnknownArgumentsAreRefused(t *testing.T) {
	_, err := execute(t, "serve", "everything")
	require.Error(t, err)
	_, err = execute(t, "explan")
	require.ErrorContains(t, err, "Did you mean this?\n\texplain")
	_, err = execute(t, "--no-such-flag")
	require.ErrorContains(t, err, "--no-such-flag")
}

func TestWithoutAClusterItSaysWhatToGive(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	_, err := execute(t, "--data-dir", t.TempDir(), "--web-listen-address=")
	require.ErrorContains(t, err, "not in a cluster: give --kubeconfig FILE, or --manifests DIR to run without a cluster")
}
