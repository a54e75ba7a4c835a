package web

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/adapter/explain"
)

// explainData is a question as it was asked, and its answer.
type explainData struct {
	Resource       string `json:"resource,omitempty"`
	Name           string `json:"name,omitempty"`
	Namespace      string `json:"namespace,omitempty"`
	Metric         string `json:"metric,omitempty"`
	Selector       string `json:"selector,omitempty"`
	MetricSelector string `json:"metricSelector,omitempty"`
	External       bool   `json:"external,omitempty"`

	Wrong       string               `json:"wrong,omitempty"` // with the question
	Explanation *explain.Explanation `json:"explanation,omitempty"`
	Metrics     []string             `json:"-"` // to choose from
}

// mostSuggested is how many metrics the form suggests.
const mostSuggested = 300

func (s *Server) explain(r *http.Request) (any, error) {
	q := r.URL.Query()
	data := &explainData{
		Resource: q.Get("resource"), Name: q.Get("name"), Namespace: cmp.Or(q.Get("namespace"), "default"), Metric: q.Get("metric"),
		Selector: q.Get("selector"), MetricSelector: q.Get("metricSelector"), External: q.Get("external") != "",
	}
	usage, err := s.opts.Usage(r.Context())
	if err != nil {
		return nil, err
	}
	data.Metrics = suggested(byName(s.opts.Metrics()), usage)
	if data.Metric == "" {
		return data, nil
	}
	question, err := data.question()
	if err == nil {
		data.Explanation, err = s.opts.Explain(r.Context(), question)
	}
	if err != nil {
		data.Wrong = err.Error()
	}
	return data, nil
}

func (d *explainData) question() (q explain.Question, err error) {
	q = explain.Question{Metric: d.Metric, Namespace: d.Namespace, Name: d.Name, External: d.External}
	if !d.External {
		q.Object = schema.ParseGroupResource(cmp.Or(d.Resource, "services"))
	} else {
		q.Name = ""
	}
	if q.Selector, err = parseSelector("labels of objects", d.Selector); err != nil {
		return q, err
	}
	q.MetricSelector, err = parseSelector("labels of series", d.MetricSelector)
	return q, err
}

// parseSelector returns nil for an empty one.
func parseSelector(field, text string) (apilabels.Selector, error) {
	if text == "" {
		return nil, nil
	}
	selector, err := apilabels.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w: give labels as kubectl takes them, such as app=shop", field, text, err)
	}
	return selector, nil
}

// explainURL is the page that explains a question.
func explainURL(q explain.Question) string {
	values := url.Values{"metric": {q.Metric}, "namespace": {q.Namespace}}
	if q.External {
		values.Set("external", "yes")
	} else {
		values.Set("resource", q.Object.String())
		values.Set("name", q.Name)
	}
	if q.MetricSelector != nil && !q.MetricSelector.Empty() {
		values.Set("metricSelector", q.MetricSelector.String())
	}
	return "/explain?" + values.Encode()
}

// suggested are metrics that somebody reads, and then others.
func suggested(exposed []metric, usage *demand.Demand) []string {
	slices.SortStableFunc(exposed, func(a, b metric) int { return cmp.Compare(b2i(b.Stored), b2i(a.Stored)) })
	var names []string
	for i := range exposed {
		for _, served := range usage.Served(exposed[i].Name) {
			names = append(names, served.Metric)
		}
		if len(names) >= mostSuggested {
			break
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func cmpNames(a, b, c, d string) int { return cmp.Or(cmp.Compare(a, b), cmp.Compare(c, d)) }
