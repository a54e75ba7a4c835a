package tsdb

import "github.com/prometheus/prometheus/model/histogram"

// window decides which samples of a series the engine reads, and notes how much of the window they have
// observed.
func (v *view) window(sel *selection, s *seriesIn) {
	if s.state != counts {
		return
	}
	s.low, s.high = s.window, s.to
	if sel.extends() && (sel.function != "irate" || s.to-s.window < 2) {
		v.extend(sel, s)
	} else if s.to > s.window && !sel.instant {
		s.observed = v.observed(sel, s)
	}
	n := s.high - s.low
	if sel.kind == readStored {
		n = v.samplesIn(sel, s)
	}
	s.used = n >= sel.least
	if !s.used && sel.kind == readChange && n > 0 && s.target.FailingSince.IsZero() && !v.appeared(sel, s) {
		s.state = waiting
	}
}

// samplesIn is how many samples the engine will find in what it reads as it is stored.
func (v *view) samplesIn(sel *selection, s *seriesIn) (n int) {
	if sel.instant && s.marker != 0 {
		return 0
	}
	for i := s.low; i < s.high; i++ {
		if p := &v.samples[i]; p.t <= sel.last && !p.stale() {
			n++
		}
	}
	return n
}

// observed is how much of its window a series has been observed for, in milliseconds.
func (v *view) observed(sel *selection, s *seriesIn) int64 {
	window := sel.end - sel.start + 1
	first, last := v.samples[s.window].t, v.samples[s.to-1].t
	switch {
	case s.isOld(sel), s.beginsWith(sel, first):
		return window
	case sel.kind == readStored:
		return min(window, sel.end-first+1)
	default:
		return last - first
	}
}

// beginsWith reports whether the first sample of a series is so close to the beginning of the window that the series
// has been observed for all of it.
func (s *seriesIn) beginsWith(sel *selection, first int64) bool {
	return first-sel.start <= s.target.Interval.Milliseconds()*11/10
}

// near is how close to an edge of the window a sample must be for promql to extend a rate to the edge: 1.1
// times the average distance between samples.
func (v *view) near(from, to int) int64 {
	return (v.samples[to-1].t - v.samples[from].t) * 11 / 10 / int64(to-1-from)
}

// extend lets the samples of a counter reach the edges of the window. Where promql would not extrapolate to an edge,
// because no sample is near, it adds a sample there, extrapolated linearly from the others.
func (v *view) extend(sel *selection, s *seriesIn) {
	// Where the window holds too few, those before it count as well.
	first := max(s.from, min(s.window, s.to-2))
	if s.to-first < 2 {
		return
	}
	l, ok := v.lineThrough(first, s.to)
	if !ok {
		return // promql will say why
	}
	if l.end.t-l.start.t < minSpan {
		s.low = s.to - 1 // one reading, not two
		return
	}
	s.observed = l.end.t - l.start.t
	if v.at-v.samples[s.from].t < s.target.Interval.Milliseconds() {
		s.brief, s.moved = true, l.rise.size()
	}
	near := v.near(first, s.to)
	switch {
	case first < s.window:
		v.putFirst(s, l.before(sel.start))
	case s.since != 0:
		if v.appeared(sel, s) {
			l.span = float64(l.end.t - s.since) // it had not moved before its first sample
		}
		v.putFirst(s, l.before(sel.start))
	default:
		v.extendBack(sel, s, l, near)
	}
	if l.end.t < sel.end && (sel.end-l.end.t >= near || s.low != s.window || s.since != 0) {
		v.samples[s.to] = l.after(sel.end)
		s.high++
	}
}

// extendBack extends to the beginning of the window a series that is read over all of it.
func (v *view) extendBack(sel *selection, s *seriesIn, l line, near int64) {
	window := sel.end - sel.start + 1
	beginning := v.beginning(sel, s, l.start.t, near)
	switch {
	case beginning == 0:
		s.observed = window
	case s.window > s.from:
		// Between the last sample before the window and the first inside.
		s.observed = window
		if bridge, ok := v.lineThrough(s.window-1, s.window+1); ok {
			v.putFirst(s, bridge.within(beginning))
		}
	default:
		if s.beginsWith(sel, l.start.t) {
			s.observed = window
		}
		v.putFirst(s, l.before(beginning))
	}
}

// putFirst puts a sample before those that the engine reads.
func (v *view) putFirst(s *seriesIn, p point) {
	s.low--
	v.samples[s.low] = p
}

// line is the one on which a counter rises from one sample to another.
type line struct {
	start, end point
	rise       rise    // resets minded
	span       float64 // milliseconds in which it has risen, up to end
}

// lineThrough is the line of the samples [from, to); false where they are not of one kind.
func (v *view) lineThrough(from, to int) (line, bool) {
	start, end := v.samples[from], v.samples[to-1]
	l := line{start: start, end: end, rise: v.rise(from, to), span: float64(end.t - start.t)}
	return l, l.rise.ok
}

// before, within and after are samples on the line at a time before its start, between start and end, and after its end.
func (l line) before(t int64) point { return l.rise.times(1-float64(l.end.t-t)/l.span, l.start, t) }
func (l line) within(t int64) point { return l.rise.times(-float64(l.end.t-t)/l.span, l.end, t) }
func (l line) after(t int64) point  { return l.rise.times(float64(t-l.end.t)/l.span, l.end, t) }

// beginning is the time to which the samples of a series are to reach back, 0 where they do as they are.
func (v *view) beginning(sel *selection, s *seriesIn, first, near int64) int64 {
	young := !s.isOld(sel)
	switch {
	case young && v.appeared(sel, s), !young && first-sel.start+1 < near, first == sel.start:
		return 0
	}
	if sel.function == "increase" && young && v.query.Object != nil {
		// What is younger than the window has increased only since it began.
		since, _ := v.query.Object(s.labels)
		if began := milliseconds(since); began > sel.start {
			if first-began < near {
				return 0
			}
			return began
		}
	}
	return sel.start
}

// rise is by how much a counter has risen over some samples, resets minded.
type rise struct {
	v  float64
	h  *histogram.FloatHistogram
	ok bool // the samples are of one kind
}

// rise is that of the samples [from, to).
func (v *view) rise(from, to int) rise {
	samples := v.samples[from:to]
	first, last := samples[0], samples[len(samples)-1]
	if first.h != nil {
		return histogramRise(samples)
	}
	sum := last.v - first.v
	for i, p := range samples[1:] {
		if p.h != nil {
			return rise{}
		}
		if before := samples[i].v; p.v < before {
			sum += before
		}
	}
	return rise{v: sum, ok: true}
}

func histogramRise(samples []point) rise {
	for _, p := range samples {
		if p.h == nil {
			return rise{}
		}
	}
	sum := samples[len(samples)-1].h.Copy()
	if _, _, _, err := sum.Sub(samples[0].h); err != nil {
		return rise{}
	}
	for i, p := range samples[1:] {
		if before := samples[i].h; p.h.DetectReset(before) {
			if _, _, _, err := sum.Add(before); err != nil {
				return rise{}
			}
		}
	}
	return rise{h: sum, ok: true}
}

// size is by how many a counter, or the count of a histogram, has risen.
func (r rise) size() float64 {
	if r.h != nil {
		return r.h.Count
	}
	return r.v
}

// times is a sample that differs from another by a part of the rise, at a time.
func (r rise) times(part float64, from point, t int64) point {
	if r.h == nil {
		return point{t: t, v: from.v + part*r.v}
	}
	h := from.h.Copy()
	// Samples of one series: the rise is in their buckets already.
	_, _, _, _ = h.Add(r.h.Copy().Mul(part)) //nolint:dogsled // Only the sum is of interest.
	h.CounterResetHint = histogram.UnknownCounterReset
	from.h.CounterResetHint = histogram.UnknownCounterReset // it may begin a chunk, and is not the first any more
	return point{t: t, h: h}
}
