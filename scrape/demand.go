package scrape

import (
	"context"
	"fmt"
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
	// wanted series they are the last to be refused when Options.SeriesRoom gets small.
	Vital func(name string) bool
}

// SetDemand replaces the demand; until it is called, nothing is wanted. Where targets
// expose a name that has become wanted, they are scraped at once, and again after
// QuickGap, so that there is a rate. All targets have the synthetic series, such as up.
// Series of names that nobody wants any more end with stale markers at the next scrape,
// unless everything is stored.
//
// If ctx ends first SetDemand returns its error. Then some jobs have the new demand and
// others the one before.
func (m *Manager) SetDemand(ctx context.Context, d Demand) error {
	m.applyMu.Lock()
	defer m.applyMu.Unlock()
	if m.stopped {
		return nil
	}
	before := m.demand.Load()
	now := names.NewDemand(d.Wanted, d.Vital, before)
	m.demand.Store(now)
	var due []*loop
	for name, j := range m.jobs {
		table := j.plan.settings.names
		begun, ended, err := table.SetDemand(ctx, m.demandOf(name, table.Decisions().Demand))
		if err != nil {
			return fmt.Errorf("set the demand: %w", err)
		}
		if !j.plan.settings.onDemand {
			continue
		}
		if m.opts.OnDemand && len(j.loops) > 0 {
			begunReports, endedReports := j.plan.settings.changedReports(before, now)
			begun, ended = append(begun, begunReports...), append(ended, endedReports...)
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
	return nil
}

// demandOf returns the demand for the series of a job. before is the job's previous demand, nil
// for none. applyMu is held.
func (m *Manager) demandOf(job string, before *names.Demand) *names.Demand {
	handed := m.sinkOf(job)
	if handed == nil {
		return m.demand.Load()
	}
	all, onDemand := m.demand.Load(), m.opts.OnDemand
	stored := func(name string) bool { return handed.Stored != nil && handed.Stored(name) }
	return names.NewDemand(
		func(name string) bool { return stored(name) && (!onDemand || all.Of(name) != names.Unread) },
		func(name string) bool { return stored(name) && all.Of(name) == names.Vital },
		before,
	)
}

// Collecting reports whether some targets that expose a name have not been scraped since it
// has been wanted. Targets whose scrapes fail do not count, except for synthetic series.
func (m *Manager) Collecting(name string) bool {
	if !m.opts.OnDemand {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, j := range m.jobs {
		if j.plan.settings.hasReport(name) {
			if j.collectingReport(m.demand.Load().Since(name)) {
				return true
			}
			continue
		}
		table := j.plan.settings.names
		if !table.Exposes(name) {
			continue
		}
		since, wanted := table.Decisions().Demand.Since(name)
		if !wanted && j.plan.settings.sink != nil {
			continue // Its series are not stored, even if somebody reads the name.
		}
		for _, l := range j.loops {
			t := l.origin.now.Load()
			if t.FailingSince.IsZero() && (!wanted || t.LastScrape.UnixMilli() < since) {
				return true
			}
		}
	}
	return false
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
