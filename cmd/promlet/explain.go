package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"text/tabwriter"

	"github.com/spf13/cobra"
	cliflag "k8s.io/component-base/cli/flag"

	"github.com/promlet/promlet/adapter/explain"
)

// explainOptions are the flags of promlet explain: kubectl's where it has them.
type explainOptions struct {
	cluster        clusterOptions
	selector       string
	metricSelector string
	external       bool
	output         string
}

func newExplainCommand() *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain RESOURCE[/NAME] METRIC",
		Short: "Tell why an object has a value of a metric, or why it has none",
		Long: `Walk the way from a request for a metric to its value: autoscaler, rule, monitor,
endpoints, targets, series, samples; and name the first thing that is missing.

The running promlet answers, through the API server and with your own permissions:
whoever may read a metric may have it explained. Nothing is told of other namespaces.`,
		Example: `  promlet explain services/sample-metrics-app http_requests -n default
  promlet explain pods http_requests --selector app=sample-metrics-app
  promlet explain --external queue_length -n default
  promlet explain services/sample-metrics-app http_requests --server https://127.0.0.1:6443 --insecure-skip-tls-verify`,
		Args: func(_ *cobra.Command, args []string) error {
			if o.external && len(args) != 1 || !o.external && len(args) != 2 {
				return errors.New("give RESOURCE/NAME and METRIC, such as services/sample-metrics-app http_requests; or --external METRIC")
			}
			return nil
		},
		RunE: o.run,
	}
	cmd.ValidArgsFunction = completeMetrics(&o.cluster)
	addSets(cmd, o.flags())
	return cmd
}

func (o *explainOptions) flags() cliflag.NamedFlagSets {
	var sets cliflag.NamedFlagSets
	o.cluster.addFlags(sets.FlagSet("cluster"))
	flags := sets.FlagSet("explain")
	flags.StringVarP(&o.selector, "selector", "l", "", "Labels of the objects, without a NAME: the first one without a value is explained.")
	flags.StringVar(&o.metricSelector, "metric-selector", "", "Labels of the series, as the HPA's metric.selector has them.")
	flags.BoolVar(&o.external, "external", false, "Explain a metric of external.metrics.k8s.io.")
	flags.StringVarP(&o.output, "output", "o", "text", "One of text, json.")
	return sets
}

func (o *explainOptions) run(cmd *cobra.Command, args []string) error {
	if o.output != "text" && o.output != "json" {
		return fmt.Errorf("--output=%s: choose text or json", o.output)
	}
	client, err := o.cluster.client()
	if err != nil {
		return err
	}
	path, err := o.path(client, args)
	if err != nil {
		return err
	}
	body, err := client.get(cmd.Context(), path, o.parameters())
	if err != nil {
		return err
	}
	if o.output == "json" {
		_, err := cmd.OutOrStdout().Write(body)
		return err
	}
	told, err := readExplanation(body)
	if err != nil {
		return err
	}
	return printExplanation(cmd.OutOrStdout(), told)
}

func readExplanation(body []byte) (*explain.Explanation, error) {
	var told explain.Explanation
	if err := json.Unmarshal(body, &told); err != nil || len(told.Steps) == 0 {
		return nil, errors.New("the metrics API does not explain: is it promlet's, of this version?")
	}
	return &told, nil
}

func (o explainOptions) parameters() url.Values {
	parameters := url.Values{explain.Parameter: {"true"}}
	if o.selector != "" {
		parameters.Set("labelSelector", o.selector)
	}
	if o.metricSelector != "" {
		parameters.Set("metricLabelSelector", o.metricSelector)
	}
	return parameters
}

// path is that of the metric.
func (o *explainOptions) path(c *client, args []string) (string, error) {
	metric := args[len(args)-1]
	if err := c.checkMetric(metric); err != nil {
		return "", err
	}
	if o.external {
		return externalPath(c.namespace, metric), nil
	}
	of, err := c.described(args[0])
	if err != nil {
		return "", err
	}
	return of.path(c.namespace, metric), nil
}

// mark is what a state looks like.
func mark(s explain.State) string {
	switch s {
	case explain.StateOK:
		return "✓"
	case explain.StateBroken:
		return "✗"
	}
	return "·"
}

func printExplanation(out io.Writer, told *explain.Explanation) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) {
		// The table keeps the first error for Flush.
		_, _ = fmt.Fprintf(table, format+"\n", args...)
	}
	for _, step := range told.Steps {
		line("%s %s\t%s", mark(step.State), step.Link, step.Text)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	of := fmt.Sprintf("%s of %s", told.Metric, told.Object)
	if told.Object == "external" {
		of = "external metric " + told.Metric
	}
	if told.Namespace != "" {
		of += " in namespace " + told.Namespace
	}
	result := "has no value: " + told.Reason
	if told.Reason == "" {
		result = "is " + told.Value
	}
	_, err := fmt.Fprintf(out, "\n%s %s\n", of, result)
	return err
}
