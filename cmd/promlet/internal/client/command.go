package client

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	cliflag "k8s.io/component-base/cli/flag"
)

// helpColumns is the width that --help is wrapped to.
const helpColumns = 100

// Command is a command with its flags by section, in the order that its help prints them.
type Command struct {
	*cobra.Command
	Sections cliflag.NamedFlagSets
}

// NewCommand adds the flags of the sections to a command, and help that shows them by section.
func NewCommand(cmd *cobra.Command, sections cliflag.NamedFlagSets) Command {
	for _, set := range sections.FlagSets {
		cmd.Flags().AddFlagSet(set)
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())
	})
	cmd.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		// Help that cannot be written has no reader.
		_, _ = io.WriteString(cmd.OutOrStdout(), help(cmd, sections))
	})
	return Command{cmd, sections}
}

// help has the layout of kubectl's help, with the flags in sections as in Kubernetes' servers. For a command with
// subcommands it lists these in place of the flags.
func help(cmd *cobra.Command, sections cliflag.NamedFlagSets) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", cmd.Long)
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\nCommands:\n")
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, "  %-*s %s\n", sub.NamePadding(), sub.Name(), sub.Short)
			}
		}
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	b.WriteString("\nUsage:\n")
	if cmd.Runnable() {
		fmt.Fprintf(&b, "  %s\n", cmd.UseLine())
	}
	if !cmd.HasAvailableSubCommands() {
		cliflag.PrintSections(&b, sections, helpColumns)
		return b.String()
	}
	fmt.Fprintf(&b, "  %s COMMAND [flags]\n\nUse \"%s COMMAND --help\" for the flags of a command.\n", cmd.CommandPath(), cmd.CommandPath())
	return b.String()
}

// atMostOne returns the check of a command with one optional argument.
func atMostOne(argument string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > 1 {
			return fmt.Errorf("give one %s, not %d", argument, len(args))
		}
		return nil
	}
}

// Commands returns the commands that serve nothing.
func Commands() []Command {
	return []Command{newTopCommand(time.Now), newMetricsCommand(), newExplainCommand(), newHPACommand(), newCheckCommand()}
}
