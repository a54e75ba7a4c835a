package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	"k8s.io/metrics/pkg/apis/external_metrics/v1beta1"

	"github.com/promlet/promlet/adapter/explain"
)

const (
	// maxTopRequests is how many requests are made at the same time.
	maxTopRequests = 8
	// maxTopReasons is how many reasons and errors are printed.
	maxTopReasons = 5
)

// topValue is a value that a metrics API answered.
type topValue struct {
	namespace string // "" for an object without one
	of        string // the object, or the labels of an external metric
	quantity  resource.Quantity
	window    *int64 // seconds
	at        time.Time
	item      any // of the API's list
}

// noValueError is returned when all requests were answered and nothing has a value.
type noValueError struct{ reasons []string }

func (e *noValueError) Error() string { return "no value: " + strings.Join(e.reasons, "\n  ") }

// ask makes all requests. It may return both values and an error.
func (o *topOptions) ask(ctx context.Context, c *connection, requests []topRequest) ([]topValue, error) {
	answers := make([][]topValue, len(requests))
	errs := make([]error, len(requests))
	var asking errgroup.Group
	asking.SetLimit(maxTopRequests)
	for i := range requests {
		asking.Go(func() error {
			answers[i], errs[i] = o.values(ctx, c, requests[i])
			return nil // the other requests go on
		})
	}
	_ = asking.Wait() // the errors are in errs
	values := slices.Concat(answers...)
	var faults []string
	var reasons absenceReasons
	for i, err := range errs {
		switch {
		case (err == nil || isAbsence(err)) && len(values) == 0 && reasons.len() < maxTopReasons:
			reasons.add(o.reason(ctx, c, requests[i], err))
		case err == nil:
		case isAbsence(err), o.allNamespaces && apierrors.IsForbidden(err):
			reasons.add(message(err), false)
		default:
			faults = append(faults, err.Error())
		}
	}
	switch {
	case len(faults) > 0:
		return values, errors.New(strings.Join(shortList(faults), "\n  "))
	case len(values) == 0:
		return nil, &noValueError{shortList(reasons.best())}
	}
	return values, nil
}

// shortList returns the first texts, each once, and how many more there are.
func shortList(texts []string) []string {
	var list []string
	for _, text := range texts {
		if !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	if len(list) > maxTopReasons {
		list = append(list[:maxTopReasons], fmt.Sprintf("and %d more", len(list)-maxTopReasons))
	}
	return list
}

// values returns the answer to a request, by object.
func (o *topOptions) values(ctx context.Context, c *connection, r topRequest) ([]topValue, error) {
	body, err := c.get(ctx, r.path, o.parameters())
	if err != nil {
		return nil, err
	}
	parse := customValues
	if o.external {
		parse = externalValues
	}
	values, err := parse(r, body)
	if err != nil {
		return nil, fmt.Errorf("read the answer of the metrics API: %w", err)
	}
	slices.SortStableFunc(values, func(a, b topValue) int { return cmp.Compare(a.of, b.of) })
	return values, nil
}

func customValues(r topRequest, body []byte) ([]topValue, error) {
	var list v1beta2.MetricValueList
	err := json.Unmarshal(body, &list)
	values := make([]topValue, len(list.Items))
	for i, item := range list.Items {
		of := r.of
		of.name = item.DescribedObject.Name
		values[i] = topValue{item.DescribedObject.Namespace, of.String(), item.Value, item.WindowSeconds, item.Timestamp.Time, item}
	}
	return values, err
}

func externalValues(r topRequest, body []byte) ([]topValue, error) {
	var list v1beta1.ExternalMetricValueList
	err := json.Unmarshal(body, &list)
	values := make([]topValue, len(list.Items))
	for i, item := range list.Items {
		values[i] = topValue{r.namespace, labels.FromMap(item.MetricLabels).String(), item.Value, item.WindowSeconds, item.Timestamp.Time, item}
	}
	return values, err
}

// absenceReasons are reasons for missing values.
type absenceReasons struct {
	ofName []string // about the name of the metric
	others []string
}

func (a *absenceReasons) add(text string, ofName bool) {
	if ofName {
		a.ofName = append(a.ofName, text)
	} else {
		a.others = append(a.others, text)
	}
}

func (a *absenceReasons) len() int { return len(a.ofName) + len(a.others) }

// best returns the reasons about the name of the metric, or all if there are none.
func (a *absenceReasons) best() []string {
	if len(a.ofName) > 0 {
		return a.ofName
	}
	return a.others
}

// reason asks why an answer has no values, and reports whether the name of the metric is the reason. absent is the
// error of the API, nil if it answered an empty list.
func (o *topOptions) reason(ctx context.Context, c *connection, r topRequest, absent error) (text string, ofName bool) {
	text = "the metrics API answers an empty list" // one that is not promlet's does not say why
	if absent != nil {
		text = message(absent)
	}
	body, err := c.explain(ctx, r.path, o.question)
	if err != nil {
		return text, false
	}
	e, err := parseExplanation(body)
	if err != nil || e.Reason == "" {
		return text, false
	}
	object := ""
	if e.Lacking != "" {
		object = "/" + e.Lacking
	}
	for _, step := range e.Steps {
		if step.State == explain.StateBroken {
			ofName = step.Link == explain.LinkRule
			break
		}
	}
	if ofName {
		object = "" // it is the same for all objects
	}
	if absent != nil && (object == "" || !strings.HasSuffix(text, e.Reason)) {
		return text, ofName // the API's own reason
	}
	return fmt.Sprintf("%s of %s%s: %s", e.Metric, e.Object, object, e.Reason), ofName
}
