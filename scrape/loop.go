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
)

// loop scrapes one target.
type loop struct {
	*settings
	targetSettings
	job        *job
	target     *promscrape.Target
	key        uint64 // of the target
	public     uint64 // hash of the target's public labels
	url        string
	unready    bool // the target is; belongs to Apply
	appendable storage.AppendableV2
	logger     *slog.Logger
	metrics    *metrics
	metadata   *metadataStore
	manager    *Manager

	lastSamples atomic.Pointer[Samples] // of the last scrape, nil before the first

	ctx    context.Context // ends when the loop is to stop
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	turns turns // guarded by mu
	// bequeath says that the series go on without this loop: no stale markers.
	// It is set before cancel is called.
	bequeath bool
	heirOf   *loop // which the loop takes over from, until it starts
	// countsOn says that the heir goes on with the same names; set with bequeath.
	countsOn bool

	// What follows belongs to the scrape under way, and between start and stop to no
	// one else.
	cache   *cache
	reports reports
	origin  *origin
	// attempts is the origin of the synthetic series, which failed scrapes have as well.
	attempts *origin
	before   *origin         // of the loop that this one takes over from, until the first scrape that succeeds
	legacy   []labels.Labels // series of before
	demand   *demand         // at the beginning of the scrape
	// collected is the demand of the last scrape that succeeded.
	collected *demand
	last      int64      // ms, of the last scrape; 0 before the first
	size      int        // of the last body
	failing   string     // reasonKind of the last scrape, "" if it succeeded
	rejects   uint8      // what logRejected last found
	series    []uint32   // in the last successful scrape, by number of their name
	numbers   uint64     // generation of the numbers of names in cache
	refused   [needs]int // in the last successful scrape
}

// newLoop makes the loop of a target without starting it.
func (m *Manager) newLoop(j *job, s *settings, c candidate) *loop {
	ctx, cancel := context.WithCancel(context.Background())
	l := &loop{
		settings:       s,
		targetSettings: c.settings,
		job:            j,
		target:         c.Target,
		key:            c.key,
		public:         c.public,
		url:            c.url,
		unready:        unready(c.own, c.group),
		appendable:     m.opts.Appendable,
		logger:         m.opts.Logger,
		metrics:        m.metrics,
		metadata:       newMetadataStore(),
		manager:        m,
		ctx:            ctx,
		cancel:         cancel,
		done:           make(chan struct{}),
		cache:          newCache(),
	}
	l.origin, l.attempts = m.sources.origin(j, c.url, c.settings.interval), m.sources.origin(j, c.url, c.settings.interval)
	l.cache.forgotten = func(series labels.Labels) { m.sources.remove(series, l.origin) }
	c.SetMetadataStore(l.metadata)
	return l
}

// inherit takes over from the loop before this one, which has ended: what its
// last scrape held will be marked stale if the first of this one does not.
func (l *loop) inherit() {
	old := l.heirOf
	if old == nil {
		return
	}
	l.heirOf = nil
	l.cache.inherited = old.cache.heirloom()
	l.reports, l.last, l.size, l.failing = old.reports, old.last, old.size, old.failing
	l.before, l.legacy, l.attempts = old.origin, slices.Concat(old.legacy, old.cache.series()), old.attempts
	l.origin.change(func(t *Target) { t.Rank = old.origin.now.Load().Rank })
	if l.settings == old.settings {
		// The names have the same numbers.
		l.series = old.series
		l.collected = old.collected
		l.origin.goodSince.Store(old.origin.goodSince.Load())
		l.origin.change(func(t *Target) { t.LastScrape = old.origin.now.Load().LastScrape })
	}
}

// end marks the target's series as stale, unless they go on.
func (l *loop) end() {
	if l.bequeath {
		return
	}
	if err := guarded(l.writeEnd); err != nil {
		l.log(slog.LevelWarn, "stale markers of a removed target were not written", slog.Any("err", err))
	}
}

func (l *loop) writeEnd() error {
	// The last scrape may have been in this very millisecond, or at a turn that
	// is still to come.
	now := max(timestamp.FromTime(time.Now()), l.last+1)
	at := timestamp.Time(now)
	app := l.newAppender()
	_, err := l.appendBody(app, fetched{}, at, time.Time{})
	if err == nil && l.reports.written() {
		err = l.reportStale(app, at)
	}
	if err != nil {
		l.rollback(app)
		return err
	}
	return app.Commit()
}

// after moves a timestamp behind that of the last scrape if it is within the
// tolerance of it: the loop before this one may have scraped in the same
// millisecond.
func (l *loop) after(at time.Time) time.Time {
	if ahead := l.last - timestamp.FromTime(at); ahead >= 0 && ahead <= tolerance.Milliseconds() {
		return timestamp.Time(l.last + 1)
	}
	return at
}

// newAppender gives an appender that nothing cancels: what a scrape has got is
// stored even if the loop is to stop meanwhile.
func (l *loop) newAppender() storage.AppenderV2 {
	return l.appendable.AppenderV2(context.Background())
}

// log adds which target it is about.
func (l *loop) log(level slog.Level, msg string, attrs ...any) {
	attrs = append(attrs, slog.String("job", l.jobName), slog.String("target", l.url))
	l.logger.Log(context.Background(), level, msg, attrs...)
}
