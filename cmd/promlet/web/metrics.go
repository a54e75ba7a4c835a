package web

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/scrape"
)

// maxMetrics is how many series names a page shows.
const maxMetrics = 100

// metric is a series name that targets expose.
type metric struct {
	Name   string                `json:"name"`
	Type   string                `json:"type"`
	Unit   string                `json:"unit,omitempty"`
	Help   string                `json:"help,omitempty"`
	Jobs   []string              `json:"jobs"`
	Series int                   `json:"series"`
	Stored bool                  `json:"stored"`
	By     []string              `json:"readBy,omitempty"`
	Served []demand.ServedMetric `json:"servedAs,omitempty"`
	Labels []string              `json:"labels,omitempty"`
}

type metricsData struct {
	listed
	Stored  int      `json:"stored"` // names
	Names   int      `json:"names"`
	Kept    bool     `json:"onlyStored,omitempty"`
	Metrics []metric `json:"metrics"`
}

func (s *Server) metrics(r *http.Request) (any, error) {
	data := &metricsData{listed: newListed(r), Kept: r.URL.Query().Get("stored") != ""}
	usage, err := s.opts.Usage(r.Context())
	if err != nil {
		return nil, err
	}
	all := byName(s.opts.Metrics())
	data.Names = len(all)
	all = slices.DeleteFunc(all, func(m metric) bool {
		if m.Stored {
			data.Stored++
		}
		return data.Kept && !m.Stored || !data.matches(m.Name) && !data.matches(m.Help)
	})
	from, to := data.window(len(all), maxMetrics)
	data.Metrics = all[from:to]
	for i := range data.Metrics {
		m := &data.Metrics[i]
		m.Served, m.By = usage.Served(m.Name), usage.Readers(m.Name)
	}
	return data, nil
}

// byName merges the metrics that several jobs expose under one name.
func byName(exposed []scrape.Metric) []metric {
	slices.SortFunc(exposed, func(a, b scrape.Metric) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Job, b.Job)) })
	var all []metric
	for i := range exposed {
		e := &exposed[i]
		if len(all) == 0 || all[len(all)-1].Name != e.Name {
			all = append(all, metric{Name: e.Name, Type: string(e.Type), Unit: e.Unit, Help: e.Help, Labels: e.LabelNames})
		}
		m := &all[len(all)-1]
		m.Jobs = append(m.Jobs, e.Job)
		m.Series += e.Series
		m.Stored = m.Stored || e.Stored
	}
	return all
}
