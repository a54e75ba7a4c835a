package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/promlet/promlet/adapter/objects"
)

// topRequest is a request to a metrics API.
type topRequest struct {
	of        described // empty for an external metric
	namespace string
	path      string
}

// requests returns a request for each resource and namespace to display.
func (o *topOptions) requests(ctx context.Context, c *connection, args []string) ([]topRequest, error) {
	metric := args[len(args)-1]
	if err := c.checkMetric(metric); err != nil {
		return nil, err
	}
	resources := []described{{namespaced: true}}
	var err error
	switch {
	case o.external:
	case len(args) == 2:
		resources[0], err = c.described(args[0])
	default:
		resources, err = c.resourcesOf(ctx, metric)
	}
	if err != nil {
		return nil, err
	}
	namespaces := []string{c.namespace}
	if o.allNamespaces {
		if namespaces, err = c.namespaces(ctx); err != nil {
			return nil, err
		}
	}
	var requests []topRequest
	for _, d := range resources {
		if d.isNamespace() && o.selector != "" {
			return nil, errors.New("--selector: leave it out: a namespace is read by its name")
		}
		in := namespaces
		if !d.namespaced && (!d.isNamespace() || d.name != "") {
			in = []string{""}
		}
		for _, namespace := range in {
			if d.isNamespace() {
				d.name = cmp.Or(namespace, d.name)
			}
			path := d.path(namespace, metric)
			if o.external {
				path = externalPath(namespace, metric)
			}
			requests = append(requests, topRequest{of: d, namespace: namespace, path: path})
		}
	}
	return requests, nil
}

// resourcesOf returns the resources that a metric is displayed for by default: Services
// and Pods if the API lists it for them, or else all that the API lists it for.
func (c *connection) resourcesOf(ctx context.Context, metric string) ([]described, error) {
	listed, err := c.listCustom(ctx)
	if err != nil {
		return nil, err
	}
	usual := []described{{GroupResource: schema.GroupResource{Resource: "services"}, namespaced: true}, {GroupResource: schema.GroupResource{Resource: "pods"}, namespaced: true}}
	var all, found []described
	for _, l := range listed {
		if l.metric == metric {
			all = append(all, l.of)
		}
	}
	for _, d := range usual {
		if slices.Contains(all, d) {
			found = append(found, d)
		}
	}
	switch {
	case len(found) > 0:
		return found, nil
	case len(all) > 0:
		return all, nil
	}
	if d, err := resolve(objects.BuiltinMapper(), metric); err == nil {
		return nil, fmt.Errorf("%s is a resource: give a METRIC, too, such as %s http_requests", metric, d)
	}
	return usual, nil // the API answers why there is none
}

// namespaces returns the names of all namespaces.
func (c *connection) namespaces(ctx context.Context) ([]string, error) {
	request := c.discovery.RESTClient().Get().AbsPath("/api/v1/namespaces").
		SetHeader("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json")
	body, err := do(ctx, request)
	var list metav1.PartialObjectMetadataList
	if err == nil {
		err = json.Unmarshal(body, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("list namespaces for --all-namespaces: %w: give --namespace instead", err)
	}
	names := make([]string, len(list.Items))
	for i := range list.Items {
		names[i] = list.Items[i].Name
	}
	return names, nil
}
