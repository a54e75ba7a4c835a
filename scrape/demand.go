package scrape

import (
	"log/slog"
	"slices"
	"strings"

	"github.com/promlet/promlet/scrape/internal/names"
)

// Demand says which series somebody reads, by the name that they are stored under,
// which is the one after metric relabelling. A nil function returns false for all.
// The functions are called from many goroutines at once, and their answers are
// remembered until the next SetDemand.
type Demand struct {
	// Wanted reports whether anybody reads the series of a name.
	Wanted func(name string) bool
	// Vital reports whether something acts upon them, such as an autoscaler. Of the
	// wanted series they are the last to be refused when Options.SeriesLimit is near.
	Vital func(name string) bool
}

// SetDemand replaces the demand; until it is called, nothing is wanted. Where targets
// expose a name that has become wanted, they are scraped at once, and again after
// QuickGap, so that there is a rate. Series of names that nobody wants any more end with
// stale markers at the next scrape, unless everything is stored.
func (m *Manager) SetDemand(d Demand) {
	m.applyMu.Lock()
	defer m.applyMu.Unlock()
	if m.stopped {
		return
	}
	m.demand = names.NewDemand(d.Wanted, d.Vital, m.demand)
	var due []*loop
	for name, j := range m.jobs {
		begun, ended := j.plan.settings.names.SetDemand(m.demand)
		if !m.opts.OnDemand {
			continue
		}
		logNames(m.opts.Logger, "collection has begun", name, begun)
		logNames(m.opts.Logger, "collection has ended: nobody reads it any more", name, ended)
		if len(begun) > 0 {
			for _, l := range j.loops {
				due = append(due, l)
			}
		}
	}
	for i, l := range due {
		l.scrapeSoon(spread(i))
	}
}

// logNames logs what has happened to names, and the first few of them.
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

// room reports whether there is room for one more series that is needed so much.
// Unread series may fill four fifths of the limit, wanted ones nine tenths, vital ones
// all of it.
func (m *Manager) room(n names.Need) bool {
	limit := m.opts.SeriesLimit
	if limit <= 0 || m.opts.StoredSeries == nil {
		return true
	}
	tenths := [names.Needs]int{8, 9, 10}[n]
	return m.opts.StoredSeries() < limit/10*tenths+limit%10*tenths/10
}

// Refused returns how many series of the targets' last scrapes were not stored because
// Options.SeriesLimit is near: those that nobody reads, and those that somebody does.
func (m *Manager) Refused() (unneeded, needed int) {
	return int(m.refused[names.Unread].Load()), int(m.refused[names.Wanted].Load() + m.refused[names.Vital].Load())
}
