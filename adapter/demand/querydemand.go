package demand

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/rules"
)

const (
	// maxSelectors, each of at most maxSelectorText and all of at most maxSelectorsText
	// bytes, are remembered, as text on disk and compiled: a regular expression takes some
	// fifteen times its text.
	maxSelectors     = 1000
	maxSelectorText  = 4 << 10
	maxSelectorsText = 512 << 10
	// maxMatching is how many names a selector may match even if those are most of what
	// is exposed.
	maxMatching = 100
)

// The warnings about a selector that makes nothing wanted.
var (
	errNamesNoMetric = errors.New("a selector that names no metric " + readsOthers)
	errNamesTooMany  = fmt.Errorf("a selector that takes more than half of the metrics that targets expose, and more than %d, %s", maxMatching, readsOthers)
	errNamesTooLong  = fmt.Errorf("a selector with more than %d bytes on names of metrics %s", maxSelectorText, readsOthers)
	errSelectorsFull = fmt.Errorf("too many selectors are read (%d, or %d bytes of them): this one %s", maxSelectors, maxSelectorsText, readsOthers)
)

const readsOthers = "reads only what is stored because somebody else reads it, or because the configuration keeps it"

// query is a selector of series that PromQL queries read.
type query struct {
	on    []*labels.Matcher // on the name
	last  time.Time
	since time.Time // when collection of its series began, zero if nothing was missing

	judged uint64 // version of the exposure that it was found to match few enough names of
}

// Selected notes that a query reads series of the database directly. Those whose names the
// matchers choose stay wanted for Options.TTL. Matchers that choose no names, such as
// {job="x"} or {__name__=~".+"}, or more than half of the exposed names and more than 100,
// make nothing wanted: everything would be stored.
//
// It returns a function that gives the warning about a selector that found series, or none;
// nil where there never is one.
func (t *Tracker) Selected(matchers []*labels.Matcher) (warning func(found bool) error) {
	on := rules.OnName(matchers)
	err := t.noteQuery(on, t.catalog.Exposure())
	switch {
	case t.opts.FirstValue == 0: // everything is stored
		return nil
	case err != nil:
		return func(bool) error { return err }
	}
	return func(found bool) error {
		if found {
			return nil
		}
		if e := t.catalog.Exposure(); e.Known && len(e.MatchingNames(on)) == 0 {
			return fmt.Errorf("no target exposes %s", nameText(on))
		}
		if wait := t.queryStarting(on); wait > 0 {
			return fmt.Errorf("collection of %s has started, first value in about %s", nameText(on), wait.Round(time.Second))
		}
		return nil
	}
}

// choosesNames reports whether matchers on the name match some names and not others. It
// tries two names that no metric has.
func choosesNames(on []*labels.Matcher) bool {
	return !rules.MatchesName(on, "a_name_of_no_metric") || !rules.MatchesName(on, "zz_name_of_no_metric")
}

// noteQuery notes a selector; the error says why it does not.
func (t *Tracker) noteQuery(on []*labels.Matcher, exposed catalog.Exposure) error {
	if !choosesNames(on) {
		return errNamesNoMetric
	}
	text, now := selectorText(on), t.now()
	if len(text) > maxSelectorText {
		return errNamesTooLong
	}
	t.mu.Lock()
	q := t.queries[text]
	judged := q != nil && q.judged == exposed.Version
	if judged {
		q.last = now
	}
	t.mu.Unlock()
	if judged {
		return nil
	}
	names := exposed.MatchingNames(on) // not under the lock: there may be many names
	t.mu.Lock()
	defer t.mu.Unlock()
	q = t.queries[text]
	switch {
	case len(names) > maxMatching && 2*len(names) > len(exposed.Labels):
		if q != nil {
			delete(t.queries, text)
			t.Wake()
		}
		return errNamesTooMany
	case q != nil:
		q.last, q.judged = now, exposed.Version
		return nil
	case !t.hasRoom(text):
		return errSelectorsFull
	}
	q = &query{on: on, last: now, judged: exposed.Version}
	if slices.ContainsFunc(names, func(name string) bool { return t.current == nil || !t.current.Wanted(name) }) {
		q.since = now
	}
	t.queries[text] = q
	t.Wake()
	return nil
}

// hasRoom reports whether one more selector may be remembered. t.mu is held.
func (t *Tracker) hasRoom(text string) bool {
	size := len(text)
	for known := range t.queries {
		size += len(known)
	}
	return len(t.queries) < maxSelectors && size <= maxSelectorsText
}

// queryStarting returns how long it is until the series of a selector have their first
// values, 0 if they should have them.
func (t *Tracker) queryStarting(on []*labels.Matcher) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.queries[selectorText(on)]
	if q == nil {
		return 0
	}
	return t.untilFirstValue(q.since)
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

// nameText names what is selected, for a warning.
func nameText(on []*labels.Matcher) string {
	if name, ok := rules.OneName(on); ok {
		return name
	}
	return "what " + selectorText(on) + " selects"
}
