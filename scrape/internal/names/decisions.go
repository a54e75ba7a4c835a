package names

import (
	"strings"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/labels"
)

// Decisions say what to do with each line of a body, by the name that the line
// begins with or that its metadata is about. They do not change.
type Decisions struct {
	Demand *Demand
	// Generation changes when numbers have been given to other names. What was noted
	// by number under one generation means nothing under another.
	Generation uint64

	table *Table
	lines map[string]Decision
	needs []Need // by number of the name; notKnown where no name has the number
	// families are those that wanted series can belong to.
	families map[string]bool
}

// Decision is what to do with the lines that begin with a name, and with the
// metadata of the family of that name. Its zero value is: parse them.
type Decision struct {
	Number uint32 // of the name that the series are stored under
	// Skip: nobody needs the series parsed. Dropped: because metric relabelling drops
	// them all.
	Skip, Dropped bool
	// KnownFamily: the metadata has been read. KeepFamily: it is that of wanted series.
	KnownFamily, KeepFamily bool
}

// Line returns the decision on the lines that begin with a name; false if there is none.
func (d *Decisions) Line(name []byte) (Decision, bool) {
	decision, ok := d.lines[string(name)]
	return decision, ok
}

// Need returns how much the series of the name with a number are needed; false if the
// number does not say, which is when no name has it or numbers have changed.
func (d *Decisions) Need(number uint32) (Need, bool) {
	if number == NoName || int(number) >= len(d.needs) || d.Generation != d.table.generation.Load() {
		return notKnown, false
	}
	n := d.needs[number]
	return n, n != notKnown
}

// NeedOf returns how much a series is needed. number is that of its name.
func (d *Decisions) NeedOf(number uint32, lset labels.Labels) Need {
	if n, known := d.Need(number); known {
		return n
	}
	return d.Demand.Of(lset.Get(model.MetricNameLabel))
}

// KeepFamily reports whether the metadata of a family is to be kept.
func (d *Decisions) KeepFamily(name string) bool {
	return !d.table.onDemand || d.families[name]
}

// Numbers returns how many numbers there are.
func (d *Decisions) Numbers() int { return len(d.needs) }

// LineName returns the name that a line, or the text of a series, begins with.
func LineName(line []byte) []byte {
	for i, c := range line {
		if EndsName(c) {
			return line[:i]
		}
	}
	return line
}

// EndsName reports whether a byte ends the name that a line begins with.
func EndsName(c byte) bool { return c == '{' || c == ' ' || c == '\t' }

// publish replaces the current Decisions. t.mu is held.
func (t *Table) publish() {
	d := &Decisions{
		Demand: t.demand, Generation: t.generation.Load(),
		table: t, needs: make([]Need, len(t.entries)), families: map[string]bool{},
	}
	for i := range t.entries {
		e := &t.entries[i]
		if d.needs[i] = e.Need; !e.used() {
			d.needs[i] = notKnown
		} else if t.onDemand && e.Need != Unread {
			d.addFamilies(e.Name())
		}
	}
	if t.onDemand {
		d.lines = make(map[string]Decision, len(t.lines)+len(t.families))
		for family := range t.families {
			d.lines[family] = Decision{KnownFamily: true}
		}
		for line, o := range t.lines {
			t.decide(d, line, o)
		}
		for family := range d.families {
			if decision, ok := d.lines[family]; ok {
				decision.KeepFamily = true
				d.lines[family] = decision
			}
		}
	}
	t.current.Store(d)
}

// decide adds the decision on the lines that begin with a name. t.mu is held.
func (t *Table) decide(d *Decisions, line string, o Outcome) {
	if o.Depends {
		return
	}
	decision := d.lines[line]
	switch i, ok := t.numbers[o.Name]; {
	case o.Dropped:
		decision.Skip, decision.Dropped = true, true
	case !ok:
		return
	default:
		decision.Number, decision.Skip = i, t.entries[i].Need == Unread
	}
	decision.Skip = decision.Skip && (t.passed == nil || !t.passed(line))
	d.lines[line] = decision
}

// addFamilies adds the families that the series of a name can belong to.
func (d *Decisions) addFamilies(name string) {
	d.families[name] = true
	for _, suffix := range []string{"_total", "_bucket", "_sum", "_count", "_gsum", "_gcount", "_info", "_created"} {
		if family, ok := strings.CutSuffix(name, suffix); ok {
			d.families[family] = true
		}
	}
}
