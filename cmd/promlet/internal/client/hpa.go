package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	cliflag "k8s.io/component-base/cli/flag"

	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
)

// hpaOptions are the flags of promlet hpa.
type hpaOptions struct {
	cluster       clusterFlags
	allNamespaces bool
	noHeaders     bool
	watching      watching
}

func newHPACommand() Command {
	o := &hpaOptions{}
	return NewCommand(&cobra.Command{
		Use:     "hpa [NAME]",
		Aliases: []string{"hpas", "horizontalpodautoscaler", "horizontalpodautoscalers"},
		Short:   "Display what HorizontalPodAutoscalers read, and which cannot scale",
		Long: `Display the HorizontalPodAutoscalers of a namespace with a line for each of their metrics: the
value that the metrics API answers now, the target, and the replicas. Those that cannot scale
come first, then those above a target; below the table are the reasons.

"promlet explain hpa/NAME" shows how each value is computed, or why there is none. Values of
Resource and ContainerResource metrics, which metrics-server or promlet serves, are those in
the HPA's status.`,
		Example: `  # Display the HorizontalPodAutoscalers of a namespace
  promlet hpa -n default

  # Display one until interrupted
  promlet hpa sample-metrics-app --watch

  # Display those of all namespaces
  promlet hpa -A`,
		Args: atMostOne("NAME"),
		RunE: o.run,
	}, o.flags())
}

func (o *hpaOptions) flags() cliflag.NamedFlagSets {
	var sets cliflag.NamedFlagSets
	flags := sets.FlagSet("hpa")
	flags.BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "Display all namespaces.")
	flags.BoolVar(&o.noHeaders, "no-headers", false, "Don't print headers.")
	o.watching.addTo(flags)
	o.cluster.addTo(sets.FlagSet("cluster"))
	return sets
}

func (o *hpaOptions) run(cmd *cobra.Command, args []string) error {
	if err := o.watching.validate(); err != nil {
		return err
	}
	if o.allNamespaces && len(args) > 0 {
		return errors.New("--all-namespaces: leave out either it or the NAME")
	}
	c, err := o.cluster.connect()
	if err != nil {
		return err
	}
	namespace, name := c.namespace, ""
	if o.allNamespaces {
		namespace = ""
	}
	if len(args) > 0 {
		name = args[0]
	}
	return o.watching.run(cmd, func(ctx context.Context, out io.Writer) error {
		hpas, err := c.autoscalers(ctx, namespace, name)
		if err != nil {
			return err
		}
		if len(hpas) == 0 {
			return fmt.Errorf("there are no HorizontalPodAutoscalers%s", cmp.Or(values.InNamespace(namespace), " in any namespace"))
		}
		return o.print(out, c.read(ctx, hpas), paletteFor(cmd.OutOrStdout()))
	})
}

// print writes a table with the HPAs that need attention first, and the reasons below it.
func (o *hpaOptions) print(out io.Writer, hpas []readHPA, p palette) error {
	slices.SortStableFunc(hpas, func(a, b readHPA) int {
		return cmp.Or(cmp.Compare(a.state(), b.state()), cmp.Compare(a.hpa.Namespace, b.hpa.Namespace), cmp.Compare(a.hpa.Name, b.hpa.Name))
	})
	var rows [][]string
	var reasons []string
	row := func(namespace string, columns ...string) {
		if o.allNamespaces {
			columns = slices.Insert(columns, 0, namespace)
		}
		rows = append(rows, columns)
	}
	if !o.noHeaders {
		row("NAMESPACE", "NAME", "SCALES", "REPLICAS", "METRIC", "OF", "VALUE", "TARGET", "STATE")
	}
	for _, h := range hpas {
		name, scales, replicas := h.hpa.Name, h.scales(), h.replicas()
		if h.stuck != "" {
			reasons = append(reasons, fmt.Sprintf("%s: %s", h.place(), h.stuck))
		}
		for _, m := range h.metrics {
			row(h.hpa.Namespace, name, scales, replicas, m.name, m.of, m.value(), m.targetText(), p.paint(m.state.colour(), m.state.String()))
			name, scales, replicas = "", "", ""
			if m.reason != "" {
				reasons = append(reasons, fmt.Sprintf("%s: %s", h.place(), m.reason))
			}
		}
	}
	if err := printTable(out, rows); err != nil {
		return err
	}
	for i, reason := range reasons {
		if i == 0 {
			reason = "\n" + reason
		}
		if _, err := fmt.Fprintln(out, reason); err != nil {
			return err
		}
	}
	return nil
}

// autoscalers returns the HPAs of a namespace, "" for all, or the one with a name.
func (c *connection) autoscalers(ctx context.Context, namespace, name string) ([]autoscalingv2.HorizontalPodAutoscaler, error) {
	const prefix, plural = "/apis/autoscaling/v2", "horizontalpodautoscalers"
	path := prefix + "/" + plural
	if namespace != "" {
		path = prefix + "/namespaces/" + namespace + "/" + plural
	}
	var list autoscalingv2.HorizontalPodAutoscalerList
	if name == "" {
		if err := c.object(ctx, path, &list); err != nil {
			return nil, fmt.Errorf("list HorizontalPodAutoscalers: %w", err)
		}
		return list.Items, nil
	}
	if err := checkNames(name); err != nil {
		return nil, err
	}
	var hpa autoscalingv2.HorizontalPodAutoscaler
	if err := c.object(ctx, path+"/"+name, &hpa); err != nil {
		if apierrors.IsNotFound(err) && !isNoAPI(err) {
			return nil, c.noAutoscaler(ctx, namespace, name)
		}
		return nil, fmt.Errorf("read HorizontalPodAutoscaler %s: %w", name, err)
	}
	return []autoscalingv2.HorizontalPodAutoscaler{hpa}, nil
}

// noAutoscaler returns the error that there is no HPA of a name, with the closest name of the namespace.
func (c *connection) noAutoscaler(ctx context.Context, namespace, name string) error {
	var names []string
	others, _ := c.autoscalers(ctx, namespace, "") // only for the closest
	for i := range others {
		names = append(names, others[i].Name)
	}
	closest := rules.Closest(names, name)
	if closest != "" {
		closest = " (closest: " + closest + ")"
	}
	return fmt.Errorf("there is no HorizontalPodAutoscaler %s%s%s", name, values.InNamespace(namespace), closest)
}

// object reads an object of the Kubernetes API.
func (c *connection) object(ctx context.Context, path string, into any) error {
	body, err := do(ctx, c.discovery.RESTClient().Get().AbsPath(path))
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}
