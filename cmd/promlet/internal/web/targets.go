package web

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/promlet/promlet/discovery/kubelets"
	"github.com/promlet/promlet/discovery/monitors"
	"github.com/promlet/promlet/scrape"
)

// maxTargets is how many targets a page shows.
const maxTargets = 200

// Target is a target that is scraped.
type Target struct {
	Job     string `json:"job"`
	Address string `json:"address"` // host, port and path
	Health  string `json:"health"`  // up, down, unknown before its first scrape
	// Interval is the time between two scrapes, LastScrape the time of the last one, Took
	// its duration, and Err why it failed.
	Interval   time.Duration `json:"intervalNanoseconds"`
	LastScrape time.Time     `json:"lastScrape,omitzero"`
	Took       time.Duration `json:"tookNanoseconds"`
	Err        string        `json:"error,omitempty"`
	// Seen are the samples in the last body, Stored those of them that were stored.
	Seen   int `json:"samplesSeen"`
	Stored int `json:"samplesStored"`
	// Discovered are the labels before relabelling, Labels those after.
	Discovered labels.Labels `json:"discoveredLabels"`
	Labels     labels.Labels `json:"labels"`
}

// Of returns the name of the target's pod, or of the Node of a kubelet, "" if it has neither.
func (t Target) Of() string {
	if t.Job == kubelets.JobName {
		return "node " + t.Labels.Get(string(kubelets.NodeLabel))
	}
	return placeOf(&t).Pod
}

// monitor is a monitor with the targets that are shown.
type monitor struct {
	Kind        string   `json:"kind"`
	Namespace   string   `json:"namespace"`
	Name        string   `json:"name"`
	Origin      string   `json:"origin"`
	Err         string   `json:"rejected,omitempty"`
	NoTargets   string   `json:"noTargets,omitempty"` // why there are no targets, if that is known
	Unsupported []string `json:"unsupported,omitempty"`
	Adjusted    []string `json:"adjusted,omitempty"`
	Foreign     []string `json:"foreign,omitempty"`     // what its jobs would write to other namespaces, a text for each
	Unreachable []string `json:"unreachable,omitempty"` // Nodes whose kubelets are not targets, and why
	Jobs        []string `json:"jobs,omitempty"`
	Up          int      `json:"up"`
	All         int      `json:"all"`
	OtherShards int      `json:"otherShards,omitempty"` // number of targets that other shards scrape
	Targets     []Target `json:"targets,omitempty"`

	status *monitors.Status
}

// Bad reports whether the monitor is rejected, has no targets, or has targets that are not up.
func (m *monitor) Bad() bool { return m.Err != "" || m.Up < m.All || m.empty() }

// empty reports whether neither this promlet nor another shard has a target of the monitor.
func (m *monitor) empty() bool { return m.Err == "" && m.All == 0 && m.OtherShards == 0 }

type targetsData struct {
	listed
	// All counts all monitors. The other counts are of the monitors that match the filter, and of their targets.
	Up       int       `json:"up"`
	Down     int       `json:"down"`
	Waiting  int       `json:"waiting"` // for their first scrape
	Rejected int       `json:"rejected"`
	Empty    int       `json:"withoutTargets"` // monitors
	Matching int       `json:"monitorsMatching"`
	All      int       `json:"monitorsOfAll"`
	OnlyBad  bool      `json:"onlyBad,omitempty"`
	Monitors []monitor `json:"monitors"`
	Scrapes  bool      `json:"scrapes"`
	Kubelets bool      `json:"-"` // they are among Monitors
	Example  string    `json:"-"` // manifest of a ServiceMonitor, set if there are no monitors
}

// Filtered reports whether the request has a filter.
func (d *targetsData) Filtered() bool { return d.Query != "" || d.OnlyBad }

func (s *Server) targets(r *http.Request) (any, error) {
	data := &targetsData{listed: newListed(r), OnlyBad: r.URL.Query().Get("bad") != "", Scrapes: s.opts.Scrapes}
	statuses := s.opts.Monitors()
	targets := s.opts.Targets()
	owned, foreign, others := byOwner(targets, statuses), s.opts.Foreign(), byOwner(s.opts.OtherShards(), statuses)
	var all []monitor
	if m, ok := newKubelets(owned, s.opts.Unreachable()); ok && m.choose(data) {
		data.Kubelets = true
		data.count(&m)
		all = append(all, m)
	}
	for i := range statuses {
		m := newMonitor(&statuses[i], owned)
		for _, key := range ownersOf(&statuses[i]) {
			m.OtherShards += len(others[key])
		}
		m.setForeign(foreign)
		if m.choose(data) {
			data.count(&m)
			all = append(all, m)
		}
	}
	// Problems come first.
	slices.SortStableFunc(all, func(a, b monitor) int { return cmp.Compare(rank(&a), rank(&b)) })
	data.All, data.Matching, data.Monitors = len(statuses), len(all), cut(all, data)
	if data.Kubelets {
		data.Matching-- // the kubelets are no monitor
	}
	for i := range data.Monitors {
		if m := &data.Monitors[i]; m.empty() {
			m.NoTargets = s.opts.WhyNoTargets(m.status)
		}
	}
	var err error
	if data.All == 0 {
		data.Example, err = exampleMonitor()
	}
	return data, err
}

// count adds a monitor to the counts.
func (d *targetsData) count(m *monitor) {
	if m.Err != "" {
		d.Rejected++
	}
	if m.empty() {
		d.Empty++
	}
	d.Down += len(m.Unreachable)
	for i := range m.Targets {
		switch m.Targets[i].Health {
		case "up":
			d.Up++
		case "down":
			d.Down++
		default:
			d.Waiting++
		}
	}
}

func rank(m *monitor) int {
	switch {
	case m.Err != "":
		return 0
	case m.Up < m.All:
		return 1
	case m.empty():
		return 2
	}
	return 3
}

// owner is a job; or, of the job that all annotated objects of a kind share, one of the objects.
type owner struct{ job, namespace, name string }

// byOwner returns the targets of each owner.
func byOwner(targets []Target, statuses []monitors.Status) map[owner][]Target {
	shared := map[string]string{} // the label with the object's name, by job
	for i := range statuses {
		if s := &statuses[i]; s.Origin == monitors.OriginAnnotation {
			for _, job := range s.Jobs {
				shared[job] = strings.ToLower(s.Kind)
			}
		}
	}
	owned := map[owner][]Target{}
	for _, t := range targets {
		key := owner{job: t.Job}
		if label, ok := shared[t.Job]; ok {
			key.namespace, key.name = t.Labels.Get("namespace"), t.Labels.Get(label)
		}
		owned[key] = append(owned[key], t)
	}
	return owned
}

// ownersOf returns the owners that are the jobs of a monitor, or an annotated object.
func ownersOf(of *monitors.Status) (owners []owner) {
	for _, job := range of.Jobs {
		key := owner{job: job}
		if of.Origin == monitors.OriginAnnotation {
			key.namespace, key.name = of.Namespace, of.Name
		}
		owners = append(owners, key)
	}
	return owners
}

func newMonitor(of *monitors.Status, owned map[owner][]Target) monitor {
	m := monitor{
		Kind: of.Kind, Namespace: of.Namespace, Name: of.Name, Origin: string(of.Origin), Jobs: of.Jobs,
		Unsupported: of.Unsupported, Adjusted: of.Adjusted, status: of,
	}
	if of.Err != nil {
		m.Err = of.Err.Error()
	}
	for _, key := range ownersOf(of) {
		m.Targets = append(m.Targets, owned[key]...)
	}
	for i := range m.Targets {
		if m.Targets[i].Health == "up" {
			m.Up++
		}
	}
	m.All = len(m.Targets)
	worstFirst := []string{"down", "unknown", "up"}
	slices.SortFunc(m.Targets, func(a, b Target) int {
		return cmp.Or(cmp.Compare(slices.Index(worstFirst, a.Health), slices.Index(worstFirst, b.Health)), cmp.Compare(a.Job, b.Job), cmp.Compare(a.Address, b.Address))
	})
	return m
}

// setForeign says which of its jobs write series of other namespaces, or would.
func (m *monitor) setForeign(foreign map[string]scrape.Foreign) {
	for _, job := range m.Jobs {
		switch of := foreign[job]; {
		case of.Series+of.Targets == 0:
		case of.Enforced:
			m.Foreign = append(m.Foreign, fmt.Sprintf("%s: %d targets and %d series of other namespaces were given to namespace %s (--enforce-namespace-label)", job, of.Targets, of.Series, m.Namespace))
		default:
			m.Foreign = append(m.Foreign, fmt.Sprintf("%s: writes %d series of other namespaces, such as %s", job, of.Series, of.Example))
		}
	}
}

// choose keeps the targets that match the filter, and reports whether to show the monitor.
func (m *monitor) choose(data *targetsData) bool {
	own := data.matches(m.title())
	m.Unreachable = slices.DeleteFunc(m.Unreachable, func(text string) bool { return !own && !data.matches(text) })
	m.Targets = slices.DeleteFunc(m.Targets, func(t Target) bool {
		return data.OnlyBad && t.Health == "up" || !own && !data.matches(t.Address+" "+t.Labels.String())
	})
	return len(m.Targets)+len(m.Unreachable) > 0 || own && (!data.OnlyBad || m.Bad())
}

// cut returns the monitors with the part of the targets to show. A monitor without targets counts as one.
func cut(all []monitor, data *targetsData) (shown []monitor) {
	n := 0
	for i := range all {
		n += max(1, len(all[i].Targets))
	}
	from, to := data.window(n, maxTargets)
	at := 0
	for _, m := range all {
		begin, end := at, at+max(1, len(m.Targets))
		at = end
		if end <= from || begin >= to {
			continue
		}
		if len(m.Targets) > 0 {
			m.Targets = m.Targets[max(0, from-begin):min(len(m.Targets), to-begin)]
		}
		shown = append(shown, m)
	}
	return shown
}
