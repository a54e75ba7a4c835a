package names

import (
	"strings"
	"sync/atomic"

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
	lines map[string]uint32 // place in decided
	// decided are the decisions with the names that lines begin with. The first is none.
	decided []decidedLine
	// after are guesses, by place: the place of the name that comes next in bodies.
	after []atomic.Uint32
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

type decidedLine struct {
	name string
	Decision
}

// Line returns the decision on the lines that begin with a name; false if there is none.
func (d *Decisions) Line(name []byte) (Decision, bool) {
	place, ok := d.lines[string(name)]
	if !ok {
		return Decision{}, false
	}
	return d.decided[place].Decision, true
}

// Cursor finds the decisions on the lines of a body. Most bodies have the same names in the
// same order as the bodies before, so it first tries the name that came next there.
type Cursor struct {
	of    *Decisions
	place uint32 // of the name found last
}

// Cursor returns a Cursor at the beginning of a body.
func (d *Decisions) Cursor() Cursor { return Cursor{of: d} }

// Find returns the decision on a line, or on metadata from the name of its family on, and
// the name that it begins with; false if there is none.
func (c *Cursor) Find(line []byte) (name string, _ Decision, ok bool) {
	d := c.of
	next := d.after[c.place].Load()
	if guess := &d.decided[next]; next == 0 || !beginsWith(line, guess.name) {
		if next, ok = d.lines[string(LineName(line))]; !ok {
			return "", Decision{}, false
		}
		d.after[c.place].Store(next)
	}
	c.place = next
	found := &d.decided[next]
	return found.name, found.Decision, true
}

// beginsWith reports whether a name is the one that a line begins with.
func beginsWith(line []byte, name string) bool {
	n := len(name)
	return n < len(line) && EndsName(line[n]) && string(line[:n]) == name
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
		d.lines = make(map[string]uint32, len(t.lines)+len(t.families))
		d.decided = make([]decidedLine, 1, 1+len(t.lines)+len(t.families))
		for family := range t.families {
			d.add(family).KnownFamily = true
		}
		for line, o := range t.lines {
			t.decide(d, line, o)
		}
		for family := range d.families {
			if place, ok := d.lines[family]; ok {
				d.decided[place].KeepFamily = true
			}
		}
		d.after = make([]atomic.Uint32, len(d.decided))
	}
	t.current.Store(d)
}

// add returns the decision on the lines that begin with a name, which it adds if there is none.
func (d *Decisions) add(name string) *Decision {
	place, ok := d.lines[name]
	if !ok {
		place = uint32(len(d.decided)) //nolint:gosec // Not above the limits on names.
		d.lines[name] = place
		d.decided = append(d.decided, decidedLine{name: name})
	}
	return &d.decided[place].Decision
}

// decide adds the decision on the lines that begin with a name. t.mu is held.
func (t *Table) decide(d *Decisions, line string, o Outcome) {
	if o.Depends {
		return
	}
	i, ok := t.numbers[o.Name]
	if !ok && !o.Dropped {
		return
	}
	decision := d.add(line)
	if o.Dropped {
		decision.Skip, decision.Dropped = true, true
	} else {
		decision.Number, decision.Skip = i, t.entries[i].Need == Unread
	}
	decision.Skip = decision.Skip && (t.passed == nil || !t.passed(line))
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
