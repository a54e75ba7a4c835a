package scrape

import (
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

// view is the decision about each line, by the name it begins with, or that its
// metadata is about.
type view struct {
	demand *demand
	lines  map[string]verdict
	needs  []need // by number of the name; notKnown where that is so
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
	if forgotten || len(l.lines) > 0 || len(l.families) > 0 {
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

// publish makes a new view. n.mu is held.
func (n *names) publish() {
	v := &view{demand: n.demand, needs: make([]need, len(n.entries)), generation: n.generation.Load()}
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
				keepFamilies(v, e.name.Value())
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
	return func(fam string) bool { return v.lines[fam].flags&keepFamily != 0 }
}

// keepFamilies keeps the metadata of the families that a series can belong to.
func keepFamilies(v *view, series string) {
	keep := func(fam string) {
		if d, ok := v.lines[fam]; ok {
			d.flags |= keepFamily
			v.lines[fam] = d
		}
	}
	keep(series)
	for _, suffix := range []string{"_total", "_bucket", "_sum", "_count", "_gsum", "_gcount", "_info", "_created"} {
		if fam, ok := strings.CutSuffix(series, suffix); ok {
			keep(fam)
		}
	}
}

// Metric is a metric name that targets expose, as of their last successful scrapes,
// whether its series are stored or not.
type Metric struct {
	Job  string
	Name string // after metric relabelling
	metadata.Metadata
	LabelNames []string // of the first series met, sorted, without the name
	Series     int      // in all targets of the job together
	Stored     bool     // they are stored, as far as Options.SeriesLimit allows
}

// metrics appends the names that have series.
func (n *names) metrics(job string, to []Metric) []Metric {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.entries {
		e := &n.entries[i]
		if !e.used() || e.series == 0 {
			continue
		}
		var labelNames []string
		if all := e.labels.Value(); all != "" {
			labelNames = strings.Split(all[1:], "\x00")
		}
		to = append(to, Metric{
			Job: job, Name: e.name.Value(), Metadata: e.meta.Value(), LabelNames: labelNames,
			Series: e.series, Stored: !n.onDemand || e.need != unread,
		})
	}
	return to
}

// Catalog gives what the targets expose, in no order, and its version: as long as
// that is the same, no name has come or gone.
func (m *Manager) Catalog() (metrics []Metric, version uint64) {
	version = m.catalogVersion.Load()
	m.mu.Lock()
	all := make(map[string]*names, len(m.jobs))
	for name, j := range m.jobs {
		all[name] = j.names
	}
	m.mu.Unlock()
	for job, n := range all {
		metrics = n.metrics(job, metrics)
	}
	return metrics, version
}

// CatalogVersion is that of Catalog, without the work.
func (m *Manager) CatalogVersion() uint64 { return m.catalogVersion.Load() }
