package web

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/promlet/promlet/adapter/autoscalers"
	"github.com/promlet/promlet/adapter/values"
)

const (
	// maxAutoscalers is the maximum number of HPAs on a page.
	maxAutoscalers = 100
	// maxOpen is the maximum number of HPAs for which all are open. On a list of more, each HPA without a problem is one
	// closed line.
	maxOpen = 4
)

// autoscaler is an HPA on the page.
type autoscaler struct {
	autoscalers.Autoscaler
	Open bool `json:"-"`
}

// Bad reports whether the HPA cannot scale, or cannot scale on all of its metrics.
func (a *autoscaler) Bad() bool { return stateOf(&a.Autoscaler) == broken }

type autoscalersData struct {
	listed
	All     int  `json:"all"` // number of HPAs, with or without a match
	OnlyBad bool `json:"onlyBad,omitempty"`
	// Lacking counts the metrics without a value, and Above the HPAs above a target, among all HPAs that match the
	// filter. An HPA that is not on the page counts as it was at most half a minute ago.
	Lacking     int          `json:"lacking"`
	Above       int          `json:"aboveTarget"`
	Autoscalers []autoscaler `json:"autoscalers"`
	Example     string       `json:"-"` // manifest of an HPA, set if there are no HPAs
}

// state orders HPAs on the page.
type state int

const (
	broken  state = iota // the HPA cannot scale, or cannot scale on all of its metrics
	unseen               // the HPA is newer than promlet's last look
	notable              // the HPA scales, but a metric is above its target, or some pods have no value
	healthy
)

func stateOf(a *autoscalers.Autoscaler) state {
	switch {
	case a == nil:
		return unseen
	case a.Stuck != "" || a.Lacking() > 0:
		return broken
	case a.Above() || podsLackValues(a):
		return notable
	}
	return healthy
}

// podsLackValues reports whether some, but not all, pods have no value of a metric.
func podsLackValues(a *autoscalers.Autoscaler) bool {
	return slices.ContainsFunc(a.Metrics, func(m autoscalers.Metric) bool { return m.Value != nil && m.With < m.Pods })
}

// hpaKey identifies an HPA.
type hpaKey struct{ namespace, name string }

// autoscalers shows the broken HPAs first. It chooses the HPAs of the page by their states at promlet's own last look, and
// evaluates only those.
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
		data.Example, err = s.exampleHPA(r.Context())
	}
	return data, err
}

// matchingAutoscalers returns the HPAs that match the filter. It evaluates none of them.
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

// show sorts the HPAs of the page by their current states, which may differ from those at promlet's last look.
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

// OnlyBadURL links to the same list with the filter for problems.
func (d *autoscalersData) OnlyBadURL() string {
	query := cloned(d.base)
	query.Set("bad", "yes")
	query.Del("from")
	return d.path + "?" + query.Encode()
}

// tag is a short text in a coloured frame. Class is its CSS class.
type tag struct{ Class, Text string }

// Tag returns the tag with the state of the HPA.
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
	case podsLackValues(&a.Autoscaler):
		return tag{"warn", "pods without a value"}
	case a.AtZero:
		return tag{"", "at zero"}
	}
	return tag{"good", "ok"}
}

// amount formats a value of a metric, or its target, in milli-units.
func amount(m autoscalers.Metric, milliUnits int64) string {
	switch m.Unit {
	case autoscalers.UnitPercent:
		return milli(milliUnits) + "%"
	case autoscalers.UnitCores:
		return values.Cores(milliUnits)
	case autoscalers.UnitBytes:
		return values.Bytes(milliUnits / 1000)
	}
	return milli(milliUnits)
}

// Row describes the metrics of a closed HPA in one line.
func (a *autoscaler) Row() string {
	var parts []string
	for i := range a.Metrics {
		if m := &a.Metrics[i]; m.Value != nil {
			parts = append(parts, m.Metric+" "+amount(*m, *m.Value)+" of "+amount(*m, m.Target))
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
