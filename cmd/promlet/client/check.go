package client

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	cliflag "k8s.io/component-base/cli/flag"

	"github.com/promlet/promlet/cmd/promlet/configfile"
)

func newCheckCommand() Command {
	return NewCommand(&cobra.Command{
		Use:   "check CONFIG",
		Short: "Check a configuration file",
		Long: `Check a file for --config: prometheus-adapter's rules and promlet's own keys, alone or
inside the manifest of a ConfigMap. No cluster is needed.

Errors and warnings name the rule and the field. The exit status is 1 if promlet would
reject the file.`,
		Example: "  promlet check config.yaml",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return check(cmd.OutOrStdout(), args[0]) },
	}, cliflag.NamedFlagSets{})
}

// check prints warnings and what the file holds. The error names all that is wrong.
func check(out io.Writer, path string) error {
	file, _, err := configfile.Load(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	warnings, err := file.Check()
	for _, w := range warnings {
		if _, err := fmt.Fprintf(out, "warning: %s\n", w); err != nil {
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	rules := count(len(file.Rules), "rule")
	if file.Rules == nil {
		rules = "the default rules"
	}
	_, err = fmt.Fprintf(out, "%s is valid: %s, %s, %s, %s, %s\n", path, rules, count(len(file.ExternalRules), "external rule"),
		count(len(file.ServiceMonitors), "ServiceMonitor"), count(len(file.PodMonitors), "PodMonitor"), count(len(file.Keep), "keep pattern"))
	return err
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
