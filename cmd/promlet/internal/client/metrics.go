package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime/schema"
	cliflag "k8s.io/component-base/cli/flag"
)

// metricsOptions are the flags of promlet metrics.
type metricsOptions struct {
	cluster   clusterFlags
	output    string
	noHeaders bool
}

func newMetricsCommand() Command {
	o := &metricsOptions{}
	return NewCommand(&cobra.Command{
		Use:   "metrics [PATTERN]",
		Short: "List the metrics you can scale on",
		Long: `List the metrics of the custom and the external metrics API, with the resources that have
them. A metric of external.metrics.k8s.io is listed with the resource "external".

PATTERN is a part of the name. With *, ? or [ it is a pattern of the whole name.

Metrics of pods can also be read for the workloads that own the pods, such as
deployments.apps/NAME.`,
		Example: `  # List all metrics
  promlet metrics

  # List the metrics with http_requests in their name
  promlet metrics http_requests

  # List only the names of the metrics that begin with http_
  promlet metrics 'http_*' -o name`,
		Args: atMostOne("PATTERN"),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, strings.Join(args, "")) },
	}, o.flags()).completing(metricsOutput())
}

func (o *metricsOptions) flags() cliflag.NamedFlagSets {
	var sets cliflag.NamedFlagSets
	flags := sets.FlagSet("metrics")
	metricsOutput().addOutput(flags, &o.output)
	flags.BoolVar(&o.noHeaders, "no-headers", false, "Don't print headers.")
	o.cluster.addTo(sets.FlagSet("cluster"))
	return sets
}

func (o *metricsOptions) run(cmd *cobra.Command, pattern string) error {
	if err := metricsOutput().check(o.output); err != nil {
		return err
	}
	if o.cluster.overrides.Context.Namespace != "" {
		return errors.New("--namespace: leave it out: the metrics are those of the whole cluster")
	}
	glob := pattern
	if !strings.ContainsAny(pattern, `*?[\`) {
		glob = "*" + pattern + "*"
	}
	if _, err := path.Match(glob, ""); err != nil {
		return fmt.Errorf("pattern %s: %w", pattern, err)
	}
	c, err := o.cluster.connect()
	if err != nil {
		return err
	}
	all, err := c.metrics(cmd.Context())
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("no metrics: no target exposes any; see the targets on promlet's status page")
	}
	var found []metric
	for _, m := range all {
		if ok, _ := path.Match(glob, m.Metric); ok { // the pattern is valid
			found = append(found, m)
		}
	}
	if len(found) == 0 {
		others := fmt.Sprintf("there are %d others", len(all))
		if len(all) == 1 {
			others = "there is 1 other"
		}
		return fmt.Errorf("no metric matches %s: %s", pattern, others)
	}
	return o.print(cmd.OutOrStdout(), found)
}

// completeMetrics completes the METRIC of a command, its first or its second argument.
func completeMetrics(cluster *clusterFlags) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var names []cobra.Completion
		if c, err := cluster.connect(); err == nil && len(args) < 2 {
			all, _ := c.metrics(cmd.Context()) // without an answer nothing is completed
			for _, m := range all {
				if strings.HasPrefix(m.Metric, typed) {
					names = append(names, m.Metric)
				}
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func metricsOutput() choice { return choice{"output", []string{"table", "name", "json"}} }

// metric is a name with the resources that have it.
type metric struct {
	Metric    string           `json:"metric"`
	Resources []metricResource `json:"resources,omitempty"`
	External  bool             `json:"external,omitempty"`
}

type metricResource struct {
	Resource   string `json:"resource"`
	Namespaced bool   `json:"namespaced"`
}

// metrics returns the metrics of both APIs, by name.
func (c *connection) metrics(ctx context.Context) ([]metric, error) {
	custom, err := c.listCustom(ctx)
	if err != nil {
		return nil, err
	}
	external, err := c.list(ctx, externalMetricsAPI)
	if err != nil && !errors.Is(err, errNotServed) {
		return nil, err
	}
	named := map[string]metric{}
	for _, l := range custom {
		m := named[l.metric]
		m.Resources = append(m.Resources, metricResource{Resource: l.of.String(), Namespaced: l.of.namespaced})
		named[l.metric] = m
	}
	for _, r := range external {
		m := named[r.Name]
		m.External = true
		named[r.Name] = m
	}
	var all []metric
	for _, name := range slices.Sorted(maps.Keys(named)) {
		m := named[name]
		m.Metric = name
		slices.SortFunc(m.Resources, func(a, b metricResource) int { return cmp.Compare(a.Resource, b.Resource) })
		all = append(all, m)
	}
	return all, nil
}

// listed is an entry of the discovery document of the custom metrics API.
type listed struct {
	of     described
	metric string
}

func (c *connection) listCustom(ctx context.Context) ([]listed, error) {
	resources, err := c.list(ctx, customMetricsAPI)
	if err != nil {
		return nil, err
	}
	var all []listed
	for _, r := range resources {
		if resource, metric, ok := strings.Cut(r.Name, "/"); ok {
			all = append(all, listed{described{GroupResource: schema.ParseGroupResource(resource), namespaced: r.Namespaced}, metric})
		}
	}
	return all, nil
}

func (o *metricsOptions) print(out io.Writer, metrics []metric) error {
	if o.output == "json" {
		return printJSON(out, metrics)
	}
	var rows [][]string
	if !o.noHeaders && o.output == "table" {
		rows = append(rows, []string{"METRIC", "RESOURCES"})
	}
	for _, m := range metrics {
		row := []string{m.Metric}
		if o.output == "table" {
			var resources []string
			for _, r := range m.Resources {
				resources = append(resources, r.Resource)
			}
			if m.External {
				resources = append(resources, "external")
			}
			row = append(row, strings.Join(resources, ", "))
		}
		rows = append(rows, row)
	}
	return printTable(out, rows)
}
