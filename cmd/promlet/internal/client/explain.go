package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/spf13/cobra"
	cliflag "k8s.io/component-base/cli/flag"

	"github.com/promlet/promlet/adapter/explain"
)

// question is what top and explain ask: their common flags, kubectl's where it has them.
type question struct {
	selector       string
	metricSelector string
	external       bool
}

// parameters returns the question's parameters of a request.
func (q question) parameters() url.Values {
	parameters := url.Values{}
	if q.selector != "" {
		parameters.Set("labelSelector", q.selector)
	}
	if q.metricSelector != "" && q.external {
		parameters.Set("labelSelector", q.metricSelector)
	} else if q.metricSelector != "" {
		parameters.Set("metricLabelSelector", q.metricSelector)
	}
	return parameters
}

// explainOptions are the flags of promlet explain.
type explainOptions struct {
	question
	cluster clusterFlags
	output  string
}

func newExplainCommand() Command {
	var o explainOptions
	return NewCommand(&cobra.Command{
		Use:   "explain (RESOURCE[/NAME] METRIC | hpa/NAME)",
		Short: "Explain why an object has a value of a metric, or why it has none",
		Long: `Explain why an object has a value of a metric, or why it has none. Each line is a step from
the request to the value: object, autoscaler, rule, monitor, endpoints, targets, query (with
--prometheus-url), series and samples. The first step that failed is the reason for a missing
value. With hpa/NAME it explains every metric that the HorizontalPodAutoscaler scales on.

The exit status is 1 if there is no value. Terminals show colours, unless NO_COLOR is set.

If promlet serves metrics.k8s.io, cpu and memory of pods and nodes are explained from the
kubelet over the container and its samples to the value, unless a custom metric has that name.

promlet answers through the API server. Whoever may read a metric may explain it. For cpu and
memory, this is the permission to read a custom metric of that name. Of other namespaces,
explanations show only the names of jobs that write into this one, and whether any exposes the
series of an external metric.`,
		Example: `  # Explain a metric of a Service
  promlet explain services/sample-metrics-app http_requests -n default

  # Explain the CPU of a Pod
  promlet explain pods/sample-metrics-app-0 cpu -n default

  # Explain all metrics of a HorizontalPodAutoscaler
  promlet explain hpa/sample-metrics-app -n default

  # Explain a metric of the Pods with a label
  promlet explain pods http_requests -l app=sample-metrics-app

  # Explain an external metric
  promlet explain --external queue_length -n default

  # Ask a promlet that runs without a cluster
  promlet explain services/sample-metrics-app http_requests --server https://127.0.0.1:6443 --insecure-skip-tls-verify`,
		Args: func(_ *cobra.Command, args []string) error {
			_, hpa, err := hpaName(args)
			if o.external {
				hpa, err = false, nil // it is the name of a metric
			}
			if !hpa && (o.external && len(args) != 1 || !o.external && len(args) != 2) {
				return errors.New("give RESOURCE/NAME and METRIC, such as services/sample-metrics-app http_requests; or hpa/NAME; or --external METRIC")
			}
			return err
		},
		RunE:              o.run,
		ValidArgsFunction: completeMetrics(&o.cluster),
	}, o.flags()).completing(textOutput())
}

func (o *explainOptions) flags() cliflag.NamedFlagSets {
	var sets cliflag.NamedFlagSets
	flags := sets.FlagSet("explain")
	flags.StringVarP(&o.selector, "selector", "l", "", "Label selector of the objects, in place of NAME. The first object without a value is explained.")
	flags.StringVar(&o.metricSelector, "metric-selector", "", "Label selector of the series, as in an HPA's metric.selector.")
	flags.BoolVar(&o.external, "external", false, "Explain a metric of external.metrics.k8s.io.")
	textOutput().addOutput(flags, &o.output)
	o.cluster.addTo(sets.FlagSet("cluster"))
	return sets
}

func (o *explainOptions) run(cmd *cobra.Command, args []string) error {
	if err := textOutput().check(o.output); err != nil {
		return err
	}
	c, err := o.cluster.connect()
	if err != nil {
		return err
	}
	if name, ok, err := hpaName(args); ok && !o.external {
		if err != nil {
			return err
		}
		return o.explainHPA(cmd, c, name)
	}
	path, err := o.path(c, args)
	if err != nil {
		return err
	}
	body, err := c.explain(cmd.Context(), path, o.question)
	if err != nil {
		return err
	}
	explanation, err := parseExplanation(body)
	if err != nil {
		return err
	}
	if o.output == "json" {
		err = printJSON(cmd.OutOrStdout(), explanation)
	} else {
		err = printExplanation(cmd.OutOrStdout(), explanation, paletteFor(cmd.OutOrStdout()))
	}
	return withoutValue(explanation, err)
}

// ErrReported is returned when there is no value and the output has the reason.
var ErrReported = errors.New("there is no value")

func withoutValue(explanation *explain.Explanation, err error) error {
	if err == nil && explanation.Reason != "" {
		return ErrReported
	}
	return err
}

// path returns the path of the metric.
func (o *explainOptions) path(c *connection, args []string) (string, error) {
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

// explain asks promlet to explain what it answers at a path.
func (c *connection) explain(ctx context.Context, path string, q question) ([]byte, error) {
	q.external = false // explanations of external metrics take metricLabelSelector, too
	parameters := q.parameters()
	parameters.Set(explain.Parameter, "true")
	return c.get(ctx, path, parameters)
}

func parseExplanation(body []byte) (*explain.Explanation, error) {
	var explanation explain.Explanation
	if err := json.Unmarshal(body, &explanation); err != nil || len(explanation.Steps) == 0 {
		return nil, errors.New("the metrics API does not explain its answers: is it promlet's, of this version?")
	}
	return &explanation, nil
}

func printExplanation(out io.Writer, explanation *explain.Explanation, p palette) error {
	marks := map[explain.State]string{explain.StateOK: p.paint(green, "✓"), explain.StateBroken: p.paint(red, "✗")}
	var rows [][]string
	for _, step := range explanation.Steps {
		rows = append(rows, []string{cmp.Or(marks[step.State], p.paint(plain, "·")) + " " + string(step.Link), step.Text})
	}
	if err := printTable(out, rows); err != nil {
		return err
	}
	metric := fmt.Sprintf("%s of %s", explanation.Metric, explanation.Object)
	if explanation.Object == "external" {
		metric = "external metric " + explanation.Metric
	}
	if explanation.Namespace != "" {
		metric += " in namespace " + explanation.Namespace
	}
	_, err := fmt.Fprintf(out, "\n%s %s\n", metric, explanation.Verdict())
	return err
}
