package tsdb

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// maxTables bounds how many differently labelled kinds of result are matched exactly per selector.
// One expression nearly always gives one kind; a selector on the metric name alone can give as many as
// there are metrics, and indexing all series for each would be quadratic.
const maxTables = 64

// behindResults finds the series behind a result: those with the same values of the result's labels, as far as the
// selector that they come from has these labels (group_left and label_replace add some that it has not). If no series
// matches, all of them count.
type behindResults struct {
	selections []*usedSelection
	all        span
}

// usedSelection is a selection with the series that gave it something, or will.
type usedSelection struct {
	*selection
	view   *view
	used   []*seriesIn
	all    span
	has    map[string]bool            // label name -> some series has it
	tables map[string]map[uint64]span // label names -> hash of their values -> their series
	names  []string                   // scratch

	results   int      // number of results
	lastNames []string // of the result before, and their table
	lastTable map[uint64]span
}

// span is what was read of some series, as Sample says it.
type span struct {
	set     bool  // there are any
	last    int64 // the oldest, milliseconds
	window  int64 // the longest, milliseconds
	rates   bool  // there are rates
	full    bool  // one of these has been observed for its interval
	moved   float64
	waiting bool
}

func (s span) or(t span) span {
	switch {
	case !s.set:
		s.last = t.last
	case t.set:
		s.last = min(s.last, t.last)
	}
	s.set = s.set || t.set
	s.window = max(s.window, t.window)
	s.rates, s.full, s.waiting = s.rates || t.rates, s.full || t.full, s.waiting || t.waiting
	s.moved += t.moved
	return s
}

func (s span) sample(ls labels.Labels, v float64) Sample {
	sample := Sample{
		Labels: ls, Value: v, Window: time.Duration(s.window) * time.Millisecond,
		Brief: s.rates && !s.full, Moved: s.moved, Waiting: s.waiting,
	}
	if s.set {
		sample.Last = time.UnixMilli(s.last)
	}
	return sample
}

// span is what was read of one series.
func (u *usedSelection) span(s *seriesIn) span {
	if s.state == waiting {
		return span{waiting: true}
	}
	t := span{set: true, last: u.view.lastUsed(u.selection, s), window: s.observed, moved: s.moved}
	t.rates = u.extends()
	t.full = t.rates && !s.brief
	return t
}

// lastUsed is the time of the last real sample that was of use.
func (v *view) lastUsed(sel *selection, s *seriesIn) int64 {
	at := s.to - 1
	for ; at > s.from && (v.samples[at].t > sel.last || v.samples[at].stale()); at-- {
	}
	return v.samples[at].t
}

// behind sums up the samples behind a query that has ended. results is the number of its results.
func (v *view) behind(results int) *behindResults {
	b := &behindResults{}
	for _, sel := range v.selections {
		u := &usedSelection{selection: sel, view: v, results: results, has: map[string]bool{}, tables: map[string]map[uint64]span{}}
		for i := range sel.series {
			if s := &sel.series[i]; s.state == waiting || s.used {
				u.used = append(u.used, s)
				u.all = u.all.or(u.span(s))
			}
		}
		if len(u.used) > 0 {
			b.selections = append(b.selections, u)
			b.all = b.all.or(u.all)
		}
	}
	return b
}

// of returns what was read of the series behind the result with the labels ls.
func (b *behindResults) of(ls labels.Labels) span {
	var found span
	for _, u := range b.selections {
		found = found.or(u.of(ls))
	}
	if !found.set {
		return b.all
	}
	return found
}

func (u *usedSelection) of(ls labels.Labels) span {
	u.names = u.names[:0]
	ls.Range(func(l labels.Label) {
		if u.hasName(l.Name) {
			u.names = append(u.names, l.Name)
		}
	})
	if u.lastTable == nil || !slices.Equal(u.names, u.lastNames) {
		table, ok := u.table()
		if !ok {
			return u.all
		}
		u.lastTable, u.lastNames = table, append(u.lastNames[:0], u.names...)
	}
	return u.lastTable[u.view.hashOf(ls, u.names)]
}

// hasName reports whether any series of the selector has the label. Mostly the first one has.
func (u *usedSelection) hasName(name string) bool {
	has, ok := u.has[name]
	if !ok {
		has = slices.ContainsFunc(u.used, func(s *seriesIn) bool { return s.labels.Has(name) })
		u.has[name] = has
	}
	return has
}

// table indexes the series by the values of the labels u.names, once for each set of names.
func (u *usedSelection) table() (map[uint64]span, bool) {
	id := strings.Join(u.names, "\xff")
	if table, ok := u.tables[id]; ok {
		return table, true
	}
	if len(u.tables) >= maxTables {
		return nil, false
	}
	table := make(map[uint64]span, min(len(u.used), u.results))
	for _, s := range u.used {
		hash := u.view.hashOf(s.labels, u.names)
		table[hash] = table[hash].or(u.span(s))
	}
	u.tables[id] = table
	return table, true
}
