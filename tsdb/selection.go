package tsdb

import (
	"math"

	"github.com/prometheus/prometheus/storage"
)

// selection is a selector of the expression and the series it selected.
type selection struct {
	kind kind
	// function is the one around the selector, "" where there is none.
	function string
	// start and end bound the samples that the selector can use, both inclusive, in milliseconds.
	start, end int64
	// last is the time of the last sample that can be of use: in a subquery that is its last step.
	last int64
	// least is how many samples a series must have to give a result.
	least int
	// instant: the selector takes the last sample of its window, and none if that is a stale marker.
	instant bool
	series  []seriesIn
}

// kind is how a selector is answered.
type kind uint8

const (
	// readStored gives what Prometheus gives: where no sources are known, in subqueries, with offset and @.
	readStored kind = iota
	// readLast gives the last sample of series that count now.
	readLast
	// readChange gives a window up to now, to a function that measures change, of series that count now.
	readChange
	// readPast gives a window up to now, of objects that exist now.
	readPast
)

// FreshIntervals is for how many scrape intervals after its last successful scrape a series counts: one
// failed scrape takes nothing away.
const FreshIntervals = 2

// newSelection reads the hints that the engine gives with each selector.
func (v *view) newSelection(hints *storage.SelectHints) *selection {
	if hints == nil {
		return &selection{start: math.MinInt64, end: math.MaxInt64, last: math.MaxInt64, instant: true, least: 1}
	}
	s := &selection{start: hints.Start, end: hints.End, last: hints.End, least: 1, function: hints.Func, instant: hints.Range == 0 && hints.Step == 0}
	if hints.Step > 0 {
		// Evaluated at multiples of the step: samples after the last multiple are not used.
		s.last -= ((hints.End % hints.Step) + hints.Step) % hints.Step
	}
	if hints.Range > 0 && needsTwo(hints.Func) {
		s.least = 2
	}
	plain := hints.Range == 0 || hints.End-hints.Start == hints.Range-1 // neither anchored nor smoothed
	switch {
	case v.query.Source == nil || hints.Step > 0 || hints.End != v.at || !plain:
	case hints.Range == 0:
		s.kind = readLast
	case s.least == 2:
		s.kind = readChange
	default:
		s.kind = readPast
	}
	return s
}

// needsTwo reports whether a function over a window gives nothing for a single sample.
func needsTwo(function string) bool {
	switch function {
	case "rate", "increase", "delta", "irate", "idelta", "deriv", "predict_linear", "double_exponential_smoothing":
		return true
	}
	return false
}

// extends reports whether the function is about counters, whose line is drawn to the edges of the window.
func (s *selection) extends() bool {
	return s.kind == readChange && (s.function == "rate" || s.function == "increase" || s.function == "irate")
}

// decide finds out which series of a selection count.
func (v *view) decide(sel *selection) {
	for i := range sel.series {
		s := &sel.series[i]
		s.state = v.judge(sel, s)
	}
	v.countOnce(sel)
	if sel.function == "rate" {
		v.together(sel)
	}
}

// judge decides about a series by itself.
func (v *view) judge(sel *selection, s *seriesIn) state {
	current := v.current(s)
	switch {
	case current:
		return counts
	case v.gone(s):
		if sel.function == "rate" && s.known && v.ended(s)-milliseconds(s.target.LastScrape) <= FreshIntervals*s.target.Interval.Milliseconds() {
			return left
		}
		return dropped
	case sel.kind == readPast:
		return counts
	default:
		return dropped
	}
}

// current reports whether the last scrapes have held a series. What an exporter stamps itself may be older.
func (v *view) current(s *seriesIn) bool {
	oldest := v.at - FreshIntervals*s.target.Interval.Milliseconds()
	if !s.known {
		return s.marker == 0 && v.samples[s.to-1].t >= oldest && !v.gone(s)
	}
	failing := milliseconds(s.target.FailingSince)
	switch {
	case !s.target.Ended.IsZero():
		return false
	case s.marker != 0 && (failing == 0 || s.marker < failing):
		return false // a scrape that succeeded did not hold it
	case s.marker != 0 && v.gone(s):
		return false // it fails because there is nothing left to scrape
	default:
		return milliseconds(s.target.LastScrape) >= oldest
	}
}

// gone reports whether what a series is about is no more.
func (v *view) gone(s *seriesIn) bool {
	if s.known && !s.target.Ended.IsZero() {
		return true
	}
	if v.query.Object == nil {
		return false
	}
	_, gone := v.query.Object(s.labels)
	return gone
}

// ended returns when the target of a series that is gone was removed, in milliseconds. It returns now if the pod is
// gone but the target is still scraped.
func (v *view) ended(s *seriesIn) int64 {
	if s.target.Ended.IsZero() {
		return v.at
	}
	return s.target.Ended.UnixMilli()
}

// countOnce drops all but one of the series that are one series of one URL, for each object asked about.
func (v *view) countOnce(sel *selection) {
	type exposed struct{ object, url, series uint64 }
	if v.grouping.without || !sel.hasTwins() {
		return
	}
	first := make(map[exposed]*seriesIn, len(sel.series))
	for i := range sel.series {
		s := &sel.series[i]
		if !s.known || s.state == dropped {
			continue
		}
		id := exposed{object: v.hashOf(s.labels, v.grouping.countedPer), url: s.target.ID, series: s.exposed}
		other := first[id]
		switch {
		case other == nil:
		case s.state < other.state, s.state == other.state && s.target.Rank < other.target.Rank:
			other.state = dropped
		default:
			s.state = dropped
			continue
		}
		first[id] = s
	}
}

// hasTwins reports whether several targets have the same URL.
func (s *selection) hasTwins() bool {
	var last *Target
	targets := map[uint64]*Target{}
	for i := range s.series {
		t := s.series[i].target
		if t == last || !s.series[i].known {
			continue
		}
		last = t
		if twin := targets[t.ID]; twin != nil && twin.Rank != t.Rank {
			return true
		}
		targets[t.ID] = t
	}
	return false
}
