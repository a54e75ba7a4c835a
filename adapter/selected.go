package adapter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

const (
	// maxSelectors, of which each may have maxSelectorText and all together maxSelectorsText bytes, are
	// remembered, as text on disk and compiled: a regular expression takes some fifteen times its text.
	maxSelectors     = 1000
	maxSelectorText  = 4 << 10
	maxSelectorsText = 512 << 10
	// maxTaken is how many names a selector may take even if those are most of what is exposed.
	maxTaken = 100
)

// What is said of a selector by which nothing becomes wanted.
var (
	errNamesNoMetric = errors.New("a selector that names no metric " + readsOthers)
	errNamesTooMany  = fmt.Errorf("a selector that takes more than half of the metrics that targets expose, and more than %d, %s", maxTaken, readsOthers)
	errNamesTooLong  = fmt.Errorf("a selector with more than %d bytes on names of metrics %s", maxSelectorText, readsOthers)
	errSelectorsFull = fmt.Errorf("too many selectors are read (%d, or %d bytes of them): this one %s", maxSelectors, maxSelectorsText, readsOthers)
)

const readsOthers = "reads only what is stored because somebody else reads it, or because the configuration keeps it"

// selector are matchers on the name of series that somebody reads.
type selector struct {
	on    []*labels.Matcher
	last  time.Time
	since time.Time // when collection began of what it selects, zero if that is long ago or nothing was missing

	judged uint64 // version of what targets expose of which it does not take too much
}

// Selected notes that somebody reads series on the database directly: those of the names that matchers choose
// stay wanted for DemandOptions.TTL. Matchers that choose no names, {job="x"} or {__name__=~".+"}, or more than
// half of those that targets expose and more than 100, make nothing wanted: they would make everything be stored.
//
// The function that it returns tells, for a selector that found series or none, what the reader should know
// about that; nil is nothing, and nil in its place never anything.
func (p *Provider) Selected(matchers []*labels.Matcher) (say func(found bool) error) {
	on := onName(matchers)
	err := p.demand.selected(on, p.catalog.exposure())
	switch {
	case p.demand.opts.FirstValue == 0: // everything is stored
		return nil
	case err != nil:
		return func(bool) error { return err }
	}
	return func(found bool) error {
		if found {
			return nil
		}
		now := p.catalog.exposure()
		if now.known && len(now.taken(on)) == 0 && !ofScrapes(on) {
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

// selected notes a selector, or tells why it does not.
func (d *demand) selected(on []*labels.Matcher, exposed exposure) error {
	if !choose(on) {
		return errNamesNoMetric
	}
	text, now := selectorText(on), d.now()
	if len(text) > maxSelectorText {
		return errNamesTooLong
	}
	d.mu.Lock()
	s, known := d.selectors[text]
	room := known || d.hasRoom(text)
	if known {
		s.last = now
		d.selectors[text] = s
	}
	d.mu.Unlock()
	switch {
	case !room:
		return errSelectorsFull
	case known && s.judged == exposed.version:
		return nil
	}
	names := exposed.taken(on)
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(names) > maxTaken && 2*len(names) > len(exposed.labels) {
		if known {
			delete(d.selectors, text)
			d.wake()
		}
		return errNamesTooMany
	}
	if s, known = d.selectors[text]; known {
		s.judged = exposed.version
		d.selectors[text] = s
		return nil
	}
	if !d.hasRoom(text) {
		return errSelectorsFull
	}
	s = selector{on: on, last: now, judged: exposed.version}
	missing := func(name string) bool { return d.current == nil || !d.current.Wanted(name) }
	if slices.ContainsFunc(names, missing) {
		s.since = now
	}
	d.selectors[text] = s
	d.wake()
	return nil
}

// hasRoom tells whether one more selector may be remembered. d.mu is held.
func (d *demand) hasRoom(text string) bool {
	size := len(text)
	for known := range d.selectors {
		size += len(known)
	}
	return len(d.selectors) < maxSelectors && size <= maxSelectorsText
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

// exposure is what targets expose, as of a moment ago.
type exposure struct {
	labels  map[string][]string // by name; replaced whole, never changed
	version uint64
	known   bool
}

func (c *catalog) exposure() exposure {
	c.mu.Lock()
	defer c.mu.Unlock()
	return exposure{labels: c.labels, version: c.exposedVersion, known: c.exposed != nil}
}

// taken gives the names that matchers take.
func (e exposure) taken(on []*labels.Matcher) (names []string) {
	if len(on) == 1 && on[0].Type == labels.MatchEqual {
		if _, ok := e.labels[on[0].Value]; ok {
			names = []string{on[0].Value}
		}
		return names
	}
	for name := range e.labels {
		if matchesName(on, name) {
			names = append(names, name)
		}
	}
	return names
}
