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

// lastTimes finds the time of the last sample behind a result among the series that a query read.
//
// The series behind a result are taken to be those that agree with it on the labels of the result, as
// far as the selector they come from has these labels at all (group_left and label_replace add some
// that it has not). A result that agrees with no series gets the oldest time of all: too old
// is honest, too new is not.
type lastTimes struct {
	used    []*usedSelection
	all     span
	waiting int // series with samples, of which there are too few
}

// usedSelection is a selector with the series that gave it something.
type usedSelection struct {
	series []*recordedSeries
	all    span
	has    map[string]bool            // label name -> some series has it
	tables map[string]map[uint64]span // label names -> hash of their values -> their series
	names  []string                   // scratch
	buf    []byte                     // scratch
}

// span is the earliest of the last samples of some series, the earliest of their first ones, and so on as Sample
// tells them.
type span struct {
	first, last     oldest
	newest, spacing int64 // milliseconds
	paired          int64
}

// sample is a result that these times are behind.
func (s span) sample(ls labels.Labels, v float64) Sample {
	sample := Sample{Labels: ls, Value: v, Last: s.last.time(), First: s.first.time(), Spacing: time.Duration(s.spacing) * time.Millisecond}
	if s.last.set {
		sample.Newest, sample.Paired = time.UnixMilli(s.newest), time.UnixMilli(s.paired)
	}
	return sample
}

func (s span) and(r *recordedSeries) span {
	first, next := r.first, r.next
	if r.in.latestWins {
		first, next = r.last, r.last // The engine reads those before it as well.
	}
	t := span{first: oldest{t: first, set: true}, last: oldest{t: r.last, set: true}, newest: r.last, paired: next}
	if r.n > 1 {
		t.spacing = (r.last - first) / int64(r.n-1)
	}
	return s.or(t)
}

func (s span) or(t span) span {
	if !s.last.set || !t.last.set {
		if s.last.set {
			return s
		}
		return t
	}
	spacing := s.spacing
	if spacing == 0 || t.spacing > 0 && t.spacing < spacing {
		spacing = t.spacing
	}
	return span{first: s.first.or(t.first), last: s.last.or(t.last), newest: max(s.newest, t.newest), paired: max(s.paired, t.paired), spacing: spacing}
}

// oldest is the earliest of the times it was given; its zero value was given none.
type oldest struct {
	t   int64
	set bool
}

func (o oldest) and(t int64) oldest {
	if o.set && o.t <= t {
		return o
	}
	return oldest{t: t, set: true}
}

func (o oldest) or(p oldest) oldest {
	if !p.set {
		return o
	}
	return o.and(p.t)
}

// time is zero when there was none.
func (o oldest) time() time.Time {
	if !o.set {
		return time.Time{}
	}
	return time.UnixMilli(o.t)
}

// times sums up a query that has ended.
func (r *recorder) times() *lastTimes {
	l := &lastTimes{}
	for _, sel := range r.selections {
		u := &usedSelection{has: map[string]bool{}, tables: map[string]map[uint64]span{}}
		for _, s := range sel.series {
			if s.contributed() {
				u.series = append(u.series, s)
				u.all = u.all.and(s)
			} else if s.n > 0 && !s.stale {
				l.waiting++
			}
		}
		if len(u.series) > 0 {
			l.used = append(l.used, u)
			l.all = l.all.or(u.all)
		}
	}
	return l
}

// of returns the times of the samples behind the result with the labels ls, zero if there are none.
func (l *lastTimes) of(ls labels.Labels) span {
	var found span
	for _, u := range l.used {
		found = found.or(u.of(ls))
	}
	if !found.last.set {
		found = l.all
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
	table, ok := u.table()
	if !ok {
		return u.all
	}
	var hash uint64
	hash, u.buf = ls.HashForLabels(u.buf, u.names...)
	return table[hash]
}

// hasName tells whether any series of the selector has the label. Mostly the first one tells.
func (u *usedSelection) hasName(name string) bool {
	has, ok := u.has[name]
	if !ok {
		has = slices.ContainsFunc(u.series, func(s *recordedSeries) bool { return s.Labels().Has(name) })
		u.has[name] = has
	}
	return has
}

// table indexes the series by the values of the labels u.names, once for each set of names.
func (u *usedSelection) table() (map[uint64]span, bool) {
	key := strings.Join(u.names, "\xff")
	if table, ok := u.tables[key]; ok {
		return table, true
	}
	if len(u.tables) >= maxTables {
		return nil, false
	}
	table := make(map[uint64]span)
	var hash uint64
	for _, s := range u.series {
		hash, u.buf = s.Labels().HashForLabels(u.buf, u.names...)
		table[hash] = table[hash].and(s)
	}
	u.tables[key] = table
	return table, true
}
