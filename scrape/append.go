package scrape

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"

	"github.com/promlet/promlet/scrape/internal/body"
	"github.com/promlet/promlet/scrape/internal/names"
	"github.com/promlet/promlet/scrape/internal/reason"
	"github.com/promlet/promlet/scrape/seriesroom"
)

const (
	// maxAhead is how far in the future a sample may be.
	maxAhead = 10 * time.Minute
	// checkEvery is the number of samples between two looks at the deadline.
	checkEvery = 256
	// lostIntervals is for how many intervals without a successful scrape a target stays
	// known. What it exposes after that has not necessarily begun then.
	lostIntervals = 2
	// labelGuard times the label limit is where a series is refused before
	// relabelling, whose cost grows with the square of the number of labels.
	labelGuard = 10
)

// counts of one scrape, as the synthetic series show them.
type counts struct {
	scraped     int     // samples in the body
	kept        int     // of those, left by metric relabelling
	stored      int     // of those, that the storage took
	seriesAdded int     // of those left, not in the scrape before
	bytes       int     // of the body; -1 above the limit
	refused     refused // series
	stamped     bool    // a sample that was stored has a timestamp of its own

	outOfBounds map[string]int64 // timestamps that the storage refused, by series name
}

// appending is the work of putting one body into one appender.
type appending struct {
	loop     *loop
	deadline time.Time
	app      limitedAppender
	parser   textparse.Parser
	builder  *labels.Builder
	counts   counts
	defTime  int64    // ms
	parsed   []uint32 // samples by number of their name
	seekST   bool     // look for start timestamps

	decisions *names.Decisions
	findings  names.Findings
	skipped   *body.Skipped // nil if the body is not made of lines

	family *names.Family // whose metadata was read last
	member member

	// Of the series read last that was not in the cache: its hash as it is exposed, and
	// whether the job would give it to another namespace than its own.
	exposed uint64
	foreign bool

	handedName string // the last name that the job's sink was asked about
	wanted     bool   // whether the sink wants it

	// Fields, because the parser makes them escape.
	lset      labels.Labels
	exemplar  exemplar.Exemplar
	exemplars []exemplar.Exemplar

	limitErr error // the limit met first, unless the sample limit is met later
	rejected [rejections]int
}

// What the storage may reject.
const (
	outOfOrder = iota
	duplicate
	outOfBounds
	exemplarOutOfOrder
	rejections // their number
)

// rejectionName is the name of a rejection in metrics and in the log.
func rejectionName(i int) string {
	return [rejections]string{"out_of_order", "duplicate", "out_of_bounds", "exemplar_out_of_order"}[i]
}

// member is the last name that was found to belong to a family, and what that means
// for its series.
type member struct {
	number   uint32
	family   *names.Family
	name     string // of the family
	metadata metadata.Metadata
}

// appendBody puts a body into app and marks the series that left it as stale. An
// empty body only does the latter: that is how failed scrapes and the end of a
// target are recorded. On an error the caller rolls app back.
func (l *loop) appendBody(app storage.AppenderV2, got body.Answer, ts, deadline time.Time) (counts, error) {
	defTime := timestamp.FromTime(ts)
	if got.Empty() {
		err := l.appendStale(app, defTime)
		l.endLeft()
		l.cache.done(false)
		l.families.Done(false, nil)
		return counts{}, err
	}
	parser, err := l.parserFor(got)
	if err != nil {
		return counts{}, err
	}
	if ts.Sub(l.origin.now.Load().LastScrape) > lostIntervals*l.targetSettings.interval {
		l.origin.goodSince.Store(defTime)
	}
	// The counts of skipped lines are by the numbers of their decisions.
	decisions := cmp.Or(got.Decisions(), l.settings.names.Decisions())
	l.renumber(decisions)
	l.giveBack(decisions)
	now, minTime := l.manager.opts.Now(), int64(math.MinInt64)
	if age := l.manager.opts.MaxSampleAge; age > 0 {
		minTime = timestamp.FromTime(now.Add(-age))
	}
	a := &appending{
		loop:      l,
		deadline:  deadline,
		parser:    parser,
		seekST:    l.settings.parseST && got.StartTimestampsEnd(),
		decisions: decisions,
		findings:  decisions.Findings(),
		parsed:    make([]uint32, decisions.Numbers()),
		skipped:   got.Skipped(),
		builder:   labels.NewBuilderWithSymbolTable(l.settings.symbols),
		defTime:   defTime,
		app: limitedAppender{
			AppenderV2: app,
			limits:     &l.settings.limits,
			minTime:    minTime,
			maxTime:    timestamp.FromTime(now.Add(maxAhead)),
		},
	}
	err = a.all()
	if _, ok := errors.AsType[*reason.ParseError](err); ok {
		err = got.Locate(err)
	}
	if err == nil {
		err = a.limitErr
	}
	if err == nil {
		err = l.appendStale(&a.app, defTime)
	}
	a.logRejected()
	a.countSkipped()
	if err != nil {
		return a.counts, err
	}
	l.endLeft()
	l.cache.done(true)
	l.series = l.settings.names.Learn(a.findings, l.series, a.parsed)
	l.families.Done(true, l.settings.names.Decisions().KeepFamily)
	l.countRefused(a.counts.refused)
	return a.counts, nil
}

// renumber puts the current numbers of names into the cache if numbers have been given
// to other names.
func (l *loop) renumber(d *names.Decisions) {
	if l.numbers == d.Generation {
		return
	}
	l.numbers = d.Generation
	for i := range l.cache.entries {
		if e := &l.cache.entries[i]; e.ref != 0 {
			e.number = l.settings.names.Number(e.lset, metadata.Metadata{Type: model.MetricTypeUnknown})
		}
	}
	l.cache.dropped, l.cache.droppedSeen = nil, 0
}

// countSkipped adds the skipped samples to the counts.
func (a *appending) countSkipped() {
	if a.skipped == nil {
		return
	}
	a.counts.scraped += a.skipped.Samples
	a.counts.kept += a.skipped.Kept
	for i, n := range a.skipped.Numbers {
		if i == names.NoName || n == 0 {
			continue
		}
		a.count(uint32(i), n) //nolint:gosec // Not above the limit on names.
		before := uint32(0)
		if i < len(a.loop.series) {
			before = a.loop.series[i]
		}
		// It is not known which series are new, only how many more there are.
		a.counts.seriesAdded += int(max(a.parsed[i], before) - before)
	}
}

// count adds n samples of the name with a number.
func (a *appending) count(number, n uint32) {
	if int(number) >= len(a.parsed) {
		a.parsed = append(a.parsed, make([]uint32, int(number)+1-len(a.parsed))...)
	}
	a.parsed[number] += n
}

// parserFor makes the parser, unless it would not survive the body.
func (l *loop) parserFor(got body.Answer) (textparse.Parser, error) {
	if err := got.Check(); err != nil {
		return nil, err
	}
	parser, err := textparse.New(got.Bytes(), got.ContentType, l.settings.symbols, textparse.ParserOptions{
		IgnoreNativeHistograms:                  !l.targetSettings.nativeHistograms,
		ConvertClassicHistogramsToNHCB:          l.targetSettings.convertToNHCB,
		KeepClassicOnClassicAndNativeHistograms: l.targetSettings.alwaysClassic,
		OpenMetricsSkipSTSeries:                 l.settings.parseST,
		FallbackContentType:                     got.FallbackType,
	})
	if parser == nil {
		return nil, err
	}
	// With a parser the error only says that the fallback was needed.
	return parser, nil
}

// all reads the body to its end.
func (a *appending) all() error {
	families := a.loop.families
	for {
		entry, err := a.parser.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &reason.ParseError{Err: err}
		}
		switch entry {
		case textparse.EntryType:
			name, typ := a.parser.Type()
			a.setFamily(name, families.SetType(name, typ))
		case textparse.EntryHelp:
			name, help := a.parser.Help()
			a.setFamily(name, families.SetHelp(name, help))
		case textparse.EntryUnit:
			name, unit := a.parser.Unit()
			a.setFamily(name, families.SetUnit(name, unit))
		case textparse.EntrySeries, textparse.EntryHistogram:
			if err := a.inTime(); err != nil {
				return err
			}
			if err := a.sample(entry == textparse.EntryHistogram); err != nil {
				return err
			}
		}
	}
}

// setFamily sets the family whose metadata was read last; nil if there was no room for it.
func (a *appending) setFamily(name []byte, f *names.Family) {
	a.family = f
	a.member = member{} // Its family's metadata may have changed.
	if a.skipped != nil {
		a.findings.Family(name)
	}
}

// inTime returns an error once the scrape's deadline has passed.
func (a *appending) inTime() error {
	// The search for a start timestamp may go through the rest of the body.
	if !a.seekST && a.counts.scraped%checkEvery != 0 {
		return nil
	}
	if time.Now().Before(a.deadline) {
		return nil
	}
	return fmt.Errorf("timed out after %s with %d samples of the body parsed: %w", a.loop.targetSettings.timeout, a.counts.scraped, context.DeadlineExceeded)
}

// logRejected counts the samples that the storage rejected, and logs a change of the
// reasons.
func (a *appending) logRejected() {
	var which uint8
	var attrs []any
	for i, n := range a.rejected {
		if n > 0 {
			a.loop.manager.metrics.rejected.WithLabelValues(rejectionName(i)).Add(float64(n))
			attrs = append(attrs, slog.Int(rejectionName(i), n))
			which |= 1 << i
		}
	}
	if which != a.loop.rejected && which != 0 {
		a.loop.log(slog.LevelWarn, "samples rejected", attrs...)
	}
	a.loop.rejected = which
}

// appendStale writes stale markers for the series that are gone.
func (l *loop) appendStale(app storage.AppenderV2, t int64) error {
	marker := math.Float64frombits(value.StaleNaN)
	for ref, lset := range l.cache.stale() {
		_, err := app.Append(ref, lset, 0, t, marker, nil, nil, storage.AOptions{RejectOutOfOrder: true})
		// Another loop may have written the series since. Without room for the marker, the
		// storage does not have the series any more.
		if err != nil && !errors.Is(err, storage.ErrOutOfOrderSample) && !errors.Is(err, storage.ErrDuplicateSampleForTimestamp) && !errors.Is(err, seriesroom.ErrFull) {
			return fmt.Errorf("write stale marker: %w", err)
		}
	}
	return nil
}
