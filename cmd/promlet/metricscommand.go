package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	cliflag "k8s.io/component-base/cli/flag"
)

// metricsOptions are the flags of promlet metrics.
type metricsOptions struct {
	cluster   clusterOptions
	output    string
	noHeaders bool
}

func newMetricsCommand() *cobra.Command {
	o := &metricsOptions{}
	cmd := &cobra.Command{
		Use:   "metrics [PATTERN]",
		Short: "List the metrics that there are to scale on",
		Long: `List what the custom and the external metrics API offer now: each metric, and the
resources that can be asked for it; external for a metric of external.metrics.k8s.io.
PATTERN is a part of the name, or with *, ? or [ a pattern of the whole name.

What is listed for pods can be asked for what owns pods as well, by name, such as
deployments.apps/NAME.`,
		Example: `  promlet metrics
  promlet metrics http_requests
  promlet metrics 'http_*' -o name`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, strings.Join(args, "")) },
	}
	addSets(cmd, o.flags())
	return cmd
}

// completeMetrics completes the METRIC of a command, which may be its first argument
// or its second.
func completeMetrics(cluster *clusterOptions) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		client, err := cluster.client()
		if err != nil || len(args) > 1 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		all, err := client.metrics(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []cobra.Completion
		for _, m := range all {
			if strings.HasPrefix(m.Metric, typed) {
				names = append(names, m.Metric)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func (o *metricsOptions) flags() cliflag.NamedFlagSets {
	var sets cliflag.NamedFlagSets
	o.cluster.addFlags(sets.FlagSet("cluster"))
	flags := sets.FlagSet("metrics")
	flags.StringVarP(&o.output, "output", "o", "table", "One of table, name, json.")
	flags.BoolVar(&o.noHeaders, "no-headers", false, "Leave out the names of the columns.")
	return sets
}

func (o *metricsOptions) run(cmd *cobra.Command, pattern string) error {
	if !slices.Contains([]string{"table", "name", "json"}, o.output) {
		return fmt.Errorf("--output=%s: choose table, name or json", o.output)
	}
	matches, err := matcherOf(pattern)
	if err != nil {
		return err
	}
	client, err := o.cluster.client()
	if err != nil {
		return err
	}
	all, err := client.metrics(cmd.Context())
	if err != nil {
		return err
	}
	found := slices.DeleteFunc(slices.Clone(all), func(m metric) bool { return !matches(m.Metric) })
	if len(found) == 0 && len(all) == 0 {
		return errors.New("there is no metric: no target exposes any; promlet's status page shows the targets")
	}
	if len(found) == 0 {
		return fmt.Errorf("no metric matches %s: there are %d others", pattern, len(all))
	}
	return o.print(cmd.OutOrStdout(), found)
}

// matcherOf returns what a pattern matches: the part of a name, or a whole name with
// wildcards.
func matcherOf(pattern string) (func(name string) bool, error) {
	if !strings.ContainsAny(pattern, `*?[\`) {
		return func(name string) bool { return strings.Contains(name, pattern) }, nil
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, fmt.Errorf("pattern %s: %w", pattern, err)
	}
	return func(name string) bool {
		ok, _ := path.Match(pattern, name) // it was a pattern above
		return ok
	}, nil
}

// metric is what can be asked for by a name.
type metric struct {
	Metric    string           `json:"metric"`
	Resources []metricResource `json:"resources,omitempty"`
	External  bool             `json:"external,omitempty"`
}

type metricResource struct {
	Resource   string `json:"resource"`
	Namespaced bool   `json:"namespaced"`
}

// metrics returns all, by name.
func (c *client) metrics(ctx context.Context) ([]metric, error) {
	custom, err := c.listCustom(ctx)
	if err != nil {
		return nil, err
	}
	external, err := c.list(ctx, externalMetricsAPI)
	if err != nil && !errors.Is(err, errNotServed) {
		return nil, err
	}
	var all []metric
	at := map[string]int{}
	named := func(name string) *metric {
		i, ok := at[name]
		if !ok {
			i = len(all)
			at[name] = i
			all = append(all, metric{Metric: name})
		}
		return &all[i]
	}
	for _, l := range custom {
		m := named(l.metric)
		m.Resources = append(m.Resources, metricResource{Resource: l.of.String(), Namespaced: l.of.namespaced})
	}
	for _, r := range external {
		named(r.Name).External = true
	}
	for i := range all {
		slices.SortFunc(all[i].Resources, func(a, b metricResource) int { return strings.Compare(a.Resource, b.Resource) })
	}
	slices.SortFunc(all, func(a, b metric) int { return strings.Compare(a.Metric, b.Metric) })
	return all, nil
}

// listed is an entry of the discovery document of the custom metrics API.
type listed struct {
	of     described
	metric string
}

func (c *client) listCustom(ctx context.Context) ([]listed, error) {
	resources, err := c.list(ctx, customMetricsAPI)
	if err != nil {
		return nil, err
	}
	all := make([]listed, 0, len(resources))
	for _, r := range resources {
		resource, metric, ok := strings.Cut(r.Name, "/")
		if ok {
			all = append(all, listed{described{GroupResource: schema.ParseGroupResource(resource), namespaced: r.Namespaced}, metric})
		}
	}
	return all, nil
}

func (c *client) list(ctx context.Context, groupVersion string) ([]metav1.APIResource, error) {
	body, err := c.get(ctx, "/apis/"+groupVersion, nil)
	if err != nil {
		return nil, err
	}
	var list metav1.APIResourceList
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("read what %s lists: %w", groupVersion, err)
	}
	return list.APIResources, nil
}

func (o *metricsOptions) print(out io.Writer, metrics []metric) error {
	switch o.output {
	case "json":
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "    ")
		return encoder.Encode(metrics)
	case "name":
		for _, m := range metrics {
			if _, err := fmt.Fprintln(out, m.Metric); err != nil {
				return err
			}
		}
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	if !o.noHeaders {
		// The table keeps the first error for Flush.
		_, _ = fmt.Fprintln(table, "METRIC\tRESOURCES")
	}
	for _, m := range metrics {
		var of []string
		for _, r := range m.Resources {
			of = append(of, r.Resource)
		}
		if m.External {
			of = append(of, "external")
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\n", m.Metric, strings.Join(of, ", "))
	}
	return table.Flush()
}
