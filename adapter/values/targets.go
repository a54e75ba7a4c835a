package values

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/promlet/promlet/tsdb"
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

// Up reports whether the last scrape succeeded.
func (t *Target) Up() bool { return t.Err == nil && !t.LastScrape.IsZero() }

// Targets are what is scraped.
type Targets struct {
	// List returns the targets, and a version that changes when any comes or goes; nil
	// when the version is still the known one, which is never 0. It may be nil.
	List func(known uint64) (targets []Target, version uint64)
	// Interval is that of series whose target is not known.
	Interval time.Duration

	mu   sync.Mutex
	last targetTable
}

// targetTable is what evaluation needs to know of the targets. It does not change.
type targetTable struct {
	version  uint64
	existing map[instance]bool
	longest  time.Duration // interval
}

// instance identifies a target by Prometheus' conventions.
type instance struct{ job, instance string }

func instanceOf(series labels.Labels) instance {
	return instance{series.Get(model.JobLabel), series.Get(model.InstanceLabel)}
}

// gone reports whether no target exists any more that a series can be of.
func (t targetTable) gone(series labels.Labels) bool {
	return len(t.existing) > 0 && !t.existing[instanceOf(series)]
}

// lookback returns the greatest age of a sample that an instant selector still finds.
func (t targetTable) lookback() time.Duration {
	return max(tsdb.DefaultLookbackDelta, tsdb.FreshIntervals*t.longest)
}

// table returns the table of the targets that exist now.
func (t *Targets) table() targetTable {
	if t.List == nil {
		return targetTable{longest: t.Interval}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	targets, version := t.List(t.last.version)
	if version == t.last.version {
		return t.last
	}
	t.last = targetTable{version: version, existing: make(map[instance]bool, len(targets)), longest: t.Interval}
	for i := range targets {
		t.last.existing[instanceOf(targets[i].Labels)] = true
		t.last.longest = max(t.last.longest, targets[i].Interval)
	}
	return t.last
}

// All returns all targets.
func (t *Targets) All() []Target {
	if t.List == nil {
		return nil
	}
	targets, _ := t.List(0)
	return targets
}

// ScrapedSince reports whether there are targets, and all have been scraped since a time.
func (t *Targets) ScrapedSince(since time.Time) bool {
	all := t.All()
	return len(all) > 0 && !slices.ContainsFunc(all, func(t Target) bool { return !t.LastScrape.After(since) })
}
