package scrape

import (
	"slices"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/storage"

	"github.com/promlet/promlet/scrape/internal/names"
	"github.com/promlet/promlet/scrape/seriesroom"
)

// owner returns who owns the series of a job's targets in a group with the labels.
func (m *Manager) owner(job string, group model.LabelSet) string {
	if m.opts.Owner == nil {
		return ""
	}
	return m.opts.Owner(job, group)
}

// Refused returns how many series of the targets' last scrapes were not stored because
// Options.SeriesRoom is nearly full: those that nobody reads, and those that somebody does.
func (m *Manager) Refused() (unneeded, needed int) {
	return int(m.refused[names.Unread].Load()), int(m.refused[names.Wanted].Load() + m.refused[names.Vital].Load())
}

// RefusedOf returns how many series of a job that somebody reads were not stored because
// Options.SeriesRoom is nearly full, by their owner.
func (m *Manager) RefusedOf(job string) map[string]int {
	refused := map[string]int{}
	m.eachLoop(func(l *loop) {
		if last := l.lastSamples.Load(); last != nil && last.Refused > 0 && l.settings.jobName == job {
			refused[l.room.Owner()] += last.Refused
		}
	})
	return refused
}

// refused counts the series that found no room, by how much they are needed.
type refused [names.Needs]seriesroom.Amount

// read returns those that somebody reads.
func (r *refused) read() (sum seriesroom.Amount) {
	for i := range sum {
		sum[i] = r[names.Wanted][i] + r[names.Vital][i]
	}
	return sum
}

// refuse counts the series in a.lset as refused for lack of room.
func (a *appending) refuse(n names.Need) {
	a.counts.kept++
	a.counts.refused[n][seriesroom.Series]++
	a.counts.refused[n][seriesroom.Bytes] += seriesroom.Cost(a.lset, 0)
}

// storedRef returns the storage's reference of the series in a.lset, 0 if it is not there.
func (a *appending) storedRef() storage.SeriesRef {
	known, ok := a.app.AppenderV2.(storage.GetRef)
	if !ok {
		return 0
	}
	ref, _ := known.GetRef(a.lset, a.lset.Hash())
	return ref
}

// countRefused replaces what the loop has added to the refused series.
func (l *loop) countRefused(now refused) {
	for n := range now {
		l.manager.refused[n].Add(now[n][seriesroom.Series] - l.refused[n][seriesroom.Series])
	}
	l.refused = now
	l.room.Settle(now.read())
}

// giveBack ends series of the target if its owner has borrowed room that others need now:
// first those that nobody reads, then those that nothing acts upon, and of these the newest.
func (l *loop) giveBack(d *names.Decisions) {
	allowed, over := l.room.Allowed()
	if !over {
		return
	}
	needs := make([]names.Need, len(l.cache.entries))
	places := make([]int32, 0, len(l.cache.index))
	for _, place := range l.cache.index {
		e := &l.cache.entries[place]
		needs[place] = d.NeedOf(e.number, e.lset)
		places = append(places, place)
	}
	slices.SortFunc(places, func(x, y int32) int {
		if needs[x] != needs[y] {
			return int(needs[x]) - int(needs[y])
		}
		return int(y - x)
	})
	gone := map[int32]bool{}
	live := l.room.End(0)
	for _, place := range places {
		if live.Within(allowed[needs[place]]) {
			break
		}
		gone[place] = true
		live = l.room.End(l.cache.entries[place].ref)
	}
	l.cache.release(gone)
}

// endLeft ends the series of the replaced loop that this one does not go on with.
func (l *loop) endLeft() {
	for ref := range l.cache.previous {
		l.room.EndLeft(ref)
	}
}

// closeRoom closes the loop's account. The loop that replaces this one goes on with the
// series of its last scrape.
func (l *loop) closeRoom() {
	for i := range l.cache.entries {
		if e := &l.cache.entries[i]; !l.keepSeries || !l.cache.inLast(e) {
			l.room.End(e.ref)
		}
	}
	if !l.keepSeries {
		for i := range l.reports {
			l.room.End(l.reports[i].ref)
		}
	}
	l.room.Close()
}
