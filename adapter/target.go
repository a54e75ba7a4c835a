package adapter

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// Target is an endpoint that is scraped.
type Target struct {
	// Job is the name of its scrape configuration.
	Job string
	// Address is host, port and path, for people.
	Address string
	// Labels are those that it gives to its series; Discovered are the same before
	// the relabelings that its monitor asks for.
	Labels, Discovered labels.Labels
	// OwnLabels says that its series may have other values of these labels: their own
	// (honorLabels), or those that metric relabelings give.
	OwnLabels bool
	// Interval is the time between scrapes.
	Interval time.Duration
	// LastScrape is zero before the first.
	LastScrape time.Time
	// Err is why the last scrape failed.
	Err error
}

// ordinaryLabels are those that all targets may have beside the ones that name
// objects: by them the same endpoint differs when several Services or monitors
// select its pod.
func ordinaryLabels() []string { return []string{"job", "endpoint", "service"} }

// objectLabels are never among those by which only targets differ.
func objectLabels() []string { return []string{"namespace", "pod", "container", "instance"} }

// scrapes knows how targets are scraped.
type scrapes struct {
	source   func(known uint64) ([]Target, uint64) // may be nil
	interval time.Duration                         // where it is not known

	mu      sync.Mutex
	version uint64
	table   scrapeTable
}

// scrapeTable is what is known of all targets at some moment. It does not change.
type scrapeTable struct {
	by        map[scrapeScope]*scrapeFacts
	elsewhere map[string]bool // jobs whose series may be of other namespaces than their targets
	there     map[identity]bool
	interval  time.Duration // where it is not known
}

// identity is what a target's series are known by.
type identity struct{ job, instance string }

// gone tells whether there is no target any more that a series can be of.
func (t scrapeTable) gone(series labels.Labels) bool {
	return len(t.by) > 0 && !t.there[identity{series.Get(model.JobLabel), series.Get(model.InstanceLabel)}]
}

// scrapeScope is a set of targets: those of a namespace with a job label; of all
// namespaces, or with any job label, where that is empty.
type scrapeScope struct{ namespace, job string }

// scrapeFacts are what is to be known of a set of targets. They do not change.
type scrapeFacts struct {
	shortest, longest time.Duration // intervals
	// labels are the names of those that do not name objects; nil where they are not
	// known.
	labels []string
	// duplicates: what a container exposes may be there several times.
	duplicates bool
	// instances: some are of an exporter that is asked about several things, which their
	// instance label tells apart.
	instances bool
}

// uniform tells whether all are alike, so that none need be looked at by itself.
func (f *scrapeFacts) uniform() bool {
	extra := func(name string) bool { return !slices.Contains(ordinaryLabels(), name) }
	return f.shortest == f.longest && !slices.ContainsFunc(f.labels, extra) && !f.duplicates
}

func (f *scrapeFacts) add(other *scrapeFacts) {
	if f.longest == 0 {
		f.shortest = other.shortest
	}
	f.shortest, f.longest = min(f.shortest, other.shortest), max(f.longest, other.longest)
	f.duplicates = f.duplicates || other.duplicates
	f.instances = f.instances || other.instances
	for _, name := range other.labels {
		if at, known := slices.BinarySearch(f.labels, name); !known {
			f.labels = slices.Insert(f.labels, at, name)
		}
	}
}

// of returns what is to be known of the targets behind series in a namespace, or of
// all. Only where its targets differ are the job labels of the series asked for.
// Series of which no target is known are taken to be like the rest.
func (t scrapeTable) of(namespace string, jobs func() ([]string, error)) (scrapeFacts, error) {
	whole := t.by[scrapeScope{namespace: namespace}]
	if whole == nil {
		whole = t.by[scrapeScope{}]
	}
	if whole == nil {
		return scrapeFacts{shortest: t.interval, longest: t.interval, duplicates: true}, nil
	}
	if whole.uniform() && len(t.elsewhere) == 0 {
		return *whole, nil
	}
	names, err := jobs()
	if err != nil {
		return scrapeFacts{}, err
	}
	var found scrapeFacts
	for _, job := range names {
		found.add(t.find(namespace, job))
	}
	if len(names) == 0 {
		return *whole, nil
	}
	return found, nil
}

// find returns what is known of targets with a job label, in the namespace or else
// anywhere; or of all.
func (t scrapeTable) find(namespace, job string) *scrapeFacts {
	for _, scope := range []scrapeScope{{namespace, job}, {job: job}, {}} {
		if f := t.by[scope]; f != nil && (scope.namespace == "" || !t.elsewhere[job]) {
			return f
		}
	}
	return &scrapeFacts{shortest: t.interval, longest: t.interval, duplicates: true}
}

// intervalOf returns the scrape interval of the targets behind a series.
func (t scrapeTable) intervalOf(series labels.Labels) time.Duration {
	return t.find(series.Get("namespace"), series.Get(model.JobLabel)).longest
}

// current returns the table of the targets there are now.
func (s *scrapes) current() scrapeTable {
	if s.source == nil {
		return scrapeTable{interval: s.interval}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	targets, version := s.source(s.version)
	if version == s.version {
		return s.table
	}
	s.version, s.table = version, newScrapeTable(targets, s.interval)
	return s.table
}

func newScrapeTable(targets []Target, interval time.Duration) scrapeTable {
	table := scrapeTable{by: map[scrapeScope]*scrapeFacts{}, elsewhere: map[string]bool{}, there: map[identity]bool{}, interval: interval}
	counted := takeCensus(targets)
	for i := range targets {
		t := &targets[i]
		facts := &scrapeFacts{
			shortest: t.Interval, longest: t.Interval, labels: namesOfOthers(t.Labels),
			duplicates: t.OwnLabels || counted.several(t), instances: counted.exporter(t),
		}
		namespace, job := t.Labels.Get("namespace"), t.Labels.Get(model.JobLabel)
		table.there[identity{job, t.Labels.Get(model.InstanceLabel)}] = true
		if t.OwnLabels {
			table.elsewhere[job] = true
		}
		for _, scope := range []scrapeScope{{namespace, job}, {namespace: namespace}, {job: job}, {}} {
			if table.by[scope] == nil {
				table.by[scope] = &scrapeFacts{}
			}
			table.by[scope].add(facts)
		}
	}
	return table
}

// scraped is a container of a pod, or what has the address where there is no pod.
type scraped struct{ namespace, pod, container, instance string }

// census counts the targets of each.
type census struct {
	times map[scraped]int // those of a pod without a container, too
	// exporters are the addresses that a job asks about several things.
	exporters map[string]bool
}

func takeCensus(targets []Target) census {
	type endpoint struct{ job, address string }
	c := census{times: map[scraped]int{}, exporters: map[string]bool{}}
	instances := make(map[endpoint]string, len(targets))
	for i := range targets {
		t := &targets[i]
		at, instance := endpoint{t.Job, t.Address}, t.Labels.Get(model.InstanceLabel)
		if first, known := instances[at]; known && first != instance && t.Address != "" {
			c.exporters[t.Address] = true
		}
		instances[at] = instance
	}
	for i := range targets {
		what, pod := c.of(&targets[i])
		c.times[what]++
		if pod != what {
			c.times[pod]++
		}
	}
	return c
}

// exporter tells whether a target is one of several that the same endpoint is asked
// about: then its instance label says of what it tells.
func (c census) exporter(t *Target) bool { return c.exporters[t.Address] }

func (c census) of(t *Target) (what, pod scraped) {
	pod = scraped{namespace: t.Labels.Get("namespace"), pod: t.Labels.Get("pod")}
	what = pod
	if what.container = t.Labels.Get("container"); pod.pod == "" || c.exporter(t) {
		what.instance = t.Labels.Get(model.InstanceLabel)
	}
	return what, pod
}

// several tells whether what a target scrapes, or may scrape, is scraped by another as
// well. A port that the pod does not declare may be any container's.
func (c census) several(t *Target) bool {
	what, _ := c.of(t)
	return c.times[what] > 1
}

// namesOfOthers are those of the labels that do not name objects.
func namesOfOthers(of labels.Labels) (names []string) {
	of.Range(func(l labels.Label) {
		if !slices.Contains(objectLabels(), l.Name) {
			names = append(names, l.Name)
		}
	})
	return names
}

// endpointLabels are targetLabels of what belongs to a pod: there the instance, too, only
// tells by which port it was scraped.
func endpointLabels(of scrapeFacts, groupBy string) string {
	if of.instances {
		return targetLabels(of, groupBy)
	}
	return targetLabels(of, groupBy, model.InstanceLabel)
}

// targetLabels are the labels by which an endpoint's series differ that is scraped
// several times, as PromQL lists them, without the one that is grouped by.
func targetLabels(of scrapeFacts, groupBy string, more ...string) string {
	var listed []string
	names := of.labels
	if names == nil {
		names = ordinaryLabels()
	}
	for _, name := range slices.Concat(names, more) {
		switch {
		case name == groupBy:
		case model.LegacyValidation.IsValidLabelName(name):
			listed = append(listed, name)
		default:
			listed = append(listed, strconv.Quote(name))
		}
	}
	return strings.Join(listed, ", ")
}

// targets returns all targets.
func (s *scrapes) targets() []Target {
	if s.source == nil {
		return nil
	}
	targets, _ := s.source(0)
	return targets
}
