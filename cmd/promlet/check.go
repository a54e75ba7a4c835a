package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	cliflag "k8s.io/component-base/cli/flag"

	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/discovery/objects"
)

func newCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check CONFIG",
		Short: "Tell what is wrong with a configuration file",
		Long: `Tell what is wrong, or odd, with a file for --config: prometheus-adapter's rules
and promlet's own settings; also inside the manifest of a ConfigMap. Nothing is asked
of a cluster. The exit status is 0 when the file loads.`,
		Example: "  promlet check config.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			report, err := checkConfig(args[0])
			if _, printErr := fmt.Fprint(cmd.OutOrStdout(), report); err == nil {
				err = printErr
			}
			return err
		},
	}
	cliflag.SetUsageAndHelpFunc(cmd, cliflag.NamedFlagSets{}, helpColumns)
	return cmd
}

// checkConfig returns what there is in the file and what is odd about it. The error
// names all that is wrong.
func checkConfig(path string) (report string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	cfg, err := parseConfig(data)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	rules := cfg.rules(newOptions())
	warnings, err := rules.Check(nil)
	rejected, rejectErr := cfg.rejectedMonitors()
	err = errors.Join(err, rejectErr)
	var b strings.Builder
	for _, w := range slices.Concat(cfg.notServed(), warnings, rejected) {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	if err != nil {
		return b.String(), fmt.Errorf("%s: %w", path, err)
	}
	custom := count(len(cfg.Rules), "rule")
	if cfg.Rules == nil {
		custom = "the default rules"
	}
	fmt.Fprintf(&b, "%s loads: %s, %s, %s, %s, %s\n", path, custom, count(len(cfg.ExternalRules), "external rule"),
		count(len(cfg.ServiceMonitors), "ServiceMonitor"), count(len(cfg.PodMonitors), "PodMonitor"), count(len(cfg.Keep), "pattern")+" to keep")
	return b.String(), nil
}

func count(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}

// rejectedMonitors tells which monitors are rejected where there are no Secrets and
// ConfigMaps.
func (c fileConfig) rejectedMonitors() ([]string, error) {
	discoverer := discovery.New(objects.NewStore(), discovery.Options{ServiceMonitors: c.ServiceMonitors, PodMonitors: c.PodMonitors, FileAccess: true})
	if _, _, err := discoverer.Resolve(); err != nil {
		return nil, err
	}
	var rejected []string
	for _, m := range discoverer.Monitors() {
		if m.Err != nil {
			rejected = append(rejected, fmt.Sprintf("%s %s/%s is rejected: %v", m.Kind, m.Namespace, m.Name, m.Err))
		}
	}
	return rejected, nil
}
