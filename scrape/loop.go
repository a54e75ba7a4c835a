package scrape

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/storage"

	"github.com/promlet/promlet/scrape/internal/body"
	"github.com/promlet/promlet/scrape/internal/names"
	"github.com/promlet/promlet/scrape/internal/reason"
	"github.com/promlet/promlet/scrape/seriesroom"
	"github.com/promlet/promlet/scrape/sink"
)

// loop scrapes one target.
type loop struct {
	manager        *Manager
	job            *job
	settings       *settings // of the job
	targetSettings targetSettings
	target         *promscrape.Target
	key            uint64 // of the target
	public         uint64 // hash of the target's public labels
	url            string
	owner          string // of the memory that scrapes take
	unready        bool   // the target is; only Apply uses it
	resumed        bool   // the target was scraped by the process before; see Options.HistoryFile
	families       *names.Families

	lastSamples atomic.Pointer[Samples] // of the last scrape, nil before the first
	foreign     foreignSeries

	ctx    context.Context // ends when the loop is to stop
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	schedule schedule // guarded by mu

	replaces *loop // the loop that this one takes over from, until it starts
	// keepSeries: the series go on without this loop, so no stale markers are written.
	// keepCounts: the loop that replaces this one takes over its counts as well. Both are
	// set before cancel is called.
	keepSeries, keepCounts bool

	// What follows belongs to the scrape under way, and between start and stop to nobody
	// else.
	cache        *cache
	reports      reports
	origin       *origin
	reportOrigin *origin         // of the synthetic series, which failed scrapes have as well
	oldOrigin    *origin         // of the replaced loop, until the first scrape that succeeds
	oldSeries    []labels.Labels // series of oldOrigin
	demand       *names.Demand   // at the beginning of the scrape
	collected    *names.Demand   // of the last scrape that succeeded
	last         int64           // ms, of the last scrape; 0 before the first
	size         int             // of the last body
	failing      string          // reason.Kind of the last scrape, "" if it succeeded
	rejected     uint8           // what logRejected last found
	series       []uint32        // in the last successful scrape, by number of their name
	numbers      uint64          // generation of the numbers of names in cache
	room         *seriesroom.Account
	refused      refused       // in the last successful scrape
	handed       []sink.Sample // samples of the scrape under way for the job's sink
	handedBefore int           // number of those of the scrape before
}

// newLoop makes the loop of a target without starting it.
func (m *Manager) newLoop(j *job, s *settings, t discovered) *loop {
	ctx, cancel := context.WithCancel(context.Background())
	l := &loop{
		manager:        m,
		job:            j,
		settings:       s,
		targetSettings: t.settings,
		target:         t.target,
		key:            t.key,
		public:         t.public,
		url:            t.url,
		owner:          m.borrower(s.jobName, t.group),
		unready:        unready(t.own, t.group),
		families:       names.NewFamilies(s.nameMemory),
		ctx:            ctx,
		cancel:         cancel,
		done:           make(chan struct{}),
		cache:          newCache(),
		origin:         m.sources.origin(j, s, t),
		reportOrigin:   m.sources.origin(j, s, t),
		foreign:        foreignSeries{pin: s.namespace, target: t.foreign},
	}
	l.cache.droppedRoom.loan = s.nameMemory
	l.room = m.opts.SeriesRoom.Open(m.owner(s.jobName, t.group), l.origin.now.Load().Rank)
	l.cache.forgotten = func(e *cacheEntry) {
		m.sources.remove(e.lset, l.origin)
		l.foreign.remove(e.lset)
		l.room.End(e.ref)
	}
	l.target.SetMetadataStore(l.families)
	return l
}

// takeOver takes over from the loop that this one replaces, which has ended: what its
// last scrape held is marked as stale if the first scrape of this one does not hold it.
func (l *loop) takeOver() {
	old := l.replaces
	if old == nil {
		return
	}
	l.replaces = nil
	l.cache.previous = old.cache.present()
	l.reports, l.last, l.size, l.failing = old.reports, old.last, old.size, old.failing
	l.oldOrigin, l.oldSeries, l.reportOrigin = old.origin, slices.Concat(old.oldSeries, old.cache.series()), old.reportOrigin
	l.origin.update(func(t *Target) { t.Rank = old.origin.now.Load().Rank })
	l.room.SetRank(old.origin.now.Load().Rank)
	for i := range l.reports {
		l.room.Claim(l.reports[i].ref, l.reports[i].lset, 0)
	}
	if l.settings == old.settings {
		// The names have the same numbers.
		l.series = old.series
		l.collected = old.collected
		l.origin.goodSince.Store(old.origin.goodSince.Load())
		l.origin.update(func(t *Target) { t.LastScrape = old.origin.now.Load().LastScrape })
	}
}

// end marks the target's series as stale, and tells the sink, unless the target goes on.
func (l *loop) end() {
	if l.keepSeries {
		return
	}
	l.handOverEnd()
	if err := reason.Guarded(l.writeEnd); err != nil {
		l.log(slog.LevelWarn, "stale markers of a removed target were not written", slog.Any("err", err))
	}
}

// handOver gives the job's sink the samples of a scrape that has ended, or its error.
func (l *loop) handOver(at time.Time, err error) {
	to, samples := l.settings.sink, l.handed
	l.handed, l.handedBefore = nil, len(samples)
	l.toSink(func(target labels.Labels) {
		switch {
		case err == nil && to.Scraped != nil:
			to.Scraped(target, at, samples)
		case err != nil && to.Failed != nil:
			to.Failed(target, at, err)
		}
	})
}

// handOverEnd tells the job's sink that the target is gone.
func (l *loop) handOverEnd() {
	l.toSink(func(target labels.Labels) {
		if ended := l.settings.sink.Ended; ended != nil {
			ended(target)
		}
	})
}

// toSink calls f with the target's labels if the job has a sink. A panic in f does not end
// the loop.
func (l *loop) toSink(f func(target labels.Labels)) {
	if l.settings.sink == nil {
		return
	}
	if err := reason.Guarded(func() error {
		f(l.target.Labels(labels.NewBuilder(labels.EmptyLabels())))
		return nil
	}); err != nil {
		l.manager.metrics.panics.Inc()
		l.log(slog.LevelError, "the sink of the job's samples panicked", slog.Any("err", err))
	}
}

func (l *loop) writeEnd() error {
	// The last scrape may have been in this very millisecond, or have a scheduled time
	// that is still to come.
	now := max(timestamp.FromTime(l.manager.opts.Now()), l.last+1)
	at := timestamp.Time(now)
	app := l.newAppender()
	_, err := l.appendBody(app, body.Answer{}, at, time.Time{})
	if err == nil {
		err = l.endReports(app, at)
	}
	if err != nil {
		l.rollback(app)
		return err
	}
	return app.Commit()
}

// after moves a timestamp behind that of the last scrape if it is within the
// tolerance of it: the replaced loop may have scraped in the same millisecond.
func (l *loop) after(at time.Time) time.Time {
	if ahead := l.last - timestamp.FromTime(at); ahead >= 0 && ahead <= tolerance.Milliseconds() {
		return timestamp.Time(l.last + 1)
	}
	return at
}

// newAppender makes an appender that nothing cancels: what a scrape has read is stored
// even if the loop is stopped meanwhile.
func (l *loop) newAppender() storage.AppenderV2 {
	return l.manager.opts.Appendable.AppenderV2(context.Background())
}

// log logs a message with the loop's job and target.
func (l *loop) log(level slog.Level, msg string, attrs ...any) {
	attrs = append(attrs, slog.String("job", l.settings.jobName), slog.String("target", l.url))
	l.manager.opts.Logger.Log(context.Background(), level, msg, attrs...)
}
