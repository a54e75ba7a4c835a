package client

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"

	"github.com/promlet/promlet/adapter/values"
)

// print sorts and writes values. Within a namespace they are in the order of the requests.
func (o *topOptions) print(out io.Writer, all []topValue) error {
	slices.SortStableFunc(all, func(a, b topValue) int { return cmp.Compare(a.namespace, b.namespace) })
	if o.sortBy == "value" {
		slices.SortStableFunc(all, func(a, b topValue) int { return b.quantity.Cmp(a.quantity) })
	}
	if o.output == "json" || o.output == "yaml" {
		return o.printList(out, all)
	}
	var rows [][]string
	if !o.noHeaders {
		rows = append(rows, o.headers())
	}
	for _, v := range all {
		rows = append(rows, o.row(v))
	}
	return printTable(out, rows)
}

func (o *topOptions) headers() []string {
	headers := []string{"OBJECT", "VALUE", "WINDOW", "AGE"}
	if o.external {
		headers[0] = "LABELS"
	}
	if o.allNamespaces {
		headers = slices.Insert(headers, 0, "NAMESPACE")
	}
	if o.output == "wide" {
		headers = append(headers, "QUANTITY", "LAST SAMPLE")
	}
	return headers
}

func (o *topOptions) row(v topValue) []string {
	window, age, at := "-", "-", "-"
	if v.window != nil {
		window = duration.HumanDuration(time.Duration(*v.window) * time.Second)
	}
	if !v.at.IsZero() {
		age, at = duration.HumanDuration(max(0, o.now().Sub(v.at))), v.at.UTC().Format(time.RFC3339)
	}
	row := []string{v.of, values.Decimal(v.quantity), window, age}
	if o.allNamespaces {
		row = slices.Insert(row, 0, cmp.Or(v.namespace, "-"))
	}
	if o.output == "wide" {
		row = append(row, v.quantity.String(), at)
	}
	return row
}

// printList writes all values as one list of the API's own type.
func (o *topOptions) printList(out io.Writer, values []topValue) error {
	api, kind := customMetricsAPI, "MetricValueList"
	if o.external {
		api, kind = externalMetricsAPI, "ExternalMetricValueList"
	}
	var items []any
	for _, v := range values {
		items = append(items, v.item)
	}
	list := map[string]any{"apiVersion": api, "kind": kind, "metadata": map[string]any{}, "items": items}
	if o.output == "json" {
		return printJSON(out, list)
	}
	text, err := yaml.Marshal(list)
	if err != nil {
		return fmt.Errorf("format values: %w", err)
	}
	_, err = fmt.Fprintf(out, "%s\n", strings.TrimSuffix(string(text), "\n"))
	return err
}
