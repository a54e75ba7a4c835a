package scrape

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/storage"
)

// scrape fetches the target once, and stores what it got and the synthetic series
// with timestamp at.
func (l *loop) scrape(at time.Time) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(l.ctx, l.timeout)
	defer cancel()

	got, err := l.get(ctx)
	defer got.release(l.manager.filters)
	if l.ctx.Err() != nil {
		// Cut short: the target is not to blame.
		return
	}
	// From here on the scrape goes to its end, even if the loop is to stop.
	deadline, _ := ctx.Deadline()
	c, app, err := l.store(got, at, deadline, err)
	l.last = timestamp.FromTime(at)
	if err != nil {
		l.origin.bad(l.last)
		if l.before != nil {
			l.before.bad(l.last)
		}
	}
	took := time.Since(start)
	l.target.Report(at, took, err)
	if rerr := l.finish(app, at, took, c, err); rerr != nil {
		// Nothing was stored, not even up: say so where it can be seen.
		err = rerr
		l.target.Report(at, took, err)
		l.origin.bad(l.last)
	}
	l.collect(err)
	l.metrics.scraped(took, err)
	if err != nil {
		c.stored = 0
	}
	l.metrics.samplesSeen.Add(float64(c.scraped))
	l.metrics.samplesPut.Add(float64(c.stored))
	l.lastSamples.Store(&Samples{Seen: c.scraped, Stored: c.stored})
	l.logChange(err)
}

// collect notes what the scrape has collected.
func (l *loop) collect(err error) {
	l.attempts.good(l.last)
	if err != nil {
		return
	}
	l.origin.good(l.last)
	l.collected = l.demand
	for _, series := range l.legacy {
		l.manager.sources.remove(series, l.before)
	}
	l.before, l.legacy = nil, nil
}

// since is since when series of a name have been collected from the target, in milliseconds.
func (l *loop) since(name string, now int64) int64 {
	good := l.origin.goodSince.Load()
	if l.collected == nil || good == now {
		return now
	}
	if !l.onDemand {
		return good
	}
	if since, ok := l.collected.since(name); ok {
		return max(since, good)
	}
	return now
}

// get fetches the body, unless the target is not to be scraped at all.
func (l *loop) get(ctx context.Context) (got fetched, err error) {
	if err := l.job.forbidden(); err != nil {
		return fetched{}, err
	}
	l.demand = l.names.current.Load().demand
	err = guarded(func() (err error) {
		got, err = l.fetch.fetch(ctx, l.url, l.timeout, l.size+l.size/8, l.view())
		return err
	})
	switch {
	case errors.Is(err, errMemoryBusy):
		// Ask for more at the beginning, where one may wait for it.
		l.size = max(l.size, 2*got.read)
	case err == nil && got.read > 0:
		// Empty answers happen to targets that are starting up.
		l.size = got.read
	}
	return got, bounded(err)
}

// view is what the body is filtered by, nil if it is to be parsed whole: where
// series are made of lines that do not begin with their names.
func (l *loop) view() *view {
	if !l.onDemand || l.convertToNHCB || l.parseST {
		return nil
	}
	return l.names.current.Load()
}

// store appends the body to a new appender, or, if there is none or it turns out
// to be bad, the stale markers. fetchErr is why there is none. The appender is to
// be finished by the caller; the error is that of the scrape.
func (l *loop) store(got fetched, at, deadline time.Time, fetchErr error) (c counts, app storage.AppenderV2, scrapeErr error) {
	app = l.newAppender()
	whole := got
	if fetchErr != nil {
		whole = fetched{} // What has come before it broke off tells nothing.
	}
	err := guarded(func() (err error) {
		c, err = l.appendBody(app, whole, at, deadline)
		return err
	})
	c.bytes = whole.sent()
	if limitOf(fetchErr) == "body_size" {
		c.bytes = -1
	}
	if err == nil {
		return c, app, fetchErr
	}
	l.rollback(app)
	app = l.newAppender()
	if again := guarded(func() error {
		_, err := l.appendBody(app, fetched{}, at, time.Time{})
		return err
	}); again != nil {
		l.log(slog.LevelWarn, "stale markers of a failed scrape were not written", slog.Any("err", again))
		l.rollback(app)
		app = l.newAppender()
	}
	if fetchErr != nil {
		return c, app, fetchErr
	}
	return c, app, bounded(err)
}

// finish appends the synthetic series and commits.
func (l *loop) finish(app storage.AppenderV2, at time.Time, took time.Duration, c counts, scrapeErr error) error {
	if err := l.report(app, at, took, c, scrapeErr); err != nil {
		l.rollback(app)
		return bounded(err)
	}
	if err := app.Commit(); err != nil {
		return bounded(fmt.Errorf("commit the scrape: %w", err))
	}
	return nil
}

func (l *loop) rollback(app storage.AppenderV2) {
	if err := guarded(app.Rollback); err != nil {
		l.log(slog.LevelWarn, "rollback of a scrape failed", slog.Any("err", err))
	}
}

// logChange logs a scrape that ended in another way than the one before.
func (l *loop) logChange(err error) {
	var kind string
	if err != nil {
		kind = reasonKind(err)
	}
	if kind == l.failing {
		return
	}
	l.failing = kind
	if err == nil {
		l.log(slog.LevelInfo, "target is up again")
		return
	}
	attrs := []any{slog.Any("err", err)}
	if pe, ok := errors.AsType[*panicError](err); ok {
		l.metrics.panics.Inc()
		attrs = append(attrs, slog.String("stack", string(pe.stack)))
	}
	l.log(slog.LevelWarn, "target is down", attrs...)
}
