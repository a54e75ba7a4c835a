package tsdb

import (
	"math"
	"slices"
)

const (
	// minSpan is how far apart two samples must be to tell a rate: several monitors may have the same series be
	// written several times in a moment. In milliseconds.
	minSpan = 1000

	// joinSlack is by how much targets may differ that begin to be scraped together: the first scrapes of
	// many are spread over so long. In milliseconds.
	joinSlack = 2000

	// enoughMoved is by how much the counters of a sum must have moved since its targets changed for its rate
	// to be over that time only. Counting 100 events errs by a tenth, as much as an HPA tolerates.
	enoughMoved = 100
)

// member is a target that is part of a sum.
type member struct {
	alive, failing bool
	old            bool  // one of its series is older than the window
	joined         int64 // first sample, where none is older than the window
	second         int64 // time of the last sample that is minSpan older than the very last; 0: there is none
	left           int64 // 0: it has not
	target         *Target
	interval       int64
}

// sum is what one result is made of.
type sum struct {
	members map[uint64]*member // by Target.ID
	// measured is the time since which every target has been read twice.
	measured int64
	// since is when the sum has got the parts that it has, 0: before the window.
	since int64
	moved float64 // since then
}

// together makes the rates of one sum be about the same time.
//
// When a pod joins or leaves, the load of the others changes, and their rates over the whole window do not say
// so yet: added to the new pod's, they make too much; without the one that left, too little. So a sum has
// the parts that it had when all of them were last read twice: a target that joined after that waits, one that
// left still counts, both for one scrape interval at most. And the rates of its parts are taken since they last
// changed, once enough has been counted since.
func (v *view) together(sel *selection) {
	if !v.changing(sel) {
		return
	}
	sums := map[uint64]*sum{}
	of := make([]*sum, len(sel.series))
	members := make([]*member, len(sel.series))
	for i := range sel.series {
		if s := &sel.series[i]; s.state != dropped {
			of[i], members[i] = v.join(sums, sel, s)
		}
	}
	for _, s := range sums {
		s.measure(v.at)
	}
	for i := range sel.series {
		if s, in := &sel.series[i], of[i]; in != nil && in.since > sel.start && s.state != dropped {
			if since := v.indexSince(s, in.since); s.to-since > 1 {
				in.moved += v.rise(since, s.to).size()
			}
		}
	}
	for i := range sel.series {
		if of[i] != nil {
			v.settle(sel, &sel.series[i], of[i], members[i])
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
func (v *view) join(sums map[uint64]*sum, sel *selection, s *seriesIn) (*sum, *member) {
	var id uint64
	switch {
	case v.grouping.single || v.grouping.without:
		id = s.target.ID
	default:
		id, v.buf = hashOf(s.labels, v.grouping.results, v.buf)
	}
	in := sums[id]
	if in == nil {
		in = &sum{members: make(map[uint64]*member, 1)}
		sums[id] = in
	}
	m := in.members[s.target.ID]
	if m == nil {
		m = &member{target: s.target, interval: s.target.Interval.Milliseconds()}
		in.members[s.target.ID] = m
	}
	if s.state == left {
		m.left = max(m.left, s.target.Ended.UnixMilli())
		return in, m
	}
	m.alive = true
	m.failing = m.failing || !s.target.FailingSince.IsZero()
	for i := s.to - 2; i >= s.from; i-- {
		if t := v.samples[i].t; v.samples[s.to-1].t-t >= minSpan {
			m.second = max(m.second, t)
			break
		}
	}
	switch first := v.samples[s.from].t; {
	case s.isOld(sel) || v.appeared(sel, s):
		m.old = true
	case m.joined == 0 || first < m.joined:
		m.joined = first
	}
	return in, m
}

// isOld reports whether a series has been observed since before the window.
func (s *seriesIn) isOld(sel *selection) bool {
	return s.window > s.from || s.known && s.first < sel.start
}

// appeared reports whether a series is new itself, though its target has been scraped for the whole window.
func (v *view) appeared(sel *selection, s *seriesIn) bool {
	return s.known && s.collected < min(s.first, sel.start) && v.samples[s.from].t >= s.first
}

// measure finds out since when all members have been read twice, and when the last of them came or went before.
func (s *sum) measure(at int64) {
	s.measured = math.MaxInt64
	for _, m := range s.members {
		switch {
		case !m.alive || m.failing:
		case m.second > 0:
			s.measured = min(s.measured, m.second)
		case !m.old && at-m.joined < m.interval:
			s.measured = min(s.measured, m.began()-1)
		}
	}
	if s.measured == math.MaxInt64 {
		s.measured = 0 // none has been
	}
	for _, m := range s.members {
		if m.left <= s.measured {
			s.since = max(s.since, m.left)
		}
		if began := m.began(); !m.old && began <= s.measured {
			s.since = max(s.since, began)
		}
		for _, when := range m.target.Changes {
			if t := when.UnixMilli(); t <= s.measured {
				s.since = max(s.since, t)
			}
		}
	}
}

// began is when a target joined: when it was taken up, a moment before its first sample.
func (m *member) began() int64 {
	for _, when := range slices.Backward(m.target.Changes) {
		if t := when.UnixMilli(); t <= m.joined {
			if m.joined-t < joinSlack {
				return t
			}
			break
		}
	}
	return m.joined
}

// unread reports whether some that were there before a target joined have not been read twice since.
func (s *sum) unread(joined *member) bool {
	began := joined.began()
	for _, m := range s.members {
		before := m.old || m.joined < began-joinSlack
		if before && m.alive && !m.failing && m.second > 0 && m.second < began {
			return true
		}
	}
	return false
}

// settle decides about a series by what it is part of.
func (v *view) settle(sel *selection, s *seriesIn, in *sum, m *member) {
	switch {
	case s.state == left && (m.alive || in.measured == 0 || m.left <= in.measured || v.at-m.left >= m.interval):
		s.state = dropped
		return
	case m.alive && !m.old && v.at-m.joined < m.interval && in.unread(m):
		s.state = waiting
		return
	}
	s.state = counts
	if in.since > sel.start && in.moved >= enoughMoved {
		if since := v.indexSince(s, in.since); s.to > since && v.samples[s.to-1].t-v.samples[since].t >= minSpan {
			s.window = max(s.window, since)
			s.since = in.since
		}
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
