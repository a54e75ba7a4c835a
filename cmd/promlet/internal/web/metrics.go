package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/promlet/promlet/adapter/demand"
	"github.com/promlet/promlet/adapter/explain"
	"github.com/promlet/promlet/scrape"
)

const (
	// maxMetrics is the maximum number of series names on a page.
	maxMetrics = 100
	// maxReaders is the maximum number of HPAs that a row names.
	maxReaders = 3
)

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

	at        place      // of one target that exposes it
	Manifests []manifest `json:"-"` // HPAs that scale on it; a rule if no rule serves it
}

type metricsData struct {
	listed
	Stored  int      `json:"stored"` // names
	Names   int      `json:"names"`
	Kept    bool     `json:"onlyStored,omitempty"`
	Scrapes bool     `json:"scrapes"`
	Metrics []metric `json:"metrics"`
}

func (s *Server) metrics(r *http.Request) (any, error) {
	data := &metricsData{listed: newListed(r), Kept: r.URL.Query().Get("stored") != "", Scrapes: s.opts.Scrapes}
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
	places := placesByJob(s.opts.Targets())
	for i := range data.Metrics {
		m := &data.Metrics[i]
		m.Served, m.By = usage.Served(m.Name), usage.Readers(m.Name)
		m.at, _ = m.place(places)
		if err := m.setManifests(); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// placesByJob returns the place of one target of each job. It prefers targets of a Service.
func placesByJob(targets []Target) map[string]place {
	places := map[string]place{}
	for i := range targets {
		at := placeOf(&targets[i])
		if known, ok := places[targets[i].Job]; !ok || known.Service == "" && at.Service != "" {
			places[targets[i].Job] = at
		}
	}
	return places
}

// place returns the place of a target that exposes the metric, false if none is known.
func (m *metric) place(places map[string]place) (place, bool) {
	for _, job := range m.Jobs {
		if at, ok := places[job]; ok && at.Namespace != "" {
			return at, true
		}
	}
	return place{}, false
}

// setManifests sets Manifests.
func (m *metric) setManifests() (err error) {
	if len(m.Served) > 0 {
		m.Manifests, err = hpaManifests(&m.Served[0], m.at)
		return err
	}
	rule, err := ruleManifest(m)
	m.Manifests = []manifest{rule}
	return err
}

// reader is a link to an HPA.
type reader struct{ Name, URL string }

// HPAs returns links to the first maxReaders HPAs that read the series.
func (m *metric) HPAs() (hpas []reader) {
	for _, name := range m.hpas() {
		if len(hpas) < maxReaders {
			hpas = append(hpas, reader{name, "/autoscalers?" + url.Values{"q": {name}}.Encode()})
		}
	}
	return hpas
}

// MoreHPAs returns the number of HPAs that HPAs leaves out.
func (m *metric) MoreHPAs() int { return max(0, len(m.hpas())-maxReaders) }

// HPAsURL links to all HPAs that scale on the metric.
func (m *metric) HPAsURL() string {
	return "/autoscalers?" + url.Values{"q": {m.Served[0].Metric}}.Encode()
}

func (m *metric) hpas() (names []string) {
	for _, by := range m.By {
		if name, ok := strings.CutPrefix(by, demand.ReaderHPA); ok {
			names = append(names, name)
		}
	}
	return names
}

// Others returns the readers other than HPAs.
func (m *metric) Others() []string {
	return slices.DeleteFunc(slices.Clone(m.By), func(by string) bool { return strings.HasPrefix(by, demand.ReaderHPA) })
}

// ExplainURL links to the explanation of a served metric, for the Service or else the pod of a target that exposes it.
func (m *metric) ExplainURL(served demand.ServedMetric) string {
	q := explain.Question{Metric: served.Metric, Namespace: cmp.Or(m.at.Namespace, "default"), External: served.External}
	q.Object, q.Name = schema.GroupResource{Resource: "services"}, m.at.Service
	if q.Name == "" && m.at.Pod != "" {
		q.Object, q.Name = schema.GroupResource{Resource: "pods"}, m.at.Pod
	}
	return explainURL(q)
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
