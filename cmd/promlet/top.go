package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	cliflag "k8s.io/component-base/cli/flag"
)

const (
	// defaultTopInterval is short beside the time between two scrapes.
	defaultTopInterval = 5 * time.Second
	// minTopInterval keeps a forgotten --watch from being a load.
	minTopInterval = time.Second
)

// topOptions are the flags of promlet top: kubectl's where it has them.
type topOptions struct {
	cluster        clusterOptions
	selector       string
	metricSelector string
	external       bool
	allNamespaces  bool
	sortBy         string
	output         string
	noHeaders      bool
	watch          bool
	interval       time.Duration

	now func() time.Time
}

func newTopCommand(now func() time.Time) *cobra.Command {
	o := &topOptions{now: now}
	cmd := &cobra.Command{
		Use:   "top [RESOURCE[/NAME]] METRIC",
		Short: "Show the values of a metric",
		Long: `Show what the custom metrics API answers for a metric now: as the HorizontalPodAutoscaler
reads it, through the API server and with your own permissions. Without RESOURCE it is
about the Services and Pods of the namespace; or, where the API lists the metric for
neither, about what it is listed for. promlet metrics lists the metrics.

Objects without a value are left out. When none has one, the reason is told and the exit
status is 1; promlet explain tells more. To ask for a metric makes promlet collect it:
the first value of a rate comes after two scrapes.`,
		Example: `  promlet top http_requests                                      # Services and Pods of the namespace
  promlet top pods http_requests -l app=shop --sort-by value
  promlet top services/shop http_requests -n default --watch
  promlet top deployments.apps http_requests --all-namespaces
  promlet top http_requests --metric-selector code=500 -o wide
  promlet top --external queue_length -n default
  promlet top http_requests --server https://127.0.0.1:6443 --insecure-skip-tls-verify`,
		Args: func(_ *cobra.Command, args []string) error { return o.validate(args) },
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	cmd.ValidArgsFunction = completeMetrics(&o.cluster)
	addSets(cmd, o.flags())
	return cmd
}

func (o *topOptions) flags() cliflag.NamedFlagSets {
	var sets cliflag.NamedFlagSets
	o.cluster.addFlags(sets.FlagSet("cluster"))
	flags := sets.FlagSet("top")
	flags.BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "Ask in every namespace, a request each: namespaces have to be listed for it.")
	flags.StringVarP(&o.selector, "selector", "l", "", "Labels of the objects, without a NAME.")
	flags.StringVar(&o.metricSelector, "metric-selector", "", "Labels of the series, as the HPA's metric.selector has them.")
	flags.BoolVar(&o.external, "external", false, "Show a metric of external.metrics.k8s.io.")
	flags.StringVar(&o.sortBy, "sort-by", "name", "One of name, value (the highest first).")
	flags.StringVarP(&o.output, "output", "o", "table", "One of table, wide (the API's own quantity and the time of the last sample, too), json, yaml.")
	flags.BoolVar(&o.noHeaders, "no-headers", false, "Leave out the names of the columns.")
	flags.BoolVarP(&o.watch, "watch", "w", false, "Show the values again and again, until interrupted.")
	flags.DurationVar(&o.interval, "interval", defaultTopInterval, "Time between two looks with --watch; 1s at least.")
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
	case o.sortBy != "name" && o.sortBy != "value":
		return fmt.Errorf("--sort-by=%s: choose name or value", o.sortBy)
	case !slices.Contains([]string{"table", "wide", "json", "yaml"}, o.output):
		return fmt.Errorf("--output=%s: choose table, wide, json or yaml", o.output)
	case o.interval < minTopInterval:
		return fmt.Errorf("--interval=%s: give %s or more", o.interval, minTopInterval)
	case o.selector != "" && o.external:
		return errors.New("--selector: an external metric is of no object: give --metric-selector")
	case o.selector != "" && len(args) == 2 && strings.Contains(args[0], "/"):
		return errors.New("--selector: leave it out, or the NAME")
	}
	return nil
}

func (o *topOptions) run(cmd *cobra.Command, args []string) error {
	client, err := o.cluster.client()
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	requests, err := o.requests(ctx, client, args)
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		err := o.look(cmd, client, requests, first)
		switch {
		case !o.watch:
			return err
		case ctx.Err() != nil:
			return nil // that is how it ends
		case err != nil && first && !errors.As(err, new(*noValueError)):
			return err
		case err != nil: // it may pass
			cmd.PrintErrln("promlet:", err)
		}
		if !pause(ctx, o.interval) {
			return nil
		}
	}
}

// look prints what there is now.
func (o *topOptions) look(cmd *cobra.Command, c *client, requests []topRequest, first bool) error {
	found, err := o.ask(cmd.Context(), c, requests)
	if len(found) == 0 {
		return err
	}
	if !first {
		if _, err := fmt.Fprintln(cmd.OutOrStdout()); err != nil {
			return err
		}
	}
	return errors.Join(err, o.print(cmd.OutOrStdout(), found))
}

// pause tells whether the time has passed before ctx is done.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
