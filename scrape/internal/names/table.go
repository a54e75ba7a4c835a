package names

import (
	"context"
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

	"github.com/promlet/promlet/scrape/internal/budget"
	"github.com/promlet/promlet/scrape/internal/reason"
)

const (
	// maxNames bounds the names that a table remembers. Series of other names are
	// relabelled on every scrape and not listed. A kube-apiserver exposes some 1,000.
	maxNames = 20_000
	// maxBytes bounds their texts, metadata and label names.
	maxBytes = 4 << 20
	// nameCost is what a name costs beside its texts: here, in the Decisions, and in what
	// the caller makes of it.
	nameCost = 1 << 10
	// lineCost is that of a name that lines begin with, or of a family.
	lineCost = 200
	// maxText is the longest name, and the longest help, that is remembered.
	maxText = 1 << 10
	// forgetEvery is the least time between looks for names to forget.
	forgetEvery = time.Minute
	// checkEvery is the number of names between two looks at a context.
	checkEvery = 256
	// NoName is the number of names that are not remembered.
	NoName = 0
)

// Table holds the metric names that the targets of a job expose: those that lines
// begin with, and those that series are stored under, which have numbers.
type Table struct {
	rules    []*relabel.Config
	onDemand bool
	changes  *atomic.Uint64
	loan     *budget.Loan
	passed   func(line string) bool // see Pass; nil: no line is

	mu       sync.Mutex
	demand   *Demand
	numbers  map[string]uint32
	entries  []Entry  // by number; 0 is NoName
	free     []uint32 // numbers whose name is forgotten
	lines    map[string]Outcome
	families map[string]struct{}
	bytes    int  // of texts, at most maxBytes
	full     bool // something found no room since forget last made some
	forgot   time.Time

	// generation counts how often numbers have become free.
	generation atomic.Uint64
	current    atomic.Pointer[Decisions]
}

// Entry is a name that series are stored under.
type Entry struct {
	Series int // in the last scrapes of all targets
	Need   Need

	name   unique.Handle[string]
	meta   unique.Handle[metadata.Metadata]
	labels unique.Handle[string] // names of the labels of the first series, each after a 0
}

// Name returns the name.
func (e *Entry) Name() string { return e.name.Value() }

// Metadata returns that of the first series met.
func (e *Entry) Metadata() metadata.Metadata { return e.meta.Value() }

// LabelNames returns those of the first series met, sorted, without the name.
func (e *Entry) LabelNames() []string {
	if all := e.labels.Value(); all != "" {
		return strings.Split(all[1:], "\x00")
	}
	return nil
}

func (e *Entry) used() bool { return e.name != unique.Handle[string]{} }

// size is how much of maxBytes the entry takes.
func (e *Entry) size() int {
	return len(e.name.Value()) + len(e.meta.Value().Help) + len(e.labels.Value())
}

// NewTable makes an empty table of a job with metric relabelling rules. Without
// onDemand all series are stored and no line is skipped. changes is counted up
// whenever a name comes or goes. What the table holds is charged to the loan, nil for
// none, until Close: what finds no room there is not remembered.
func NewTable(rules []*relabel.Config, onDemand bool, d *Demand, changes *atomic.Uint64, loan *budget.Loan) *Table {
	t := &Table{
		rules: rules, onDemand: onDemand, changes: changes, loan: loan, demand: d,
		numbers: map[string]uint32{}, entries: make([]Entry, 1),
		lines: map[string]Outcome{}, families: map[string]struct{}{},
	}
	t.publish()
	return t
}

// Pass makes the decisions keep each line that begins with a name for which passed returns true.
// It is called before the table is used. passed must always return the same for a name.
func (t *Table) Pass(passed func(line string) bool) { t.passed = passed }

// Close gives back what the table was charged for. It must not be used any more.
func (t *Table) Close() { t.loan.End() }

// Decisions returns the current decisions.
func (t *Table) Decisions() *Decisions { return t.current.Load() }

// SetDemand replaces the demand. It returns which of the names that targets expose
// somebody reads from now on, and which nobody reads any more. If ctx ends first it returns
// its error, and the demand before stays.
func (t *Table) SetDemand(ctx context.Context, d *Demand) (begun, ended []string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	needs := make([]Need, len(t.entries))
	for i := range t.entries {
		if i%checkEvery == 0 && ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if e := &t.entries[i]; e.used() {
			needs[i] = d.Of(e.Name())
		}
	}
	t.demand = d
	for i := range t.entries {
		e := &t.entries[i]
		if !e.used() {
			continue
		}
		before := e.Need
		e.Need = needs[i]
		switch {
		case e.Series == 0 || (before == Unread) == (e.Need == Unread):
		case before == Unread:
			begun = append(begun, e.Name())
		default:
			ended = append(ended, e.Name())
		}
	}
	t.publish()
	return begun, ended, nil
}

// Read reports whether anybody reads any of the names.
func (t *Table) Read() bool {
	if !t.onDemand {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.entries, func(e Entry) bool { return e.used() && e.Need != Unread })
}

// Exposed calls f for each name that has series. f must not call the table.
func (t *Table) Exposed(f func(*Entry)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.entries {
		if e := &t.entries[i]; e.used() && e.Series != 0 {
			f(e)
		}
	}
}

// Exposes reports whether a name has series.
func (t *Table) Exposes(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	number, known := t.numbers[name]
	return known && t.entries[number].Series != 0
}

// Number returns the number of the name that a series is stored under. It gives the
// name a number if it has none, or returns NoName if there is no room.
func (t *Table) Number(lset labels.Labels, meta metadata.Metadata) uint32 {
	name := lset.Get(model.MetricNameLabel)
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, ok := t.numbers[name]; ok {
		return i
	}
	if t.full || len(name) > maxText {
		return NoName
	}
	e := Entry{name: unique.Make(name), meta: unique.Make(shortened(meta)), labels: unique.Make(labelNames(lset))}
	if len(t.entries)-len(t.free) > maxNames || t.bytes+e.size() > maxBytes || t.loan.Try(int64(e.size()+nameCost)) != nil {
		t.full = true // Learn makes room.
		return NoName
	}
	e.Need = t.demand.Of(name)
	t.bytes += e.size()
	var i uint32
	if last := len(t.free) - 1; last >= 0 {
		i, t.free = t.free[last], t.free[:last]
		t.entries[i] = e
	} else {
		i = uint32(len(t.entries)) //nolint:gosec // Not above maxNames.
		t.entries = append(t.entries, e)
	}
	t.numbers[e.Name()] = i
	return i
}

// shortened returns metadata that does not keep a body in memory.
func shortened(m metadata.Metadata) metadata.Metadata {
	return metadata.Metadata{Type: m.Type, Unit: reason.Shorten(m.Unit, maxText), Help: strings.Clone(reason.Shorten(m.Help, maxText))}
}

func labelNames(lset labels.Labels) string {
	var b strings.Builder
	lset.Range(func(l labels.Label) {
		if l.Name != model.MetricNameLabel {
			b.WriteByte(0)
			b.WriteString(l.Name)
		}
	})
	if b.Len() > 4*maxText {
		return "" // A part of them would mislead.
	}
	return b.String()
}

// Learn merges what a scrape found and updates the series counts: before and now are
// how many series of each name the target's last scrape and this one held, by
// number. It returns the counts in force for the target: now; or before, if numbers
// have changed since the scrape began, or if there is no room for now.
func (t *Table) Learn(f Findings, before, now []uint32) []uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	changed := false
	if f.of.Generation == t.generation.Load() && t.hold(before, now) {
		changed = t.count(before, now)
	} else {
		now = before // Names with series have kept their numbers.
	}
	forgotten := false
	if now := time.Now(); t.full && now.Sub(t.forgot) >= forgetEvery {
		forgotten = t.forget()
		t.full, t.forgot = false, now
	}
	added := false
	for name, o := range f.lines {
		if t.room(len(t.lines), len(name)) {
			t.lines[unique.Make(name).Value()] = o // Mostly a name in entries.
			added = true
		}
	}
	for name := range f.families {
		if t.room(len(t.families), len(name)) {
			t.families[unique.Make(name).Value()] = struct{}{}
			added = true
		}
	}
	if changed || forgotten || added {
		t.publish()
	}
	if changed || forgotten {
		t.changes.Add(1)
	}
	return now
}

// Remove takes the series of a target out of the counts: counted is what Learn
// returned last.
func (t *Table) Remove(counted []uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hold(counted, nil)
	if t.count(counted, nil) {
		t.changes.Add(1)
	}
}

// room makes room for another name of so many bytes beside n names, if there is any.
func (t *Table) room(n, size int) bool {
	if n >= 2*maxNames || t.bytes+size > maxBytes || t.loan.Try(int64(size+lineCost)) != nil {
		t.full = true
		return false
	}
	t.bytes += size
	return true
}

// hold charges a target's counts. It reports whether there is room for them.
func (t *Table) hold(before, now []uint32) bool {
	const size = 4
	more := size * int64(len(now)-len(before))
	if more <= 0 {
		t.loan.Return(-more)
		return true
	}
	return t.loan.Try(more) == nil
}

// count replaces one target's counts. It reports whether a name has come or gone.
func (t *Table) count(before, now []uint32) (changed bool) {
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
		e := &t.entries[i]
		changed = changed || (e.Series == 0) != (e.Series+d == 0)
		e.Series += d
	}
	return changed
}

// forget makes room: it forgets the names without series, the lines that begin with
// names of theirs, and the families. The freed numbers are given to other names later.
func (t *Table) forget() (freed bool) {
	before := t.charged()
	defer func() { t.loan.Return(before - t.charged()) }()
	t.bytes = 0
	for i := range t.entries {
		e := &t.entries[i]
		switch {
		case !e.used():
		case e.Series > 0:
			t.bytes += e.size()
		default:
			delete(t.numbers, e.Name())
			*e = Entry{}
			t.free = append(t.free, uint32(i)) //nolint:gosec // Not above maxNames.
			freed = true
		}
	}
	for line, o := range t.lines {
		if _, ok := t.numbers[o.Name]; ok {
			t.bytes += len(line)
		} else {
			delete(t.lines, line)
		}
	}
	clear(t.families)
	if freed {
		t.generation.Add(1)
	}
	return freed
}

// charged is what the loan holds for all that forget can forget.
func (t *Table) charged() int64 {
	return int64(t.bytes + nameCost*len(t.numbers) + lineCost*(len(t.lines)+len(t.families)))
}
