package scrape

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/promlet/promlet/scrape/internal/reason"
)

const (
	// tolerance is how far from its scheduled time a scrape may start and still get that
	// time as its timestamp, at most 1 % of the interval: timestamps at equal distances
	// take half the space in the TSDB.
	tolerance = 2 * time.Millisecond

	// QuickGap is the time between the first scrape of a target, or of a name that has
	// become wanted, and the next one, unless a scheduled time comes first. It is long
	// enough for a counter to move, and short enough for a new HPA to have a rate within
	// its first syncs.
	QuickGap = 3 * time.Second
	// soonGap is the least time between two scrapes, one of which is not scheduled.
	soonGap = time.Second

	// spreadStep is the time between the first scrapes of targets that appear together.
	// It also delays the first of them, so that it comes after the stale markers of a
	// target that was there a moment ago. spreadLimit is the longest delay.
	spreadStep  = 5 * time.Millisecond
	spreadLimit = 2 * time.Second
)

// spread is how long the scrape with a number waits, of scrapes that fall due together.
func spread(i int) time.Duration { return min(time.Duration(i+1)*spreadStep, spreadLimit) }

// schedule is when a loop scrapes. Between scrapes no goroutine waits, only the timer.
type schedule struct {
	timer    *time.Timer // nil before the start
	due      time.Time   // when the timer fires
	scraping bool
	stopped  bool
	quick    bool      // another scrape follows QuickGap after the next or the present one
	again    bool      // scrapeSoon was called during a scrape
	last     time.Time // of the last scrape: its scheduled time, or its start
}

// start scrapes after wait, again after QuickGap, and then at the scheduled times.
func (l *loop) start(wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.schedule.quick = true
	l.schedule.due = l.manager.opts.Now().Add(wait)
	l.schedule.timer = time.AfterFunc(wait, func() { l.manager.workers.do(l.run) })
}

// workers are goroutines that scrape. A scrape needs a stack of 64 KiB, mostly for the
// compression of the storage's log. A few goroutines that have one wait for the next scrapes: the
// stack of a new one would grow in steps, and copying it took 6 % of the CPU time of scraping.
type workers struct {
	work  chan func()   // to workers that wait
	seats chan struct{} // holds one for each worker that waits
	quit  chan struct{} // closed when they are to end
	all   sync.WaitGroup
}

func newWorkers(waiting int) *workers {
	return &workers{work: make(chan func()), seats: make(chan struct{}, waiting), quit: make(chan struct{})}
}

// do has a worker that waits call f. If none waits the caller calls f, and becomes a worker that
// waits if there is a seat. It must not be called after end.
func (w *workers) do(f func()) {
	select {
	case w.work <- f:
		return
	default:
	}
	w.all.Add(1)
	defer w.all.Done()
	for f != nil {
		f()
		f = w.next()
	}
}

// next waits for what to do next. It returns nil if the worker is to end.
func (w *workers) next() func() {
	select {
	case w.seats <- struct{}{}:
	default:
		return nil
	}
	defer func() { <-w.seats }()
	select {
	case f := <-w.work:
		return f
	case <-w.quit:
		return nil
	}
}

// end ends the workers that wait, and waits for all.
func (w *workers) end() {
	close(w.quit)
	w.all.Wait()
}

// scrapeSoon scrapes after wait, unless a scrape is due before, and again after QuickGap.
func (l *loop) scrapeSoon(wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.schedule
	if s.timer == nil || s.stopped {
		return
	}
	s.quick = true
	if s.scraping {
		s.again = true
		return
	}
	now := l.manager.opts.Now()
	wait = max(wait, min(soonGap, soonGap-now.Sub(s.last)))
	// A timer that has fired already leads to a scrape that sees the new demand.
	if now.Add(wait).Before(s.due) && s.timer.Stop() {
		s.due = now.Add(wait)
		s.timer.Reset(wait)
	}
}

// run scrapes once.
func (l *loop) run() {
	l.mu.Lock()
	if l.schedule.stopped {
		l.mu.Unlock()
		l.finish()
		return
	}
	l.schedule.scraping = true
	interval := l.targetSettings.interval
	at := align(l.manager.opts.Now().Round(0), l.key, interval)
	l.schedule.last = at
	l.mu.Unlock()

	at = l.after(at)
	if err := reason.Guarded(func() error { l.scrape(at); return nil }); err != nil {
		l.manager.metrics.panics.Inc()
		l.log(slog.LevelError, "scrape was not recorded", slog.Any("err", err))
	}

	l.mu.Lock()
	l.schedule.scraping = false
	stopped := l.schedule.stopped
	if !stopped {
		now := l.manager.opts.Now()
		wait := l.schedule.next(now.Round(0), l.key, interval)
		l.schedule.due = now.Add(wait)
		l.schedule.timer.Reset(wait)
	}
	l.mu.Unlock()
	if stopped {
		l.finish()
	}
}

// stop ends the loop and cuts short a scrape under way. It does not wait: done is closed
// at the end. If the loop is idle, the caller must call finish.
func (l *loop) stop() (idle bool) {
	l.cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.schedule.stopped = true
	return !l.schedule.scraping && (l.schedule.timer == nil || l.schedule.timer.Stop())
}

// finish writes the stale markers, takes the loop out of the counts and closes done.
func (l *loop) finish() {
	defer close(l.done)
	l.end()
	l.closeRoom()
	if !l.keepSeries {
		l.manager.sources.end(l.origin, slices.Concat(l.cache.series(), l.oldSeries))
		l.manager.sources.end(l.reportOrigin, l.reports.series())
	}
	if !l.keepCounts {
		l.settings.names.Remove(l.series)
	}
	l.families.Close()
	l.cache.droppedRoom.keep(0)
	l.countRefused(refused{})
}

// next is the time from now to the scrape after the last.
func (s *schedule) next(now time.Time, key uint64, interval time.Duration) time.Duration {
	if s.again {
		s.again = false
		return min(soonGap, max(0, soonGap-now.Sub(s.last)))
	}
	from := now
	// A scrape a moment before its scheduled time is that time's scrape.
	if ahead := s.last.Sub(now); ahead >= 0 && ahead <= tolerance {
		from = s.last.Add(1)
	}
	wait := offset(key, interval, from) + from.Sub(now)
	if !s.quick {
		return wait
	}
	if wait > QuickGap/2 {
		s.quick = false
	}
	return min(wait, QuickGap)
}

// align returns the timestamp of a scrape that starts now: its scheduled time if that is
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

// offset is the time from now to the target's next scheduled time. The key says where
// in each interval, counted from the epoch, that is.
func offset(key uint64, interval time.Duration, now time.Time) time.Duration {
	place := time.Duration(key % uint64(interval)) //nolint:gosec // Below interval.
	wait := place - time.Duration(now.UnixNano()%int64(interval))
	if wait < 0 {
		wait += interval
	}
	return wait
}
