package client

import (
	"strings"

	"github.com/spf13/cobra"
	cliflag "k8s.io/component-base/cli/flag"
)

// PluginName is what kubectl runs for kubectl promlet.
const PluginName = "kubectl-promlet"

// NewPlugin returns the commands as kubectl runs them: their help calls them kubectl promlet.
func NewPlugin() *cobra.Command {
	root := NewCommand(&cobra.Command{
		Use:         PluginName,
		Short:       "Show custom metrics as the HorizontalPodAutoscaler reads them",
		Long:        "Show custom metrics as the HorizontalPodAutoscaler reads them: their names, their values, and why one has no value.",
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl promlet"},
	}, cliflag.NamedFlagSets{}).Command
	for _, cmd := range Commands() {
		cmd.Example = strings.ReplaceAll(cmd.Example, "  promlet ", "  kubectl promlet ")
		root.AddCommand(cmd.Command)
	}
	return root
}
