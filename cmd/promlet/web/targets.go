package web

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/promlet/promlet/discovery/monitors"
)

// mostTargets is how many a page shows.
const mostTargets = 200

// Target is one that is scraped.
type Target struct {
	Job     string `json:"job"`
	Address string `json:"address"` // host, port and path
	Health  string `json:"health"`  // up, down, unknown before its first scrape
	// Interval is that between scrapes, LastScrape the time of the last, Took how long it
	// took, and Err why it failed.
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

// monitor is a monitor with those of its targets that are shown.
type monitor struct {
	Kind        string   `json:"kind"`
	Namespace   string   `json:"namespace"`
	Name        string   `json:"name"`
	Origin      string   `json:"origin"`
	Err         string   `json:"rejected,omitempty"`
	Unsupported []string `json:"unsupported,omitempty"`
	Jobs        []string `json:"jobs,omitempty"`
	Up          int      `json:"up"`
	All         int      `json:"all"`
	Targets     []Target `json:"targets,omitempty"`
}

// Bad tells whether something is wrong with it.
func (m *monitor) Bad() bool { return m.Err != "" || m.Up < m.All }

type targetsData struct {
	listed
	Up       int       `json:"up"`
	Down     int       `json:"down"`
	Waiting  int       `json:"waiting"` // for their first scrape
	Rejected int       `json:"rejected"`
	OnlyBad  bool      `json:"onlyBad,omitempty"`
	Monitors []monitor `json:"monitors"`
}

func (s *Server) targets(r *http.Request) (any, error) {
	data := &targetsData{listed: newListed(r), OnlyBad: r.URL.Query().Get("bad") != ""}
	statuses := s.opts.Monitors()
	owned := newOwned(statuses)
	for _, t := range s.opts.Targets() {
		owned.add(&t)
		switch t.Health {
		case "up":
			data.Up++
		case "down":
			data.Down++
		default:
			data.Waiting++
		}
	}
	var all []monitor
	for i := range statuses {
		m := newMonitor(&statuses[i], owned)
		if m.Err != "" {
			data.Rejected++
		}
		if m.choose(data) {
			all = append(all, m)
		}
	}
	// What is wrong comes first.
	slices.SortStableFunc(all, func(a, b monitor) int { return cmp.Compare(rank(&a), rank(&b)) })
	data.Monitors = cut(all, data)
	return data, nil
}

func rank(m *monitor) int {
	switch {
	case m.Err != "":
		return 0
	case m.Up < m.All:
		return 1
	}
	return 2
}

// owned are the targets by what they are of: a job, or of the jobs that all annotated
// objects of a kind share, the object.
type owned struct {
	shared  map[string]string // by job: the label that names the object
	targets map[ownedKey][]Target
}

type ownedKey struct{ job, namespace, name string } // no more than the job, unless that is shared

func newOwned(statuses []monitors.Status) *owned {
	o := &owned{shared: map[string]string{}, targets: map[ownedKey][]Target{}}
	for i := range statuses {
		if of := &statuses[i]; of.Origin == monitors.OriginAnnotation {
			for _, job := range of.Jobs {
				o.shared[job] = strings.ToLower(of.Kind)
			}
		}
	}
	return o
}

func (o *owned) add(t *Target) {
	key := ownedKey{job: t.Job}
	if label, ok := o.shared[t.Job]; ok {
		key.namespace, key.name = t.Labels.Get("namespace"), t.Labels.Get(label)
	}
	o.targets[key] = append(o.targets[key], *t)
}

func (o *owned) of(job string, status *monitors.Status) []Target {
	key := ownedKey{job: job}
	if _, ok := o.shared[job]; ok {
		key.namespace, key.name = status.Namespace, status.Name
	}
	return o.targets[key]
}

func newMonitor(of *monitors.Status, owned *owned) monitor {
	m := monitor{Kind: of.Kind, Namespace: of.Namespace, Name: of.Name, Origin: string(of.Origin), Jobs: of.Jobs, Unsupported: of.Unsupported}
	if of.Err != nil {
		m.Err = of.Err.Error()
	}
	for _, job := range of.Jobs {
		m.Targets = append(m.Targets, owned.of(job, of)...)
	}
	for i := range m.Targets {
		if m.Targets[i].Health == "up" {
			m.Up++
		}
	}
	m.All = len(m.Targets)
	slices.SortFunc(m.Targets, func(a, b Target) int {
		return cmp.Or(cmp.Compare(healthRank(a.Health), healthRank(b.Health)), cmp.Compare(a.Job, b.Job), cmp.Compare(a.Address, b.Address))
	})
	return m
}

// healthRank puts what is wrong first.
func healthRank(health string) int {
	switch health {
	case "down":
		return 0
	case "up":
		return 2
	}
	return 1
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// choose leaves the targets that are asked for, and tells whether the monitor is to be shown.
func (m *monitor) choose(data *targetsData) bool {
	own := data.matches(m.Kind + " " + m.Namespace + "/" + m.Name)
	m.Targets = slices.DeleteFunc(m.Targets, func(t Target) bool {
		return data.OnlyBad && t.Health == "up" || !own && !data.matches(t.Address+" "+t.Labels.String())
	})
	return len(m.Targets) > 0 || own && (!data.OnlyBad || m.Bad())
}

// cut shows a part of all targets. A monitor without any counts as one.
func cut(all []monitor, data *targetsData) (shown []monitor) {
	n := 0
	for i := range all {
		n += max(1, len(all[i].Targets))
	}
	from, to := data.window(n, mostTargets)
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
