package scrape

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/prometheus/model/timestamp"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"

	"github.com/promlet/promlet/scrape/internal/body"
	"github.com/promlet/promlet/scrape/internal/budget"
	"github.com/promlet/promlet/scrape/internal/reason"
	"github.com/promlet/promlet/scrape/seriesroom"
)

// scrape fetches the target once, and stores the body and the synthetic series with
// timestamp at.
func (l *loop) scrape(at time.Time) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(l.ctx, l.targetSettings.timeout)
	defer cancel()

	got, err := l.get(ctx)
	defer got.Release()
	defer l.parse(ctx, &err)()
	if l.ctx.Err() != nil {
		// Cut short: the target is not to blame.
		return
	}
	// From here on the scrape goes to its end, even if the loop is stopped.
	deadline, _ := ctx.Deadline()
	c, app, err := l.store(got, at, deadline, err)
	l.last = timestamp.FromTime(at)
	if err != nil {
		l.origin.failed(l.last)
		if l.oldOrigin != nil {
			l.oldOrigin.failed(l.last)
		}
	}
	took := time.Since(start)
	l.target.Report(at, took, err)
	if cerr := l.commit(app, at, took, c, err); cerr != nil {
		// Nothing was stored, not even up: the status pages say why.
		err = cerr
		l.target.Report(at, took, err)
		l.origin.failed(l.last)
	}
	if err != nil {
		c.stored = 0
	}
	l.lastSamples.Store(&Samples{Seen: c.scraped, kept: c.kept, Stored: c.stored, Refused: int(c.refused.read()[seriesroom.Series]), outOfBounds: c.outOfBounds})
	l.noteCollected(err)
	metrics := l.manager.metrics
	metrics.scraped(took, err)
	metrics.samplesSeen.Add(float64(c.scraped))
	metrics.samplesPut.Add(float64(c.stored))
	l.logChange(err)
	l.handOver(at, err)
}

// parse waits until the body may be parsed: few at a time, because what a body becomes is
// not charged to Options.ScrapeMemory. It sets err if the timeout is over before. The
// caller calls what it returns when all is stored.
func (l *loop) parse(ctx context.Context, err *error) (done func()) {
	if *err != nil {
		return func() {}
	}
	parsing := l.manager.parsing
	select {
	case parsing <- struct{}{}:
		return func() { <-parsing }
	case <-ctx.Done():
		*err = fmt.Errorf("timed out after %s with the body waiting to be parsed: %w", l.targetSettings.timeout, ctx.Err())
		return func() {}
	}
}

// noteCollected notes what a scrape has collected, once it is stored.
func (l *loop) noteCollected(err error) {
	l.reportOrigin.succeeded(l.last)
	if err != nil {
		return
	}
	l.origin.succeeded(l.last)
	l.collected = l.demand
	for _, series := range l.oldSeries {
		l.manager.sources.remove(series, l.oldOrigin)
	}
	l.oldOrigin, l.oldSeries = nil, nil
}

// since returns since when series of a name have been collected from the target, in
// milliseconds.
func (l *loop) since(name string, now int64) int64 {
	good := l.origin.goodSince.Load()
	if l.collected == nil || good == now {
		return now
	}
	if !l.settings.onDemand {
		return good
	}
	if since, ok := l.collected.Since(name); ok {
		return max(since, good)
	}
	return now
}

// get fetches the body, unless the job has too many targets.
func (l *loop) get(ctx context.Context) (got body.Answer, err error) {
	if err := l.job.limitReached(); err != nil {
		return body.Answer{}, err
	}
	decisions := l.settings.names.Decisions()
	l.demand = decisions.Demand
	if !l.filters() {
		decisions = nil
	}
	err = reason.Guarded(func() (err error) {
		got, err = l.settings.fetcher.Fetch(ctx, l.owner, l.url, l.targetSettings.timeout, l.size+l.size/8, decisions)
		return err
	})
	switch {
	case errors.Is(err, budget.ErrBusy):
		// Ask for more at the beginning of the next one, where a body may wait for memory.
		l.size = max(l.size, 2*got.Kept())
	case err == nil && !got.Empty():
		// Targets that are starting up may answer with nothing.
		l.size = got.Kept()
	}
	return got, reason.Bounded(err)
}

// filters reports whether lines may be skipped before they are parsed. They may not
// where series are made of lines that do not begin with their names.
func (l *loop) filters() bool {
	return l.settings.onDemand && !l.targetSettings.convertToNHCB && !l.settings.parseST
}

// store appends the body to a new appender. If there is no body, because of fetchErr,
// or it is invalid, store appends stale markers instead. The caller commits the
// appender; the error is that of the scrape.
func (l *loop) store(got body.Answer, at, deadline time.Time, fetchErr error) (c counts, app storage.AppenderV2, scrapeErr error) {
	app = l.newAppender()
	l.handed = nil
	whole := got
	if fetchErr != nil {
		whole = body.Answer{} // The beginning of a body does not say what is gone.
	}
	err := reason.Guarded(func() (err error) {
		c, err = l.appendBody(app, whole, at, deadline)
		return err
	})
	c.bytes = whole.Sent()
	if reason.LimitOf(fetchErr) == "body_size" {
		c.bytes = -1
	}
	if err == nil {
		return c, app, fetchErr
	}
	l.rollback(app)
	app = l.newAppender()
	if again := reason.Guarded(func() error {
		_, err := l.appendBody(app, body.Answer{}, at, time.Time{})
		return err
	}); again != nil {
		l.log(slog.LevelWarn, "stale markers of a failed scrape were not written", slog.Any("err", again))
		l.rollback(app)
		app = l.newAppender()
	}
	if fetchErr != nil {
		return c, app, fetchErr
	}
	return c, app, reason.Bounded(err)
}

// commit appends the synthetic series and commits.
func (l *loop) commit(app storage.AppenderV2, at time.Time, took time.Duration, c counts, scrapeErr error) error {
	if err := l.report(app, at, took, c, scrapeErr); err != nil {
		l.rollback(app)
		return reason.Bounded(err)
	}
	if err := app.Commit(); err != nil {
		return reason.Bounded(fmt.Errorf("commit the scrape: %w", err))
	}
	return nil
}

func (l *loop) rollback(app storage.AppenderV2) {
	if err := reason.Guarded(app.Rollback); err != nil {
		l.log(slog.LevelWarn, "rollback of a scrape failed", slog.Any("err", err))
	}
}

// logChange logs a scrape that ended differently from the last one.
func (l *loop) logChange(err error) {
	var kind string
	if err != nil {
		kind = reason.Kind(err)
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
	if pe, ok := errors.AsType[*reason.PanicError](err); ok {
		l.manager.metrics.panics.Inc()
		attrs = append(attrs, slog.String("stack", string(pe.Stack)))
	}
	l.log(slog.LevelWarn, "target is down", attrs...)
}

// Samples counts the samples of a scrape: those in the body, those of them that were stored,
// and those that somebody reads and for which Options.SeriesRoom had no room.
type Samples struct {
	Seen, Stored, Refused int

	kept        int              // left by metric relabelling
	outOfBounds map[string]int64 // refused timestamps by series name, in milliseconds
}

// maxOutOfBounds is the maximum number of a target's series names in Samples.outOfBounds.
const maxOutOfBounds = 100

// OutOfBounds returns a timestamp that is too old or too far in the future to be stored. The last scrape of one of the job's
// targets found it at a sample of the series name. It returns false if no scrape found such a timestamp.
func (m *Manager) OutOfBounds(job, series string) (at time.Time, found bool) {
	m.eachLoop(func(l *loop) {
		if last := l.lastSamples.Load(); last != nil && l.settings.jobName == job {
			if ms, ok := last.outOfBounds[series]; ok {
				at, found = timestamp.Time(ms), true
			}
		}
	})
	return at, found
}

// LastSamples returns the samples of the last scrapes, by target as TargetsActive returns
// them. A target that has not been scraped yet has none.
func (m *Manager) LastSamples() map[*promscrape.Target]Samples {
	all := map[*promscrape.Target]Samples{}
	m.eachLoop(func(l *loop) {
		if last := l.lastSamples.Load(); last != nil {
			all[l.target] = *last
		}
	})
	return all
}
