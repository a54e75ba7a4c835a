package scrape

import (
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Demand says which series somebody reads, by the name they are stored under: the
// one that metric relabelling leaves. A nil function is one that says no to all.
// The functions are called from many goroutines at once, and their answers
// remembered until the next SetDemand.
type Demand struct {
	// Wanted tells whether anybody reads the series of a name.
	Wanted func(name string) bool
	// Vital tells whether something acts upon them, an autoscaler: of what is
	// wanted they are the last to be refused when Options.SeriesLimit is near.
	Vital func(name string) bool
}

// need is how much the series of a name are needed.
type need uint8

const (
	unread need = iota
	wanted
	vital
	needs    // their number
	notKnown = needs
)

func (n need) String() string {
	return [needs]string{"unread", "wanted", "vital"}[n]
}

// maxRemembered bounds the answers that a demand remembers. Above it it asks again.
const maxRemembered = 1 << 16

// demand is a Demand that remembers what it has said: jobs share most names.
type demand struct {
	Demand
	made time.Time
	mu   sync.Mutex
	// needs is what it has said, and begun since when the names have been wanted, in milliseconds.
	needs  map[string]need
	begun  map[string]int64
	before *demand // the one before, until there is another after
}

// newDemand makes a demand that comes after another, or after none.
func newDemand(d Demand, before *demand) *demand {
	made := &demand{Demand: d, made: time.Now(), needs: map[string]need{}, begun: map[string]int64{}, before: before}
	if before == nil {
		return made
	}
	before.mu.Lock()
	defer before.mu.Unlock()
	before.before = nil
	for name, n := range before.needs {
		if n == unread {
			continue
		}
		begun, ok := before.begun[name]
		if !ok {
			begun = before.made.UnixMilli()
		}
		made.begun[name] = begun // should it still be wanted
	}
	return made
}

// since is since when a name has been wanted, in milliseconds; false if it is not.
func (d *demand) since(name string) (int64, bool) {
	if d.of(name) == unread {
		return 0, false
	}
	d.mu.Lock()
	begun, known := d.begun[name]
	before := d.before
	d.mu.Unlock()
	if known {
		return begun, true
	}
	begun = d.made.UnixMilli()
	if before != nil {
		if earlier, wanted := before.since(name); wanted {
			begun = earlier
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.begun) < maxRemembered {
		d.begun[name] = begun
	}
	return begun, true
}

func (d *demand) of(name string) need {
	d.mu.Lock()
	n, ok := d.needs[name]
	d.mu.Unlock()
	if ok {
		return n
	}
	switch {
	case d.Vital != nil && d.Vital(name):
		n = vital
	case d.Wanted != nil && d.Wanted(name):
		n = wanted
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.needs) < maxRemembered {
		d.needs[name] = n
	}
	return n
}

// SetDemand says anew what is wanted; until it is called, nothing is. Where a name
// that targets expose has become wanted, they are scraped at once, and again a few
// seconds later, so that there is a rate. Series of names no longer wanted end with
// stale markers at the next scrape, unless everything is stored.
func (m *Manager) SetDemand(d Demand) {
	m.applyMu.Lock()
	defer m.applyMu.Unlock()
	if m.stopped {
		return
	}
	m.demand = newDemand(d, m.demand)
	if !m.opts.OnDemand {
		for _, j := range m.jobs {
			j.names.setDemand(m.demand)
		}
		return
	}
	var hasty []*loop
	for name, j := range m.jobs {
		begun, ended := j.names.setDemand(m.demand)
		logNames(m.opts.Logger, "collection has begun", name, begun)
		logNames(m.opts.Logger, "collection has ended: nobody reads it any more", name, ended)
		if len(begun) > 0 {
			for _, l := range j.loops {
				hasty = append(hasty, l)
			}
		}
	}
	for i, l := range hasty {
		l.hurry(spread(i))
	}
}

// logNames logs that something has happened to names, the first few of which it
// tells.
func logNames(logger *slog.Logger, msg, job string, names []string) {
	const most = 10
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	attrs := []any{slog.String("job", job), slog.String("series", strings.Join(names[:min(len(names), most)], " "))}
	if len(names) > most {
		attrs = append(attrs, slog.Int("andMore", len(names)-most))
	}
	logger.Info(msg, attrs...)
}

// room tells whether there is room for one more series that is needed so much.
// Four fifths of the limit are for all, nine tenths for what is wanted.
func (m *Manager) room(n need) bool {
	limit := m.opts.SeriesLimit
	if limit <= 0 || m.opts.StoredSeries == nil {
		return true
	}
	tenths := [needs]int{8, 9, 10}[n]
	return m.opts.StoredSeries() < limit/10*tenths+limit%10*tenths/10
}

// Refused tells how many series the targets' last scrapes held that were not stored
// for lack of room under Options.SeriesLimit: those that nobody reads, and those
// that somebody does.
func (m *Manager) Refused() (unneeded, needed int) {
	return int(m.refused[unread].Load()), int(m.refused[wanted].Load() + m.refused[vital].Load())
}
