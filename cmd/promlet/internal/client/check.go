package client

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	cliflag "k8s.io/component-base/cli/flag"

	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/cmd/promlet/configfile"
	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/tsdb"
)

// checkOptions are the flags of promlet check.
type checkOptions struct {
	collection configfile.Collection
	strict     bool
	output     string
}

func newCheckCommand() Command {
	var o checkOptions
	return NewCommand(&cobra.Command{
		Use:   "check FILE...",
		Short: "Check configuration files, and print what they serve",
		Long: `Check configurations and print a line for each rule: the series that it selects, the metric
that it serves, the objects that have the metric, and how the value is computed.
No cluster is needed.

A FILE may be a file for --config, the manifest of a ConfigMap that holds one, a List or the
output of helm template, or the values of prometheus-adapter's Helm chart. Monitors among
the manifests are checked as well. Use - for standard input.

Errors and warnings name the rule or the monitor, and the field. The exit status is 1 if
promlet would reject a file or a monitor in it, or with --strict if there are warnings;
otherwise it is 0.`,
		Example: `  # Check a configuration
  promlet check config.yaml

  # Check what a Helm chart makes of its values
  helm template prometheus-adapter prometheus-community/prometheus-adapter -f values.yaml | promlet check -

  # Check the configuration of a running prometheus-adapter
  kubectl -n monitoring get configmap prometheus-adapter -o yaml | promlet check -

  # Fail on warnings as well
  promlet check --strict config.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("give a FILE, or - for standard input")
			}
			return nil
		},
		RunE: o.run,
	}, o.flags()).completing(textOutput())
}

func (o *checkOptions) flags() cliflag.NamedFlagSets {
	var sets cliflag.NamedFlagSets
	flags := sets.FlagSet("check")
	flags.BoolVar(&o.strict, "strict", false, "Exit with status 1 if there are warnings.")
	textOutput().addOutput(flags, &o.output)
	flags.DurationVar(&o.collection.RateWindow, "rate-window", rules.DefaultRateWindow, "The flag of promlet serve.")
	flags.DurationVar(&o.collection.ScrapeInterval, "scrape-interval", discovery.DefaultScrapeInterval, "The flag of promlet serve. Warnings name rules whose windows are too short for it.")
	flags.DurationVar(&o.collection.Retention, "retention", tsdb.DefaultRetention, "The flag of promlet serve. Warnings name rules that look back further.")
	return sets
}

// checked is the result for a configuration.
type checked struct {
	File     string          `json:"file"`
	In       string          `json:"in,omitempty"` // the place in the file, if the file has other content
	Rules    []rules.Summary `json:"rules"`
	Warnings []string        `json:"warnings"`
	Error    string          `json:"error,omitempty"`

	file configfile.File
	err  error
}

func (c *checked) place() string {
	if c.In == "" {
		return c.File
	}
	return c.File + " (" + c.In + ")"
}

func (o *checkOptions) run(cmd *cobra.Command, paths []string) error {
	if err := textOutput().check(o.output); err != nil {
		return err
	}
	var all []checked
	var errs []error
	warnings := 0
	for _, path := range paths {
		for _, c := range o.check(cmd.InOrStdin(), path) {
			if c.err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", c.place(), c.err))
			}
			warnings += len(c.Warnings)
			all = append(all, c)
		}
	}
	if err := o.print(cmd.OutOrStdout(), all); err != nil {
		return err
	}
	if o.strict && warnings > 0 {
		errs = append(errs, fmt.Errorf("--strict: %s", count(warnings, "warning")))
	}
	return errors.Join(errs...)
}

// check returns a result for each configuration in a file.
func (o *checkOptions) check(stdin io.Reader, path string) []checked {
	data, err := read(stdin, path)
	var found []configfile.Found
	if err == nil {
		found, err = configfile.Find(data)
	}
	if err != nil {
		return []checked{{File: path, Error: err.Error(), err: err}}
	}
	var all []checked
	for _, f := range found {
		c := checked{File: path, In: f.In, file: f.File}
		var report configfile.Report
		if report, c.err = f.File.Check(o.collection); c.err != nil {
			c.Error = c.err.Error()
		}
		c.Rules, c.Warnings = report.Rules, append([]string{}, report.Warnings...)
		all = append(all, c)
	}
	return all
}

func read(stdin io.Reader, path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(path)
}

func (o *checkOptions) print(out io.Writer, all []checked) error {
	if o.output == "json" {
		return printJSON(out, all)
	}
	for i := range all {
		if err := all[i].print(out); err != nil {
			return err
		}
	}
	return nil
}

// print prints the rules and the warnings. If the configuration is valid, it also prints the number of its parts.
func (c *checked) print(out io.Writer) error {
	var lines []string
	for _, r := range c.Rules {
		lines = append(lines, r.String())
	}
	for _, w := range c.Warnings {
		lines = append(lines, "warning: "+w)
	}
	if c.err == nil {
		f := c.file
		custom := count(len(f.Rules), "rule")
		if f.HasDefaults() {
			custom = "the default rules"
			if len(f.Rules) > 0 {
				custom += " and " + count(len(f.Rules), "rule")
			}
		}
		lines = append(lines, fmt.Sprintf("%s is valid: %s, %s, %s, %s, %s", c.place(), custom, count(len(f.ExternalRules), "external rule"),
			count(len(f.ServiceMonitors), "ServiceMonitor"), count(len(f.PodMonitors), "PodMonitor"), count(len(f.Keep), "keep pattern")))
		if n := len(f.RemoteWrite); n > 0 {
			lines[len(lines)-1] += ", " + count(n, "remote write")
		}
		if f.ResourceRules != nil {
			lines[len(lines)-1] += ", resource rules"
		}
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
