package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	cliflag "k8s.io/component-base/cli/flag"
)

// topOptions are the flags of promlet top.
type topOptions struct {
	question
	cluster       clusterFlags
	allNamespaces bool
	sortBy        string
	output        string
	noHeaders     bool
	watching      watching

	now func() time.Time
}

func newTopCommand(now func() time.Time) Command {
	o := &topOptions{now: now}
	return NewCommand(&cobra.Command{
		Use:   "top [RESOURCE[/NAME]] METRIC",
		Short: "Display the values of a metric",
		Long: `Display the values of a metric, as the HorizontalPodAutoscaler reads them from the custom or
the external metrics API.

Without RESOURCE it displays the Services and the Pods of the namespace, or, for a metric
of neither, all resources that have it. "promlet metrics" lists the metrics.

Objects without a value are left out. If none has a value, it prints the reason and exits
with status 1; "promlet explain" shows more. Reading a metric makes promlet collect it:
the first value of a rate needs two scrapes.`,
		Example: `  # Display a metric of the Services and the Pods of the namespace
  promlet top http_requests

  # Display it for the Pods with a label, the highest first
  promlet top pods http_requests -l app=shop --sort-by value

  # Display it for one Service until interrupted
  promlet top services/shop http_requests -n default --watch

  # Display it for the Deployments of all namespaces
  promlet top deployments.apps http_requests --all-namespaces

  # Display only the series with a label, with quantities and sample times
  promlet top http_requests --metric-selector code=500 -o wide

  # Display an external metric
  promlet top --external queue_length -n default

  # Ask a promlet that runs without a cluster
  promlet top http_requests --server https://127.0.0.1:6443 --insecure-skip-tls-verify`,
		Args:              func(_ *cobra.Command, args []string) error { return o.validate(args) },
		RunE:              o.run,
		ValidArgsFunction: completeMetrics(&o.cluster),
	}, o.flags()).completing(topOutput(), topSort())
}

func topOutput() choice { return choice{"output", []string{"table", "wide", "json", "yaml"}} }
func topSort() choice   { return choice{"sort-by", []string{"name", "value"}} }

func (o *topOptions) flags() cliflag.NamedFlagSets {
	var sets cliflag.NamedFlagSets
	flags := sets.FlagSet("top")
	flags.BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "Display all namespaces, with a request for each. Needs permission to list namespaces.")
	flags.StringVarP(&o.selector, "selector", "l", "", "Label selector of the objects, in place of NAME.")
	flags.StringVar(&o.metricSelector, "metric-selector", "", "Label selector of the series, as in an HPA's metric.selector.")
	flags.BoolVar(&o.external, "external", false, "Display a metric of external.metrics.k8s.io.")
	flags.StringVar(&o.sortBy, topSort().flag, "name", "Sort by one of name, value (the highest first).")
	flags.StringVarP(&o.output, topOutput().flag, "o", "table", "Output format. One of table, wide (with the API's quantity and the time of the last sample), json, yaml.")
	flags.BoolVar(&o.noHeaders, "no-headers", false, "Don't print headers.")
	o.watching.addTo(flags)
	o.cluster.addTo(sets.FlagSet("cluster"))
	return sets
}

func (o *topOptions) validate(args []string) error {
	switch {
	case o.external && len(args) != 1:
		return errors.New("give a METRIC alone with --external")
	case len(args) != 1 && len(args) != 2:
		return errors.New("give a METRIC, or RESOURCE[/NAME] and METRIC, such as services/sample-metrics-app http_requests")
	case len(args) == 1 && strings.Contains(args[0], "/"):
		return fmt.Errorf("%s is an object: give a METRIC, too, such as %s http_requests", args[0], args[0])
	case o.selector != "" && o.external:
		return errors.New("--selector: external metrics have no object: give --metric-selector")
	case o.selector != "" && len(args) == 2 && strings.Contains(args[0], "/"):
		return errors.New("--selector: leave out either it or the NAME")
	}
	return cmp.Or(topSort().check(o.sortBy), topOutput().check(o.output), o.watching.validate())
}

func (o *topOptions) run(cmd *cobra.Command, args []string) error {
	c, err := o.cluster.connect()
	if err != nil {
		return err
	}
	requests, err := o.requests(cmd.Context(), c, args)
	if err != nil {
		return err
	}
	return o.watching.run(cmd, func(ctx context.Context, out io.Writer) error {
		values, err := o.ask(ctx, c, requests)
		if len(values) == 0 {
			return err
		}
		return errors.Join(err, o.print(out, values))
	})
}
