package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/klog/v2"

	"github.com/promlet/promlet/cmd/promlet/internal/client"
)

// completionName is what kubectl runs to complete the arguments of its plugin.
const completionName = "kubectl_complete-promlet"

// adapterCommand is the first argument in prometheus-adapter's Helm chart. prometheus-adapter ignores it.
const adapterCommand = "/adapter"

// commandFor returns the command of a process by the name that it was started with.
func commandFor(args []string, defaults func() *options) *cobra.Command {
	var root *cobra.Command
	args, name := args[1:], strings.TrimSuffix(filepath.Base(args[0]), ".exe")
	switch name {
	case completionName:
		args = append([]string{cobra.ShellCompRequestCmd}, args...)
		fallthrough
	case client.PluginName:
		root = client.NewPlugin()
		root.AddCommand(newVersionCommand().Command)
	default:
		root = newServeCommand(defaults(), "promlet", `Serve custom metrics to the HorizontalPodAutoscaler, without a Prometheus.

promlet finds pods through ServiceMonitors, PodMonitors and prometheus.io/scrape
annotations, scrapes their /metrics into an embedded TSDB, and serves
custom.metrics.k8s.io from it. With --manifests it does the same for a directory of
YAML files, without a cluster.

Without a command promlet runs serve.`).Command
		root.Args = nil // cobra suggests a command for an unknown one
		root.Version = versionLine()
		root.SetVersionTemplate("{{.Version}}\n")
		root.Flags().Bool("version", false, "Print the version.")
		for _, cmd := range commands(defaults) {
			root.AddCommand(cmd.Command)
		}
	}
	if len(args) > 0 && args[0] == adapterCommand {
		args = args[1:]
	}
	// main prints the error.
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetArgs(args)
	return root
}

// commands returns the commands below promlet.
func commands(defaults func() *options) []client.Command {
	serve := newServeCommand(defaults(), "serve", "Discover, scrape and serve custom metrics. This is the default command.")
	return append(client.Commands(), serve, newVersionCommand())
}

func newServeCommand(opts *options, use, long string) client.Command {
	cmd := client.NewCommand(&cobra.Command{
		Use:   use,
		Short: "Serve custom metrics to the HorizontalPodAutoscaler",
		Long:  long,
		Example: `  # Serve in a cluster
  promlet

  # Serve a cluster from outside
  promlet --kubeconfig ~/.kube/config

  # Serve without a cluster
  promlet serve --manifests ./manifests`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := opts.validate(); err != nil {
				return err
			}
			logger, err := opts.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			klog.SetSlogLogger(slog.New(chatty{logger.Handler()}).With("component", "kubernetes"))
			limitMemory(logger)
			hangup := make(chan os.Signal, 1)
			signal.Notify(hangup, syscall.SIGHUP)
			defer signal.Stop(hangup)
			opts.reload = hangup
			return serve(cmd.Context(), opts, logger)
		},
	}, opts.sections)
	opts.parsed = cmd.Flags()
	return cmd
}

func newVersionCommand() client.Command {
	return client.NewCommand(&cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long:  "Print the version of promlet, of Go and of the platform.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), versionLine())
			return err
		},
	}, cliflag.NamedFlagSets{})
}

// versionLine returns the versions of promlet and Go, and the platform.
func versionLine() string {
	return fmt.Sprintf("promlet %s (%s, %s/%s)", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// buildVersion is what the go command stamped: a tag, a pseudo-version of the
// commit, or "(devel)".
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
