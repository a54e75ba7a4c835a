package web

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/promlet/promlet/adapter/autoscalers"
)

const (
	// maxAutoscalers is how many HPAs a page evaluates.
	maxAutoscalers = 100
	// maxOpen is how many HPAs a page shows whole. On a page with more, those without a problem are a line each.
	maxOpen = 4
)

// autoscaler is an HPA on the page.
type autoscaler struct {
	autoscalers.Autoscaler
	Open bool `json:"-"`
}

// Bad reports whether it cannot scale, or not on all of its metrics.
func (a *autoscaler) Bad() bool { return stateOf(&a.Autoscaler) == broken }

type autoscalersData struct {
	listed
	All     int  `json:"all"` // HPAs, those that the filter leaves out too
	OnlyBad bool `json:"onlyBad,omitempty"`
	// Lacking are the metrics without a value, and Above the HPAs above a target, of all that match. Those that
	// are not on the page are as they were half a minute ago at most.
	Lacking     int          `json:"lacking"`
	Above       int          `json:"aboveTarget"`
	Autoscalers []autoscaler `json:"autoscalers"`
	Offer       string       `json:"-"` // an HPA to begin with, where there is none
}

// state orders HPAs on the page.
type state int

const (
	broken  state = iota // it cannot scale, or not on all of its metrics
	unseen               // new
	notable              // it scales, but a metric is above its target, or some pods have no value
	healthy
)

func stateOf(a *autoscalers.Autoscaler) state {
	switch {
	case a == nil:
		return unseen
	case a.Stuck != "" || a.Lacking() > 0:
		return broken
	case a.Above() || podsLack(a):
		return notable
	}
	return healthy
}

// podsLack reports whether a metric has the values of some pods only.
func podsLack(a *autoscalers.Autoscaler) bool {
	return slices.ContainsFunc(a.Metrics, func(m autoscalers.Metric) bool { return m.Value != nil && m.With < m.Pods })
}

// hpaKey names an HPA.
type hpaKey struct{ namespace, name string }

// autoscalers shows the broken HPAs first. Which they are it knows from the last look that promlet itself has taken; only
// those on the page are evaluated.
func (s *Server) autoscalers(r *http.Request) (any, error) {
	data := &autoscalersData{listed: newListed(r), OnlyBad: r.URL.Query().Get("bad") != ""}
	seen := map[hpaKey]*autoscalers.Autoscaler{}
	for _, a := range s.opts.LastAutoscalers() {
		seen[hpaKey{a.Namespace, a.Name}] = &a
	}
	matching, err := s.matchingAutoscalers(r, data, seen)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(matching, func(a, b hpaKey) int { return cmp.Compare(stateOf(seen[a]), stateOf(seen[b])) })
	from, to := data.window(len(matching), maxAutoscalers)
	onPage := map[hpaKey]bool{}
	for _, key := range matching[from:to] {
		onPage[key] = true
	}
	found, err := s.opts.Autoscalers(r.Context(), func(namespace, name string) bool { return onPage[hpaKey{namespace, name}] })
	if err != nil {
		return nil, err
	}
	for i := range found {
		seen[hpaKey{found[i].Namespace, found[i].Name}] = &found[i]
	}
	for _, key := range matching {
		if a := seen[key]; a != nil {
			data.Lacking += a.Lacking()
			if a.Above() {
				data.Above++
			}
		}
	}
	data.show(found)
	if data.All == 0 {
		data.Offer, err = s.offeredHPA(r.Context())
	}
	return data, err
}

// matchingAutoscalers returns the HPAs that match the filter, by namespace and name. None is evaluated.
func (s *Server) matchingAutoscalers(r *http.Request, data *autoscalersData, seen map[hpaKey]*autoscalers.Autoscaler) (matching []hpaKey, err error) {
	_, err = s.opts.Autoscalers(r.Context(), func(namespace, name string) bool {
		data.All++
		key := hpaKey{namespace, name}
		matches := data.matches(namespace+"/"+name) || seen[key] != nil && slices.ContainsFunc(seen[key].Metrics, func(m autoscalers.Metric) bool {
			return data.matches(m.Metric)
		})
		if matches && (!data.OnlyBad || stateOf(seen[key]) <= unseen) {
			matching = append(matching, key)
		}
		return false
	})
	return matching, err
}

// show puts the HPAs in order by their state now, which may be newer than the one that they were chosen by.
func (d *autoscalersData) show(found []autoscalers.Autoscaler) {
	slices.SortStableFunc(found, func(a, b autoscalers.Autoscaler) int { return cmp.Compare(stateOf(&a), stateOf(&b)) })
	for i := range found {
		a := autoscaler{Autoscaler: found[i]}
		if d.OnlyBad && !a.Bad() {
			d.Of--
			continue
		}
		a.Open = a.Bad() || d.Of <= maxOpen
		d.Autoscalers = append(d.Autoscalers, a)
	}
	d.Shown = len(d.Autoscalers)
}

// OnlyBadURL links to the HPAs with metrics without a value.
func (d *autoscalersData) OnlyBadURL() string {
	query := cloned(d.base)
	query.Set("bad", "yes")
	query.Del("from")
	return d.path + "?" + query.Encode()
}

// tag is a word in a frame.
type tag struct{ Class, Text string }

// Tag says what state the HPA is in.
func (a *autoscaler) Tag() tag {
	served := 0
	for i := range a.Metrics {
		if a.Metrics[i].Served() {
			served++
		}
	}
	switch lacking := a.Lacking(); {
	case a.Stuck != "":
		return tag{"fail", "does not scale"}
	case lacking > 0 && lacking == served:
		return tag{"fail", "no value"}
	case lacking > 0:
		return tag{"fail", fmt.Sprintf("%d of %d without a value", lacking, served)}
	case a.Above():
		return tag{"warn", "above target"}
	case podsLack(&a.Autoscaler):
		return tag{"warn", "pods without a value"}
	case a.AtZero:
		return tag{"", "at zero"}
	}
	return tag{"good", "ok"}
}

// Row describes the metrics of an HPA in a line.
func (a *autoscaler) Row() string {
	var parts []string
	for i := range a.Metrics {
		if m := &a.Metrics[i]; m.Value != nil {
			parts = append(parts, m.Metric+" "+milli(*m.Value)+" of "+milli(m.Target))
		} else if m.Served() {
			parts = append(parts, m.Metric+" has no value")
		}
	}
	const most = 2
	if more := len(parts) - most; more > 0 {
		return strings.Join(parts[:most], ", ") + ", and " + counted(more, "metric", "metrics")
	}
	return strings.Join(parts, ", ")
}
