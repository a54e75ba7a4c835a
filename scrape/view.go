package scrape

import (
	"strings"
)

// view is the decision about each line, by the name it begins with, or that its
// metadata is about.
type view struct {
	demand *demand
	lines  map[string]verdict
	needs  []need // by number of the name; notKnown where that is so
	// families are those that series which are wanted can belong to.
	families map[string]bool
	// generation is that of the numbers.
	generation uint64
}

type verdict struct {
	number uint32 // of the name that the series are stored under
	flags  verdictFlags
}

type verdictFlags uint8

const (
	skipSeries  verdictFlags = 1 << iota // nobody needs them parsed
	dropped                              // metric relabelling drops them all
	knownFamily                          // metadata has been read
	keepFamily                           // metadata is of series that are wanted
)

// publish makes a new view. n.mu is held.
func (n *names) publish() {
	v := &view{demand: n.demand, needs: make([]need, len(n.entries)), families: map[string]bool{}, generation: n.generation.Load()}
	for i := range n.entries {
		if v.needs[i] = n.entries[i].need; !n.entries[i].used() {
			v.needs[i] = notKnown
		}
	}
	if n.onDemand {
		v.lines = make(map[string]verdict, len(n.lines)+len(n.fams))
		for fam := range n.fams {
			v.lines[fam] = verdict{flags: knownFamily}
		}
		for line, f := range n.lines {
			n.judge(v, line, f)
		}
		for i := range n.entries {
			if e := &n.entries[i]; e.used() && e.need != unread {
				v.addFamilies(e.name.Value())
			}
		}
		for fam := range v.families {
			if d, ok := v.lines[fam]; ok {
				d.flags |= keepFamily
				v.lines[fam] = d
			}
		}
	}
	n.current.Store(v)
}

// judge puts the verdict on the lines that begin with a name into the view.
func (n *names) judge(v *view, line string, f fate) {
	if f.depends {
		return
	}
	d := v.lines[line]
	switch i, ok := n.numbers[f.name]; {
	case f.dropped:
		d.flags |= skipSeries | dropped
	case !ok:
		return
	case n.entries[i].need == unread:
		d.number = i
		d.flags |= skipSeries
	default:
		d.number = i
	}
	v.lines[line] = d
}

// metadataOfUse tells the families whose metadata is to be kept.
func (n *names) metadataOfUse() func(fam string) bool {
	if !n.onDemand {
		return func(string) bool { return true }
	}
	v := n.current.Load()
	return func(fam string) bool { return v.families[fam] }
}

// addFamilies adds the families that a series can belong to.
func (v *view) addFamilies(series string) {
	v.families[series] = true
	for _, suffix := range []string{"_total", "_bucket", "_sum", "_count", "_gsum", "_gcount", "_info", "_created"} {
		if fam, ok := strings.CutSuffix(series, suffix); ok {
			v.families[fam] = true
		}
	}
}
