package scrape

import (
	"bytes"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/metadata"
)

// lineName is the name that the text of a series begins with.
type lineName struct {
	name []byte
	fate fate
}

// dropped tells whether a series is known to be dropped, and counts it.
func (a *appending) dropped(key textKey) bool {
	d, ok := a.cache.drop(key)
	if !ok {
		return false
	}
	if !d.unread {
		return true
	}
	if n, known := a.knownNeed(d.number); !known || n != unread {
		a.cache.undrop(key)
		return false
	}
	a.count(d.number, 1)
	a.counts.kept++
	return true
}

// need is how much the series in a.lset, whose name has the number, is needed.
func (a *appending) need(number uint32) need {
	if n, known := a.knownNeed(number); known {
		return n
	}
	return a.view.demand.of(a.lset.Get(model.MetricNameLabel))
}

// knownNeed is how much the series are needed whose name has the number; false where the number does not say.
func (a *appending) knownNeed(number uint32) (need, bool) {
	if number == noName || int(number) >= len(a.view.needs) || a.view.generation != a.names.generation.Load() {
		return notKnown, false
	}
	n := a.view.needs[number]
	return n, n != notKnown
}

// newSeries puts the labels that a series not in the cache is to be stored under
// into a.lset and the number of its name into number, and tells whether it is to be
// stored. It learns what there is to learn from it.
func (a *appending) newSeries(key textKey, text []byte, number *uint32) (store bool, err error) {
	kept, err := a.relabelled()
	if err != nil {
		return false, err
	}
	settled := a.learnLine(text)
	if !kept {
		if !settled || !a.line.fate.dropped {
			a.cache.addDropped(key, noName, false)
		}
		return false, nil
	}
	*number = a.names.number(a.lset, a.familyMetadata())
	a.count(*number, 1)
	n := a.need(*number)
	if a.onDemand && n == unread {
		a.counts.kept++
		a.counts.seriesAdded++
		if !settled && *number != noName {
			a.cache.addDropped(key, *number, true)
		}
		return false, nil
	}
	if a.manager.room(n) {
		return true, nil
	}
	a.counts.kept++
	a.counts.refused[n]++
	return false, nil
}

// learnLine learns the name that the text of a series begins with, and tells
// whether the filter will skip the next line of that name if it is not wanted.
func (a *appending) learnLine(text []byte) (settled bool) {
	if a.skipped == nil {
		return false // Lines are not what the body is made of.
	}
	name := text[:nameLength(text)]
	if len(name) == 0 || len(name) > maxLearned {
		return false
	}
	if !bytes.Equal(name, a.line.name) {
		a.line = lineName{name: append(a.line.name[:0], name...)}
		if f, ok := a.lesson.lines[string(name)]; ok {
			a.line.fate = f
		} else {
			a.line.fate = fateOf(string(name), a.metricRelabel)
			if _, known := a.view.lines[string(name)]; !known {
				a.lesson.line(string(name), a.line.fate)
			}
		}
	}
	return !a.line.fate.depends
}

// nameLength is the length of the name that a line or the text of a series begins
// with.
func nameLength(text []byte) int {
	for i, c := range text {
		if endsName(c) {
			return i
		}
	}
	return len(text)
}

// learnFamily learns that there is metadata of a family.
func (a *appending) learnFamily(name []byte) {
	a.member = member{} // what it is a member of may have changed
	if a.skipped != nil && a.view.lines[string(name)].flags&knownFamily == 0 {
		a.lesson.family(name)
	}
}

// countRefused takes the place of what it said after the scrape before.
func (l *loop) countRefused(refused [needs]int) {
	for n, count := range refused {
		l.manager.refused[n].Add(int64(count - l.refused[n]))
	}
	l.refused = refused
}

// familyMetadata is the metadata of the series in a.lset.
func (a *appending) familyMetadata() metadata.Metadata {
	if a.fam == nil || !inFamily(a.lset.Get(model.MetricNameLabel), a.fam.name.Value(), a.fam.typ) {
		return metadata.Metadata{Type: model.MetricTypeUnknown}
	}
	return a.fam.metadata()
}

// renumber makes the cache go by the numbers that names have now, if any have
// changed hands.
func (l *loop) renumber(v *view) {
	if l.numbers == v.generation {
		return
	}
	l.numbers = v.generation
	for i := range l.cache.entries {
		if e := &l.cache.entries[i]; e.ref != 0 {
			e.number = l.names.number(e.lset, metadata.Metadata{Type: model.MetricTypeUnknown})
		}
	}
	l.cache.dropped, l.cache.droppedSeen = nil, 0
}
