package scrape

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/relabel"
)

const (
	// maxNames bounds the names that are remembered per job. Series of others are
	// relabelled on every scrape, and are in no catalog. A kube-apiserver exposes
	// some 1,000.
	maxNames = 20_000
	// maxNameBytes bounds their texts, metadata and label names per job.
	maxNameBytes = 4 << 20
	// maxLearned is the longest name, and the longest help, that is remembered.
	maxLearned = 1 << 10
	// forgetEvery is the least time between looks for what can be forgotten.
	forgetEvery = time.Minute
	// noName is the number of a name that is not remembered.
	noName = 0
)

// names knows the metric names that the targets of a job expose: those that lines
// begin with, and those that series are stored under, which are numbered. It is
// shared by the job's loops.
type names struct {
	rules    []*relabel.Config
	onDemand bool
	version  *atomic.Uint64 // counts the changes of all catalogs

	mu      sync.Mutex
	demand  *demand
	numbers map[string]uint32
	entries []nameEntry // by number; 0 is noName
	free    []uint32    // numbers whose name is forgotten
	lines   map[string]fate
	fams    map[string]struct{}
	bytes   int  // of texts, at most maxNameBytes
	full    bool // there was no room since forget last made some
	forgot  time.Time
	// generation counts how often numbers have become free: what was noted by number
	// before may be about another name.
	generation atomic.Uint64

	// current is what the loops go by; it is replaced, never changed.
	current atomic.Pointer[view]
}

// nameEntry is a name that series are stored under.
type nameEntry struct {
	name   unique.Handle[string]
	meta   unique.Handle[metadata.Metadata]
	labels unique.Handle[string] // names of the labels of the first series, each after a 0
	series int                   // in the last scrapes of all targets
	need   need
}

// size is what it takes of maxNameBytes.
func (e *nameEntry) size() int {
	return len(e.name.Value()) + len(e.meta.Value().Help) + len(e.labels.Value())
}

func newNames(rules []*relabel.Config, onDemand bool, d *demand, version *atomic.Uint64) *names {
	n := &names{
		rules: rules, onDemand: onDemand, version: version, demand: d,
		numbers: map[string]uint32{}, entries: make([]nameEntry, 1),
		lines: map[string]fate{}, fams: map[string]struct{}{},
	}
	n.current.Store(&view{demand: d})
	return n
}

// setDemand tells which of the names that the targets expose have become needed, and
// which have ceased to be.
func (n *names) setDemand(d *demand) (begun, ended []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.demand = d
	for i := range n.entries[1:] {
		e := &n.entries[i+1]
		if !e.used() {
			continue
		}
		before := e.need
		e.need = d.of(e.name.Value())
		switch {
		case e.series == 0 || (before == unread) == (e.need == unread):
		case before == unread:
			begun = append(begun, e.name.Value())
		default:
			ended = append(ended, e.name.Value())
		}
	}
	n.publish()
	return begun, ended
}

func (e *nameEntry) used() bool { return e.name != unique.Handle[string]{} }

// read reports whether anybody reads any of the names.
func (n *names) read() bool {
	if !n.onDemand {
		return true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.entries, func(e nameEntry) bool { return e.used() && e.need != unread })
}

// number gives the number of the name that a series is stored under, noName if
// there are too many.
func (n *names) number(lset labels.Labels, meta metadata.Metadata) uint32 {
	name := lset.Get(model.MetricNameLabel)
	n.mu.Lock()
	defer n.mu.Unlock()
	if i, ok := n.numbers[name]; ok {
		return i
	}
	if n.full || len(name) > maxLearned {
		return noName
	}
	e := nameEntry{name: unique.Make(name), meta: unique.Make(shortened(meta)), labels: unique.Make(labelNames(lset))}
	if len(n.entries)-len(n.free) > maxNames || n.bytes+e.size() > maxNameBytes {
		n.full = true // learn will see to it
		return noName
	}
	e.need = n.demand.of(name)
	n.bytes += e.size()
	var i uint32
	if last := len(n.free) - 1; last >= 0 {
		i, n.free = n.free[last], n.free[:last]
		n.entries[i] = e
	} else {
		i = uint32(len(n.entries)) //nolint:gosec // Not above maxNames.
		n.entries = append(n.entries, e)
	}
	n.numbers[e.name.Value()] = i
	return i
}

// shortened does not hold on to a body, nor to much of it.
func shortened(m metadata.Metadata) metadata.Metadata {
	return metadata.Metadata{Type: m.Type, Unit: shorten(m.Unit, maxLearned), Help: strings.Clone(shorten(m.Help, maxLearned))}
}

func labelNames(lset labels.Labels) string {
	var b strings.Builder
	lset.Range(func(l labels.Label) {
		if l.Name != model.MetricNameLabel {
			b.WriteByte(0)
			b.WriteString(l.Name)
		}
	})
	if b.Len() > 4*maxLearned {
		return "" // None is better than half of them.
	}
	return b.String()
}

// lesson is what a scrape has learned about the names in its body.
type lesson struct {
	lines    map[string]fate     // by the name that lines begin with
	families map[string]struct{} // that metadata was read of
}

// line notes the fate of the lines that begin with a name.
func (l *lesson) line(name string, f fate) {
	if l.lines == nil {
		l.lines = map[string]fate{}
	}
	if len(l.lines) < maxNames {
		l.lines[name] = f
	}
}

// family notes that there is metadata of a family.
func (l *lesson) family(name []byte) {
	if l.families == nil {
		l.families = map[string]struct{}{}
	}
	if len(l.families) < maxNames && len(name) <= maxLearned {
		l.families[string(name)] = struct{}{}
	}
}

// learn takes a lesson into account, and the change in the number of series by
// number of name. It returns what the change was to, unless numbers have changed
// hands meanwhile: generation is that of the view that now was counted by.
func (n *names) learn(l lesson, before, now []uint32, generation uint64) []uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	changed := false
	if generation == n.generation.Load() {
		changed = n.count(before, now)
	} else {
		now = before // Names with series have kept their numbers.
	}
	forgotten := false
	if now := time.Now(); n.full && now.Sub(n.forgot) >= forgetEvery {
		forgotten = n.forget()
		n.full, n.forgot = false, now
	}
	for name, f := range l.lines {
		if n.room(len(n.lines), len(name)) {
			n.lines[unique.Make(name).Value()] = f // mostly the name in entries
			n.bytes += len(name)
		}
	}
	for name := range l.families {
		if n.room(len(n.fams), len(name)) {
			n.fams[unique.Make(name).Value()] = struct{}{}
			n.bytes += len(name)
		}
	}
	if changed || forgotten || len(l.lines) > 0 || len(l.families) > 0 {
		n.publish()
	}
	if changed || forgotten {
		n.version.Add(1)
	}
	return now
}

// room tells whether there is room for one more name of so many bytes.
func (n *names) room(names, size int) bool {
	if names >= 2*maxNames || n.bytes+size > maxNameBytes {
		n.full = true
		return false
	}
	return true
}

// count tells whether a name has come or gone.
func (n *names) count(before, now []uint32) (changed bool) {
	at := func(counts []uint32, i int) int {
		if i < len(counts) {
			return int(counts[i])
		}
		return 0
	}
	for i := 1; i < max(len(before), len(now)); i++ {
		d := at(now, i) - at(before, i)
		if d == 0 {
			continue
		}
		e := &n.entries[i]
		changed = changed || (e.series == 0) != (e.series+d == 0)
		e.series += d
	}
	return changed
}

// forget makes room by forgetting the names without series, and what lines were
// about that are gone with them. Their numbers will be given out again.
func (n *names) forget() (freed bool) {
	n.bytes = 0
	for i := range n.entries[1:] {
		e := &n.entries[i+1]
		switch {
		case !e.used():
		case e.series > 0:
			n.bytes += e.size()
		default:
			delete(n.numbers, e.name.Value())
			*e = nameEntry{}
			n.free = append(n.free, uint32(i+1)) //nolint:gosec // Not above maxNames.
			freed = true
		}
	}
	for line, f := range n.lines {
		if _, ok := n.numbers[f.name]; ok {
			n.bytes += len(line)
		} else {
			delete(n.lines, line)
		}
	}
	clear(n.fams)
	if freed {
		n.generation.Add(1)
	}
	return freed
}
