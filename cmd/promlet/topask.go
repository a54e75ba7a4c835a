package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	"k8s.io/metrics/pkg/apis/external_metrics/v1beta1"

	"github.com/promlet/promlet/adapter/objects"
)

const (
	// topRequests is how many requests are under way at a time.
	topRequests = 8
	// topReasons is how many reasons are told.
	topReasons = 5
)

// topRequest is one to a metrics API.
type topRequest struct {
	of        described // nothing for an external metric
	namespace string
	path      string
}

// requests are all that there are to make.
func (o *topOptions) requests(ctx context.Context, c *client, args []string) ([]topRequest, error) {
	metric := args[len(args)-1]
	if err := c.checkMetric(metric); err != nil {
		return nil, err
	}
	of := []described{{namespaced: true}}
	var err error
	switch {
	case o.external:
	case len(args) == 2:
		of[0], err = c.described(args[0])
	default:
		of, err = c.having(ctx, metric)
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
	for _, d := range of {
		if d.isNamespace() && o.selector != "" {
			return nil, errors.New("--selector: a namespace is asked for by name: leave it out")
		}
		if !d.namespaced && (!d.isNamespace() || d.name != "") {
			requests = append(requests, topRequest{of: d, path: d.path("", metric)})
			continue
		}
		for _, namespace := range namespaces {
			if d.isNamespace() {
				d.name = namespace
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

// having returns what a metric is shown for when nobody says: Services and Pods where
// the API lists it for them, or else what it lists it for.
func (c *client) having(ctx context.Context, metric string) ([]described, error) {
	listed, err := c.listCustom(ctx)
	if err != nil {
		return nil, err
	}
	var all []described
	for _, l := range listed {
		if l.metric == metric {
			all = append(all, l.of)
		}
	}
	usual := []described{{GroupResource: schema.GroupResource{Resource: "services"}, namespaced: true}, {GroupResource: schema.GroupResource{Resource: "pods"}, namespaced: true}}
	if found := slices.DeleteFunc(slices.Clone(usual), func(d described) bool { return !slices.Contains(all, d) }); len(found) > 0 {
		return found, nil
	}
	if len(all) > 0 {
		return all, nil
	}
	if d, err := resolve(objects.BuiltinMapper(), metric); err == nil {
		return nil, fmt.Errorf("%s is a resource: give a METRIC, too, such as %s http_requests", metric, d)
	}
	return usual, nil // and be told why there is none
}

// namespaces returns the names of all.
func (c *client) namespaces(ctx context.Context) ([]string, error) {
	const mend = "list namespaces for --all-namespaces: %w: give one as --namespace"
	request := c.rest.Get().AbsPath("/api/v1/namespaces").SetHeader("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json")
	body, err := do(ctx, request)
	if err != nil {
		return nil, fmt.Errorf(mend, err)
	}
	var list metav1.PartialObjectMetadataList
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf(mend, err)
	}
	names := make([]string, len(list.Items))
	for i := range list.Items {
		names[i] = list.Items[i].Name
	}
	return names, nil
}

// topValue is a value as it was answered.
type topValue struct {
	namespace string // "" for an object of none
	of        string // the object, or the labels of an external metric
	quantity  resource.Quantity
	window    *int64 // seconds
	at        time.Time
	order     int // of its request
	answered  any // the item of the API's list
}

// noValueError is returned when everything was asked, and nothing has a value.
type noValueError struct{ reasons []string }

func (e *noValueError) Error() string { return "no value: " + strings.Join(e.reasons, "\n  ") }

// ask makes all requests. There may be values and an error.
func (o *topOptions) ask(ctx context.Context, c *client, requests []topRequest) ([]topValue, error) {
	answers := make([][]topValue, len(requests))
	errs := make([]error, len(requests))
	var asking errgroup.Group
	asking.SetLimit(topRequests)
	for i := range requests {
		asking.Go(func() error {
			answers[i], errs[i] = o.values(ctx, c, requests[i])
			return nil // others are asked nevertheless
		})
	}
	_ = asking.Wait() // errs has them
	var found []topValue
	for i, values := range answers {
		for _, v := range values {
			v.order = i
			found = append(found, v)
		}
	}
	var faults, reasons []string
	for i, err := range errs {
		switch {
		case err == nil && len(found) == 0 && len(reasons) < topReasons:
			reasons = append(reasons, o.reason(ctx, c, requests[i]))
		case err == nil:
		case isAbsence(err), o.allNamespaces && apierrors.IsForbidden(err):
			reasons = append(reasons, message(err))
		default:
			faults = append(faults, err.Error())
		}
	}
	switch {
	case len(faults) > 0:
		return found, errors.New(strings.Join(few(faults), "\n  "))
	case len(found) == 0:
		return nil, &noValueError{few(reasons)}
	}
	return found, nil
}

// few leaves out repetitions, and most of many.
func few(texts []string) []string {
	var told []string
	for _, text := range texts {
		if !slices.Contains(told, text) {
			told = append(told, text)
		}
	}
	if len(told) > topReasons {
		told = append(told[:topReasons], fmt.Sprintf("and %d more", len(told)-topReasons))
	}
	return told
}

func (o *topOptions) parameters() url.Values {
	parameters := url.Values{}
	if o.selector != "" {
		parameters.Set("labelSelector", o.selector)
	}
	if o.metricSelector != "" && o.external {
		parameters.Set("labelSelector", o.metricSelector)
	} else if o.metricSelector != "" {
		parameters.Set("metricLabelSelector", o.metricSelector)
	}
	return parameters
}

func (o *topOptions) values(ctx context.Context, c *client, r topRequest) ([]topValue, error) {
	body, err := c.get(ctx, r.path, o.parameters())
	if err != nil {
		return nil, err
	}
	if o.external {
		return externalValues(r.namespace, body)
	}
	var list v1beta2.MetricValueList
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("read the answer of the metrics API: %w", err)
	}
	values := make([]topValue, len(list.Items))
	for i, item := range list.Items {
		of := r.of
		of.name = item.DescribedObject.Name
		values[i] = topValue{namespace: item.DescribedObject.Namespace, of: of.String(), quantity: item.Value, window: item.WindowSeconds, at: item.Timestamp.Time, answered: item}
	}
	return values, nil
}

func externalValues(namespace string, body []byte) ([]topValue, error) {
	var list v1beta1.ExternalMetricValueList
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("read the answer of the metrics API: %w", err)
	}
	values := make([]topValue, len(list.Items))
	for i, item := range list.Items {
		values[i] = topValue{namespace: namespace, of: labels.FromMap(item.MetricLabels).String(), quantity: item.Value, window: item.WindowSeconds, at: item.Timestamp.Time, answered: item}
	}
	return values, nil
}

// reason asks why a list is empty.
func (o *topOptions) reason(ctx context.Context, c *client, r topRequest) string {
	parameters := explainOptions{selector: o.selector, metricSelector: o.metricSelector}.parameters()
	body, err := c.get(ctx, r.path, parameters)
	if err == nil {
		if told, err := readExplanation(body); err == nil && told.Reason != "" {
			return fmt.Sprintf("%s of %s: %s", told.Metric, told.Object, told.Reason)
		}
	}
	return "the metrics API answers with an empty list" // and no promlet's API tells why
}
