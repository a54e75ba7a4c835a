package main

import (
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

const (
	// pluginName is what kubectl runs for kubectl promlet.
	pluginName = "kubectl-promlet"
	// completionName is what kubectl runs to complete the arguments of that.
	completionName = "kubectl_complete-promlet"
)

// commandFor returns the command of a process by the name that it was started with.
func commandFor(args []string, defaults func() *options) *cobra.Command {
	switch strings.TrimSuffix(filepath.Base(args[0]), ".exe") {
	case pluginName:
		plugin := newPluginCommand()
		plugin.SetArgs(args[1:])
		return plugin
	case completionName:
		plugin := newPluginCommand()
		plugin.SetArgs(append([]string{cobra.ShellCompRequestCmd}, args[1:]...))
		return plugin
	}
	root := newCommand(defaults)
	root.SetArgs(args[1:])
	return root
}

// newPluginCommand returns the command as it is run by kubectl: it serves nothing, and
// helps under the name that it is called by.
func newPluginCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   pluginName,
		Short: "See custom metrics as the HorizontalPodAutoscaler does",
		Long: `See custom metrics as the HorizontalPodAutoscaler does: what there are, what values they
have, and why one has none.`,
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl promlet"},
	}
	addCommands(root)
	for _, cmd := range root.Commands() {
		cmd.Example = strings.ReplaceAll(cmd.Example, "  promlet ", "  kubectl promlet ")
	}
	return root
}
