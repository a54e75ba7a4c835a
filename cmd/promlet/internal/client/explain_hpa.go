package client

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/promlet/promlet/adapter/autoscalers"
	"github.com/promlet/promlet/adapter/explain"
)

// hpaName returns NAME and true if the arguments are hpa/NAME or hpa NAME. NAME is empty if it is left out.
func hpaName(args []string) (string, bool, error) {
	if len(args) == 0 {
		return "", false, nil
	}
	const plural = "horizontalpodautoscalers"
	resource, name, named := strings.Cut(args[0], "/")
	if !slices.Contains([]string{"hpa", "hpas", "horizontalpodautoscaler", plural, plural + ".autoscaling"}, resource) {
		return "", false, nil
	}
	rest := args[1:]
	if !named && len(rest) > 0 {
		name, rest = rest[0], rest[1:]
	}
	switch {
	case name == "":
		return "", true, fmt.Errorf("%s: name the HorizontalPodAutoscaler, such as hpa/sample-metrics-app", args[0])
	case len(rest) > 0:
		return "", true, fmt.Errorf("hpa/%s: leave out %s: all metrics of the HorizontalPodAutoscaler are explained", name, strings.Join(rest, " "))
	}
	return name, true, nil
}

// explainedMetric is a metric of an HPA with its explanation. That is nil if promlet does not serve the metric.
type explainedMetric struct {
	metric      readMetric
	explanation *explain.Explanation
}

// explainHPA explains each metric of an HPA.
func (o *explainOptions) explainHPA(cmd *cobra.Command, c *connection, name string) error {
	ctx := cmd.Context()
	hpas, err := c.autoscalers(ctx, c.namespace, name)
	if err != nil {
		return err
	}
	h := readHPA{hpa: &hpas[0], stuck: autoscalers.Stuck(&hpas[0])}
	mapper := NewMapper(c.discovery)
	explained := make([]explainedMetric, len(h.hpa.Spec.Metrics))
	for i := range explained {
		m, err := c.metricOf(ctx, mapper, &h, &h.hpa.Spec.Metrics[i])
		explained[i].metric = m
		if err == nil && m.usage {
			explained[i].explanation = c.explainUsage(ctx, mapper, &h, &m)
		}
		if err == nil && m.path != "" {
			var body []byte
			if body, err = c.explain(ctx, m.path, m.question); err == nil {
				explained[i].explanation, err = parseExplanation(body)
			}
		}
		if err != nil {
			return fmt.Errorf("spec.metrics[%d]: %w", i, err)
		}
	}
	if o.output == "json" {
		err = printExplanations(cmd.OutOrStdout(), explained)
	} else {
		err = printHPA(cmd.OutOrStdout(), &h, explained, paletteFor(cmd.OutOrStdout()))
	}
	if err != nil {
		return err
	}
	for _, m := range explained {
		if m.explanation != nil && m.explanation.Reason != "" {
			return ErrReported
		}
	}
	return nil
}

// printExplanations writes the explanations as a JSON list.
func printExplanations(out io.Writer, explained []explainedMetric) error {
	all := []*explain.Explanation{}
	for _, m := range explained {
		if m.explanation != nil {
			all = append(all, m.explanation)
		}
	}
	return printJSON(out, all)
}

// printHPA writes the explanations of an HPA's metrics, one after the other.
func printHPA(out io.Writer, h *readHPA, explained []explainedMetric, p palette) error {
	for i, m := range explained {
		if i > 0 {
			if _, err := fmt.Fprintln(out); err != nil {
				return err
			}
		}
		if m.explanation != nil {
			if err := printExplanation(out, m.explanation, p); err != nil {
				return err
			}
			if !m.metric.usage {
				continue
			}
			if _, err := fmt.Fprintf(out, "%s of %s is %s in the HPA's status, target %s\n", m.metric.name, m.metric.of, m.metric.value(), m.metric.targetText()); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintf(out, "%s of %s is %s in the HPA's status: metrics.k8s.io serves it, but this promlet cannot explain it\n", m.metric.name, m.metric.of, m.metric.value()); err != nil {
			return err
		}
	}
	if h.stuck == "" {
		return nil
	}
	_, err := fmt.Fprintf(out, "\nThe controller cannot scale %s: %s\n", h.scales(), h.stuck)
	return err
}
