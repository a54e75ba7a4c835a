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
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
)

// explainData has the fields of the form, and the answer.
type explainData struct {
	Resource       string `json:"resource,omitempty"`
	Name           string `json:"name,omitempty"`
	Namespace      string `json:"namespace,omitempty"`
	Metric         string `json:"metric,omitempty"`
	Selector       string `json:"selector,omitempty"`
	MetricSelector string `json:"metricSelector,omitempty"`
	External       bool   `json:"external,omitempty"`
	Usage          bool   `json:"usage,omitempty"` // of metrics.k8s.io

	Wrong       string               `json:"wrong,omitempty"` // with the form
	Explanation *explain.Explanation `json:"explanation,omitempty"`
	Metrics     []string             `json:"-"` // to choose from
}

// maxSuggested is how many metrics the form suggests.
const maxSuggested = 300

func (s *Server) explain(r *http.Request) (any, error) {
	q := r.URL.Query()
	data := &explainData{
		Resource: q.Get("resource"), Name: q.Get("name"), Namespace: cmp.Or(q.Get("namespace"), "default"), Metric: q.Get("metric"),
		Selector: q.Get("selector"), MetricSelector: q.Get("metricSelector"), External: q.Get("external") != "", Usage: q.Get("usage") != "",
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
	q = explain.Question{Metric: d.Metric, Namespace: d.Namespace, Name: d.Name, External: d.External, Usage: d.Usage, Pods: true}
	if !d.External {
		q.Object = schema.ParseGroupResource(cmp.Or(d.Resource, "services"))
	} else {
		q.Name = ""
	}
	if isUsage := q.Metric == "cpu" || q.Metric == "memory"; isUsage && objects.LongName(q.Object) == objects.Node().GroupResource {
		q.Namespace = "" // what nodes use is of no namespace
	}
	if q.Selector, err = apilabels.Parse(d.Selector); err != nil {
		return q, fmt.Errorf("labels of objects: %w", err)
	}
	if q.MetricSelector, err = apilabels.Parse(d.MetricSelector); err != nil {
		return q, fmt.Errorf("labels of series: %w", rules.BadSelector(err))
	}
	return q, nil
}

// explainURL returns the URL of the page that explains a question.
func explainURL(q explain.Question) string {
	values := url.Values{"metric": {q.Metric}, "namespace": {q.Namespace}}
	if q.External {
		values.Set("external", "yes")
	} else {
		values.Set("resource", q.Object.String())
		values.Set("name", q.Name)
	}
	if q.Usage {
		values.Set("usage", "yes")
	}
	if q.MetricSelector != nil && !q.MetricSelector.Empty() {
		values.Set("metricSelector", q.MetricSelector.String())
	}
	return "/explain?" + values.Encode()
}

// suggested returns metric names for the form: first those whose series are stored, then others.
func suggested(exposed []metric, usage *demand.Demand) []string {
	var names []string
	for _, stored := range []bool{true, false} {
		for i := range exposed {
			if exposed[i].Stored != stored || len(names) >= maxSuggested {
				continue
			}
			for _, served := range usage.Served(exposed[i].Name) {
				names = append(names, served.Metric)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
