package names

import (
	"bytes"
)

// Findings are what one scrape has found out about the names in its body that the
// Decisions do not say. The zero value cannot be used.
type Findings struct {
	of       *Decisions
	lines    map[string]Outcome  // by the name that lines begin with
	families map[string]struct{} // whose metadata was read

	// The name asked for last, and its outcome.
	last    []byte
	outcome Outcome
}

// Findings returns empty findings of a scrape that goes by the decisions.
func (d *Decisions) Findings() Findings { return Findings{of: d} }

// Line returns what metric relabelling does to the series in lines that begin with a
// name, and notes it. It returns false for names that are too long to be remembered.
func (f *Findings) Line(name []byte) (Outcome, bool) {
	if len(name) == 0 || len(name) > maxText {
		return Outcome{}, false
	}
	if bytes.Equal(name, f.last) {
		return f.outcome, true
	}
	f.last = append(f.last[:0], name...)
	var noted bool
	if f.outcome, noted = f.lines[string(name)]; noted {
		return f.outcome, true
	}
	f.outcome = outcomeOf(string(name), f.of.table.rules)
	if _, known := f.of.lines[string(name)]; !known && len(f.lines) < maxNames {
		if f.lines == nil {
			f.lines = map[string]Outcome{}
		}
		f.lines[string(name)] = f.outcome
	}
	return f.outcome, true
}

// Family notes that there is metadata of a family.
func (f *Findings) Family(name []byte) {
	if d, _ := f.of.Line(name); d.KnownFamily || len(f.families) >= maxNames || len(name) > maxText {
		return
	}
	if f.families == nil {
		f.families = map[string]struct{}{}
	}
	f.families[string(name)] = struct{}{}
}
