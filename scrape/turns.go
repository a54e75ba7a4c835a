package scrape

import (
	"log/slog"
	"slices"
	"time"
)

const (
	// tolerance is how far from its turn a scrape may be and still get the turn's
	// timestamp, at most 1 % of the interval: timestamps at equal distances take
	// half the space in the TSDB.
	tolerance = 2 * time.Millisecond

	// QuickGap is the time between the first scrape of a target, or of a name that
	// has become wanted, and the one after it, unless its turn comes first. It is
	// long enough for a counter to move, and short enough for an HPA created just
	// now to have a rate at one of its next looks.
	QuickGap = 3 * time.Second
	// hasteGap is the least time between scrapes out of turn.
	hasteGap = time.Second

	// spreadStep is the time between the first scrapes of targets that appear
	// together, and before the first, so that it is after the stale markers of a
	// target that was there a moment ago. spreadLimit is the most that it comes to.
	spreadStep  = 5 * time.Millisecond
	spreadLimit = 2 * time.Second
)

// spread is when the one with the number is scraped that appear together.
func spread(i int) time.Duration { return min(time.Duration(i+1)*spreadStep, spreadLimit) }

// turns is when a loop scrapes. Between its turns no goroutine waits for it, only
// the timer.
type turns struct {
	timer    *time.Timer // nil before the start
	due      time.Time   // when it ends
	scraping bool
	stopped  bool
	haste    bool      // another scrape is to follow QuickGap after the next or the present one
	again    bool      // asked for while scraping
	last     time.Time // turn, or time between turns, of the last scrape
}

// start scrapes after wait, again QuickGap later, and then at the target's turns.
func (l *loop) start(wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turns.haste = true
	l.turns.due = time.Now().Add(wait)
	l.turns.timer = time.AfterFunc(wait, l.turn)
}

// hurry scrapes after wait, if the loop would not anyway by then, and again
// QuickGap later.
func (l *loop) hurry(wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.turns
	if t.timer == nil || t.stopped {
		return
	}
	t.haste = true
	if t.scraping {
		t.again = true
		return
	}
	now := time.Now()
	wait = max(wait, min(hasteGap, hasteGap-now.Sub(t.last)))
	// If it has ended already, the scrape has yet to see what is wanted.
	if now.Add(wait).Before(t.due) && t.timer.Stop() {
		t.due = now.Add(wait)
		t.timer.Reset(wait)
	}
}

// turn scrapes once.
func (l *loop) turn() {
	l.mu.Lock()
	if l.turns.stopped {
		l.mu.Unlock()
		l.conclude()
		return
	}
	l.turns.scraping = true
	at := align(time.Now().Round(0), l.key, l.interval)
	l.turns.last = at
	l.mu.Unlock()

	at = l.after(at)
	if err := guarded(func() error { l.scrape(at); return nil }); err != nil {
		l.metrics.panics.Inc()
		l.log(slog.LevelError, "scrape was not recorded", slog.Any("err", err))
	}

	l.mu.Lock()
	l.turns.scraping = false
	stopped := l.turns.stopped
	if !stopped {
		wait := l.turns.next(time.Now().Round(0), l.key, l.interval)
		l.turns.due = time.Now().Add(wait)
		l.turns.timer.Reset(wait)
	}
	l.mu.Unlock()
	if stopped {
		l.conclude()
	}
}

// stop ends the loop, cutting the scrape under way short. It returns without
// waiting for it: done is closed at the end. Without one, the caller is to call
// conclude.
func (l *loop) stop() (idle bool) {
	l.cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turns.stopped = true
	return !l.turns.scraping && (l.turns.timer == nil || l.turns.timer.Stop())
}

// conclude writes what is to be written at the end.
func (l *loop) conclude() {
	defer close(l.done)
	l.end()
	if !l.bequeath {
		l.manager.sources.end(l.origin, slices.Concat(l.cache.series(), l.legacy))
		l.manager.sources.end(l.attempts, l.reports.series())
	}
	if !l.countsOn {
		l.names.learn(lesson{}, l.series, nil, l.names.generation.Load())
	}
	l.countRefused([needs]int{})
}

// next is the time from now to the scrape after the last.
func (t *turns) next(now time.Time, key uint64, interval time.Duration) time.Duration {
	if t.again {
		t.again = false
		return min(hasteGap, max(0, hasteGap-now.Sub(t.last)))
	}
	from := now
	// A turn that the last scrape was a hair early for is not to come again.
	if ahead := t.last.Sub(now); ahead >= 0 && ahead <= tolerance {
		from = t.last.Add(1)
	}
	wait := offset(key, interval, from) + from.Sub(now)
	if !t.haste {
		return wait
	}
	if wait > QuickGap/2 {
		t.haste = false
	}
	return min(wait, QuickGap)
}

// align gives the timestamp of a scrape that starts now: that of a turn which is
// near enough.
func align(now time.Time, key uint64, interval time.Duration) time.Time {
	near := min(interval/100, tolerance)
	wait := offset(key, interval, now)
	if wait <= near {
		return now.Add(wait)
	}
	if late := interval - wait; late <= near {
		return now.Add(-late)
	}
	return now
}
