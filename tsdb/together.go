package tsdb

import (
	"math"
	"slices"
	"time"
)

const (
	// MinSpan is how far apart two samples must be to tell a rate: several monitors may have the same series be
	// written several times in a moment.
	MinSpan = time.Second
	// minSpan is MinSpan in milliseconds.
	minSpan = int64(MinSpan / time.Millisecond)

	// joinSlack is how long after a change the first scrape of a target may be that joined with it. In milliseconds.
	joinSlack = 2000

	// sinceChangeEvents is how many events the counters of a sum must have counted since its targets changed for its
	// rate to be over that time only. Counting 100 events errs by a tenth, as much as an HPA tolerates.
	sinceChangeEvents = 100

	// leastPatience is for how long at least a sum may stay as it was before a change: two changes a moment apart
	// take so long to be read twice. In milliseconds.
	leastPatience = 10_000
)

// member is a target that is part of a sum.
type member struct {
	alive, failing bool
	ended          int64 // when it left, if it is not alive
	old            bool  // one of its series is older than the window
	joined         int64 // first sample, where none is older than the window
}

// sum is what one result is made of.
type sum struct {
	members  map[uint64]*member // by Target.ID
	series   []*seriesIn
	changes  []int64 // when its targets changed inside the window, sorted
	begun    int64   // when scraping began, if inside the window: before, it is not known which targets there were
	first    int64   // sample of all members, if inside the window: what joins shortly after has been there as well
	patience int64

	// Its rates are read in [begin, end): 0 is before the window, math.MaxInt64 is now.
	begin, end int64
	moved      float64 // in that time
	// unknown: its targets changed, or scraping began, just now, and not all that count now were read before.
	unknown bool
}

// together makes the rates of one sum be about the same time.
//
// When a pod joins, the load of the others falls, but their rates over the whole window still show the old load: the
// sum is too high. When a pod leaves, it is too low. So a sum is read between two changes: in the last such time in
// which every target that was there has been read twice. Just after a change that is the time before it: the sum stays
// as it was, with the pod that left and without the one that joined, for one scrape interval at most.
func (v *view) together(sel *selection) {
	if !v.changing(sel) {
		return
	}
	sums := map[uint64]*sum{}
	for i := range sel.series {
		if s := &sel.series[i]; s.state != dropped {
			v.join(sums, sel, s)
		}
	}
	for _, in := range sums {
		v.choose(in)
		for _, s := range in.series {
			v.clip(in, s)
		}
		for _, s := range in.series {
			v.readSince(sel, in, s)
		}
	}
}

// changing reports whether targets came or went in the window.
func (v *view) changing(sel *selection) bool {
	for i := range sel.series {
		s := &sel.series[i]
		if s.state == left || s.state == counts && (!s.isOld(sel) || s.target.changedAfter(sel.start)) {
			return true
		}
	}
	return false
}

// join notes what a series says of its target.
func (v *view) join(sums map[uint64]*sum, sel *selection, s *seriesIn) {
	id := s.target.ID
	if !v.grouping.single && !v.grouping.without {
		id = v.hashOf(s.labels, v.grouping.results)
	}
	in := sums[id]
	if in == nil {
		in = &sum{members: make(map[uint64]*member, 1), patience: leastPatience}
		sums[id] = in
	}
	in.series = append(in.series, s)
	m := in.members[s.target.ID]
	if m == nil {
		m = &member{}
		in.members[s.target.ID] = m
		in.patience = max(in.patience, s.target.Interval.Milliseconds())
	}
	if begun := milliseconds(s.target.Begun); begun > sel.start {
		in.begun = max(in.begun, begun)
	}
	for _, when := range s.target.Changes {
		in.changed(when.UnixMilli(), sel)
	}
	if s.state == left && s.target.Ended.IsZero() {
		in.changed(v.at, sel)
	}
	if s.state == left {
		m.ended = max(m.ended, v.ended(s))
	} else {
		m.alive = true
	}
	m.failing = m.failing || !s.target.FailingSince.IsZero()
	switch first := v.samples[s.from].t; {
	case s.isOld(sel) || v.appeared(sel, s):
		m.old = true
	case m.joined == 0 || first < m.joined:
		m.joined = first
	}
}

// changed notes a change inside the window.
func (s *sum) changed(t int64, sel *selection) {
	if at, known := slices.BinarySearch(s.changes, t); !known && t > sel.start {
		s.changes = slices.Insert(s.changes, at, t)
	}
}

// isOld reports whether a series has been observed since before the window.
func (s *seriesIn) isOld(sel *selection) bool {
	return s.window > s.from || s.known && s.first < sel.start
}

// appeared reports whether a series is new itself, though its target has been scraped for the whole window.
func (v *view) appeared(sel *selection, s *seriesIn) bool {
	return s.known && s.collected < min(s.first, sel.start) && v.samples[s.from].t >= s.first
}

// choose picks the last time between two changes in which every target was read twice, if it ended less than
// s.patience ago. Otherwise the sum is read over the whole window. If all its targets are younger than s.patience, the
// sum is unknown.
func (v *view) choose(s *sum) {
	s.first = math.MaxInt64
	for _, m := range s.members {
		s.first = min(s.first, m.joined) // 0 if it is old
	}
	end := int64(math.MaxInt64)
	for i := len(s.changes); i >= 0 && v.at-end < s.patience; i-- {
		begin := int64(0)
		if i > 0 {
			begin = s.changes[i-1]
		}
		if v.readTwice(s, begin, end) {
			s.begin, s.end = begin, end
			return
		}
		end = begin
	}
	s.begin, s.end = 0, math.MaxInt64
	if v.at-max(s.begun, s.first) < s.patience && !v.readTwice(s, 0, math.MaxInt64) {
		s.unknown = true
		return
	}
	s.unknown = len(s.changes) > 0
	for _, m := range s.members {
		s.unknown = s.unknown && !m.old && v.at-m.joined < s.patience
	}
}

// readTwice reports whether all targets of a sum that were there in [begin, end), to its end, were read twice in it. If
// that is before scraping began, or begins before, it takes all that there are now.
func (v *view) readTwice(s *sum, begin, end int64) bool {
	twice := make(map[uint64]bool, len(s.members))
	for _, one := range s.series {
		from, to := v.indexSince(one, begin), v.indexSince(one, end)
		if to > from && v.samples[to-1].t-v.samples[from].t >= minSpan {
			twice[one.target.ID] = true
		}
	}
	for id, m := range s.members {
		there := m.old || m.joined < max(begin, s.first)+joinSlack || begin < s.begun
		stayed := m.alive || m.ended >= end
		if there && stayed && !m.failing && !twice[id] {
			return false
		}
	}
	return len(twice) > 0
}

// clip removes the samples of a series from in.end on. It drops a series that has no earlier sample, or whose target is
// no longer part of the sum.
func (v *view) clip(in *sum, s *seriesIn) {
	begin, end := v.indexSince(s, in.begin), v.indexSince(s, in.end)
	if s.state == left && (in.end == math.MaxInt64 || in.members[s.target.ID].alive || begin == end || v.at-v.ended(s) >= in.patience) ||
		end == s.from {
		s.state = dropped // it was not there then
		return
	}
	if s.state == counts && in.end-v.samples[end-1].t > FreshIntervals*s.target.Interval.Milliseconds() {
		end = s.to // it failed when the change came, or stamps its samples itself
	}
	s.state = counts
	if in.unknown {
		s.state = waiting
	}
	s.to, s.window = end, min(s.window, end)
	if end-begin > 1 {
		in.moved += v.rise(begin, end).size()
	}
}

// readSince makes the window of a series begin at in.begin, if the counters of the sum have moved enough since.
func (v *view) readSince(sel *selection, in *sum, s *seriesIn) {
	if s.state != counts || in.begin <= sel.start || in.moved < sinceChangeEvents {
		return
	}
	if since := v.indexSince(s, in.begin); s.to > since && v.samples[s.to-1].t-v.samples[since].t >= minSpan {
		s.window = max(s.window, since)
		s.since = in.begin
	}
}

// indexSince is the place of the first sample from a time on.
func (v *view) indexSince(s *seriesIn, t int64) int {
	at := s.to
	for at > s.from && v.samples[at-1].t >= t {
		at--
	}
	return at
}
