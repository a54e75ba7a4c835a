package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/klog/v2"
)

// helpColumns is the width that --help is wrapped to.
const helpColumns = 100

// newCommand returns the command with the options that defaults gives.
func newCommand(defaults func() *options) *cobra.Command {
	root := newServeCommand(defaults(), "promlet", `Serve custom metrics to the HorizontalPodAutoscaler, without a Prometheus.

promlet finds pods through ServiceMonitors, PodMonitors and prometheus.io/scrape
annotations, scrapes their /metrics into an embedded TSDB, and answers
custom.metrics.k8s.io from it. With --manifests it does the same for what a
directory of YAML files describes, without a cluster.

Commands: promlet serve (also without saying so), promlet top, promlet metrics,
promlet explain, promlet check, promlet version.`)
	root.AddCommand(newServeCommand(defaults(), "serve", "Discover, scrape and serve custom metrics (the default command)."))
	addCommands(root)
	return root
}

// addCommands adds those that serve nothing.
func addCommands(root *cobra.Command) {
	// What went wrong is printed once, by main.
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newTopCommand(time.Now), newMetricsCommand(), newExplainCommand(), newCheckCommand(), newVersionCommand())
}

func newServeCommand(opts *options, use, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: "Serve custom metrics to the HorizontalPodAutoscaler",
		Long:  long,
		Example: `  promlet                                  # in a cluster
  promlet --kubeconfig ~/.kube/config      # outside of it
  promlet serve --manifests deploy/local   # without any`,
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
	}
	flags := opts.flags()
	for _, set := range flags.FlagSets {
		cmd.Flags().AddFlagSet(set)
	}
	opts.given = flagsOf(cmd.Flags())
	cliflag.SetUsageAndHelpFunc(cmd, flags, helpColumns)
	return cmd
}

func newVersionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "promlet %s (%s, %s/%s)\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
	cliflag.SetUsageAndHelpFunc(cmd, cliflag.NamedFlagSets{}, helpColumns)
	return cmd
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
