package adapter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// errNamesNoMetric is said of a selector by which nothing becomes wanted.
var errNamesNoMetric = errors.New("a selector that names no metric reads only what is stored because somebody else reads it, or because the configuration keeps it")

// selector are matchers on the name of series that somebody reads.
type selector struct {
	on    []*labels.Matcher
	last  time.Time
	since time.Time // when collection began of what it selects, zero if that is long ago or nothing was missing
}

// Selected notes that somebody reads series on the database directly: those of the names that matchers choose
// stay wanted for DemandOptions.TTL. Matchers that choose no names, {job="x"} or {__name__=~".+"}, make nothing
// wanted: they would make everything be stored.
//
// The function that it returns tells, for a selector that found series or none, what the reader should know
// about that; nil is nothing, and nil in its place never anything.
func (p *Provider) Selected(matchers []*labels.Matcher) (say func(found bool) error) {
	on := onName(matchers)
	onDemand := p.demand.opts.FirstValue != 0
	switch {
	case !choose(on):
		if !onDemand {
			return nil
		}
		return func(bool) error { return errNamesNoMetric }
	case !p.demand.selected(on, p.catalog.exposing) || !onDemand:
		return nil
	}
	return func(found bool) error {
		if found {
			return nil
		}
		names, known := p.catalog.exposing(on)
		if known && len(names) == 0 && !ofScrapes(on) {
			return fmt.Errorf("no target exposes %s", nameText(on))
		}
		if left := p.demand.selectorStarting(selectorText(on)); left > 0 {
			return fmt.Errorf("collection of %s has started, first value in about %s", nameText(on), left.Round(time.Second))
		}
		return nil
	}
}

// choose tells whether matchers on the name take some names and not others. Neither of two names that no
// metric has would be chosen.
func choose(on []*labels.Matcher) bool {
	return !matchesName(on, "a_name_of_no_metric") || !matchesName(on, "zz_name_of_no_metric")
}

// ofScrapes tells whether matchers on the name take series that no target exposes, because scraping writes them.
func ofScrapes(on []*labels.Matcher) bool {
	return slices.ContainsFunc([]string{
		"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling",
		"scrape_series_added", "scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes",
	}, func(name string) bool { return matchesName(on, name) })
}

// selected notes a selector, unless there are too many.
func (d *demand) selected(on []*labels.Matcher, exposing func([]*labels.Matcher) ([]string, bool)) bool {
	text, now := selectorText(on), d.now()
	d.mu.Lock()
	s, known := d.selectors[text]
	if known {
		s.last = now
		d.selectors[text] = s
	}
	full := len(d.selectors) >= maxReads
	d.mu.Unlock()
	if known || full {
		return known
	}
	names, _ := exposing(on)
	d.mu.Lock()
	defer d.mu.Unlock()
	s = selector{on: on, last: now}
	missing := func(name string) bool { return d.current == nil || !d.current.Wanted(name) }
	if slices.ContainsFunc(names, missing) {
		s.since = now
	}
	d.selectors[text] = s
	d.wake()
	return true
}

// selectorStarting tells how long it is until what a selector has made wanted has its first value, 0 if it
// should have one.
func (d *demand) selectorStarting(text string) time.Duration {
	d.mu.Lock()
	since := d.selectors[text].since
	d.mu.Unlock()
	return d.left(since)
}

// selectorText is the same for the same matchers, and PromQL.
func selectorText(on []*labels.Matcher) string {
	parts := make([]string, len(on))
	for i, m := range on {
		parts[i] = m.String()
	}
	slices.Sort(parts)
	return "{" + strings.Join(parts, ",") + "}"
}

// nameText names what is selected to people.
func nameText(on []*labels.Matcher) string {
	if len(on) == 1 && on[0].Type == labels.MatchEqual {
		return on[0].Value
	}
	return "what " + selectorText(on) + " selects"
}

// exposing gives the names that targets expose, as of a moment ago, and matchers take. known is whether what
// targets expose is.
func (c *catalog) exposing(on []*labels.Matcher) (names []string, known bool) {
	c.mu.Lock()
	exposed, known := c.labels, c.exposed != nil // replaced whole, never changed
	c.mu.Unlock()
	if len(on) == 1 && on[0].Type == labels.MatchEqual {
		if _, ok := exposed[on[0].Value]; ok {
			names = []string{on[0].Value}
		}
		return names, known
	}
	for name := range exposed {
		if matchesName(on, name) {
			names = append(names, name)
		}
	}
	return names, known
}
