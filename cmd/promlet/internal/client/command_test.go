package client

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// The apiserver library starts these with the first server of a process and cannot end them.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("k8s.io/apimachinery/pkg/util/wait.Forever"))
}

// patience is how long a test waits at most.
const patience = time.Minute

func newRoot(commands ...Command) *cobra.Command {
	root := &cobra.Command{Use: "promlet", SilenceErrors: true, SilenceUsage: true}
	for _, cmd := range commands {
		root.AddCommand(cmd.Command)
	}
	return root
}

func execute(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := newRoot(Commands()...)
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	return port
}

func TestHelp(t *testing.T) {
	out, err := execute(t, "check", "--help")
	require.NoError(t, err)
	for _, want := range []string{"Check configurations and print a line for each rule: ", "\nExamples:\n  # Check a configuration\n", "\nUsage:\n  promlet check FILE... [flags]\n\nCheck flags:\n"} {
		require.Contains(t, out, want)
	}
	out, err = execute(t, "explain", "--help")
	require.NoError(t, err)
	for _, want := range []string{"\nUsage:\n  promlet explain (RESOURCE[/NAME] METRIC | hpa/NAME) [flags]\n", "\nExamples:\n  # Explain a metric of a Service\n", "\nExplain flags:\n", "\nCluster flags:\n"} {
		require.Contains(t, out, want)
	}
}

func TestWrongArguments(t *testing.T) {
	for command, want := range map[string]string{
		"hpa --no-such":      "unknown flag: --no-such (see promlet hpa --help)",
		"top -o":             "flag needs an argument: 'o' in -o (see promlet top --help)",
		"hpa a b":            "give one NAME, not 2",
		"metrics a b c":      "give one PATTERN, not 3",
		"metrics -n default": "--namespace: leave it out: the metrics are those of the whole cluster",
		"check":              "give a FILE, or - for standard input",
	} {
		_, err := execute(t, strings.Fields(command)...)
		require.EqualError(t, err, want)
	}
}
