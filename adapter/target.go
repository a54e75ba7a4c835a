package adapter

import (
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
	// Interval is the time between scrapes.
	Interval time.Duration
	// LastScrape is zero before the first.
	LastScrape time.Time
	// Err is why the last scrape failed.
	Err error
}

// scrapes knows the targets.
type scrapes struct {
	list     func(known uint64) ([]Target, uint64) // may be nil
	interval time.Duration                         // where it is not known

	mu      sync.Mutex
	version uint64
	table   scrapeTable
}

// scrapeTable is what evaluation needs to know of the targets at some moment. It does not change.
type scrapeTable struct {
	there   map[instance]bool
	longest time.Duration // interval
}

// instance is what Prometheus's conventions know a target by.
type instance struct{ job, instance string }

// gone reports whether there is no target any more that a series can be of.
func (t scrapeTable) gone(series labels.Labels) bool {
	return len(t.there) > 0 && !t.there[instance{series.Get(model.JobLabel), series.Get(model.InstanceLabel)}]
}

// current returns the table of the targets that there are now.
func (s *scrapes) current() scrapeTable {
	if s.list == nil {
		return scrapeTable{longest: s.interval}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	targets, version := s.list(s.version)
	if version == s.version {
		return s.table
	}
	s.version, s.table = version, scrapeTable{there: make(map[instance]bool, len(targets)), longest: s.interval}
	for i := range targets {
		t := &targets[i]
		s.table.there[instance{t.Labels.Get(model.JobLabel), t.Labels.Get(model.InstanceLabel)}] = true
		s.table.longest = max(s.table.longest, t.Interval)
	}
	return s.table
}

// targets returns all targets.
func (s *scrapes) targets() []Target {
	if s.list == nil {
		return nil
	}
	targets, _ := s.list(0)
	return targets
}
