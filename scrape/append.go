package scrape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
)

const (
	// maxAhead is how far in the future a sample may be.
	maxAhead = 10 * time.Minute
	// checkEvery is after how many samples the deadline is looked at.
	checkEvery = 256
	// lostIntervals is for how many intervals without a successful scrape a target is still known: what it
	// exposes after that has not begun just then.
	lostIntervals = 2
	// labelGuard times the label limit is where a series is refused before
	// relabelling, whose cost grows with the square of the number of labels.
	labelGuard = 10
)

// counts of one scrape, as the synthetic series show them.
type counts struct {
	scraped     int        // samples in the body
	kept        int        // of those, left by metric relabelling
	stored      int        // of those, that the storage took
	seriesAdded int        // of those left, not in the scrape before
	bytes       int        // of the body; -1 above the limit
	refused     [needs]int // series, for lack of room
}

// appending is the work of putting one body into one appender.
type appending struct {
	*loop
	deadline time.Time
	app      limitedAppender
	parser   textparse.Parser
	builder  *labels.Builder
	counts   counts
	defTime  int64 // ms
	view     *view
	lesson   lesson
	parsed   []uint32 // samples by number of their name
	seekST   bool     // start timestamps are to be found
	skipped  *skippedLines

	fam    *family // metadata read last
	member member

	exposed uint64 // hash of the series read last that was not in the cache, as it is exposed

	line lineName // of the series read last that was not in the cache

	// Fields, because the parser makes them escape.
	lset      labels.Labels
	exemplar  exemplar.Exemplar
	exemplars []exemplar.Exemplar

	limitErr   error // the first sample or bucket limit met
	sampleErr  error // of those, the sample limit, which goes first
	outOfOrder int
	duplicate  int
	outOfBound int
	badExempl  int
}

// member is the last name that was found to belong to a family, and what that means
// for its series.
type member struct {
	number   uint32
	fam      *family
	name     string
	metadata metadata.Metadata
}

// appendBody puts a body into app and marks the series that left it as stale. An
// empty body only does the latter: that is how failed scrapes and the end of a
// target are recorded. On an error the caller rolls app back.
func (l *loop) appendBody(app storage.AppenderV2, got fetched, ts, deadline time.Time) (counts, error) {
	b, contentType := got.body.buf, got.contentType
	defTime := timestamp.FromTime(ts)
	if got.empty() {
		err := l.appendStale(app, defTime)
		l.cache.done(false)
		l.metadata.done(false, nil)
		return counts{}, err
	}
	parser, err := l.parserFor(b, contentType)
	if err != nil {
		return counts{}, err
	}
	if ts.Sub(l.origin.now.Load().LastScrape) > lostIntervals*l.interval {
		l.origin.goodSince.Store(defTime)
	}
	view := l.names.current.Load()
	l.renumber(view)
	a := &appending{
		loop:     l,
		deadline: deadline,
		parser:   parser,
		seekST:   l.parseST && startTimestampsEnd(b, contentType, l.fallbackType),
		view:     view,
		parsed:   make([]uint32, len(view.needs)),
		skipped:  got.skipped(),
		builder:  labels.NewBuilderWithSymbolTable(l.symbols),
		defTime:  defTime,
		app: limitedAppender{
			AppenderV2: app,
			limits:     &l.limits,
			maxTime:    timestamp.FromTime(time.Now().Add(maxAhead)),
		},
	}
	err = a.all()
	if _, ok := errors.AsType[*parseError](err); ok {
		err = located(err, b, contentType, l.fallbackType, a.skipped)
	}
	if err == nil {
		err = a.limitError()
	}
	if err == nil {
		err = l.appendStale(&a.app, defTime)
	}
	a.logRejected()
	a.countSkipped()
	if err != nil {
		return a.counts, err
	}
	l.cache.done(true)
	l.series = l.names.learn(a.lesson, l.series, a.parsed, a.view.generation)
	l.metadata.done(true, l.names.metadataOfUse())
	l.countRefused(a.counts.refused)
	return a.counts, nil
}

// countSkipped adds what has been skipped to the counts.
func (a *appending) countSkipped() {
	if a.skipped == nil {
		return
	}
	a.counts.scraped += a.skipped.samples
	a.counts.kept += a.skipped.kept
	for i, n := range a.skipped.numbers {
		if i == noName || n == 0 {
			continue
		}
		a.count(uint32(i), n) //nolint:gosec // Not above maxNames.
		before := uint32(0)
		if i < len(a.series) {
			before = a.series[i]
		}
		// Which of them are new is not known, but how many more there are.
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

// parserFor checks what parsers do not survive and makes the parser.
func (l *loop) parserFor(b []byte, contentType string) (textparse.Parser, error) {
	if err := checkBody(b, contentType, l.fallbackType); err != nil {
		return nil, err
	}
	parser, err := textparse.New(b, contentType, l.symbols, textparse.ParserOptions{
		IgnoreNativeHistograms:                  !l.nativeHistograms,
		ConvertClassicHistogramsToNHCB:          l.convertToNHCB,
		KeepClassicOnClassicAndNativeHistograms: l.alwaysClassic,
		OpenMetricsSkipSTSeries:                 l.parseST,
		FallbackContentType:                     l.fallbackType,
	})
	if parser == nil {
		return nil, err
	}
	// With a parser the error only says that the fallback was needed.
	return parser, nil
}

// all reads the body to its end.
func (a *appending) all() error {
	for {
		entry, err := a.parser.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &parseError{err: err}
		}
		switch entry {
		case textparse.EntryType:
			name, typ := a.parser.Type()
			a.fam = a.metadata.setType(name, typ)
			a.learnFamily(name)
		case textparse.EntryHelp:
			name, help := a.parser.Help()
			a.fam = a.metadata.setHelp(name, help)
			a.learnFamily(name)
		case textparse.EntryUnit:
			name, unit := a.parser.Unit()
			a.fam = a.metadata.setUnit(name, unit)
			a.learnFamily(name)
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

// inTime is an error once the scrape's deadline has passed.
func (a *appending) inTime() error {
	// Looking for a start timestamp may go through the rest of the body.
	if !a.seekST && a.counts.scraped%checkEvery != 0 {
		return nil
	}
	if time.Now().Before(a.deadline) {
		return nil
	}
	return fmt.Errorf("timed out after %s with %d samples of the body parsed: %w", a.timeout, a.counts.scraped, context.DeadlineExceeded)
}

// limitError is the limit the scrape has met, the one on samples first.
func (a *appending) limitError() error {
	if a.sampleErr != nil {
		return a.sampleErr
	}
	return a.limitErr
}

// logRejected counts and logs the samples that the storage did not take.
func (a *appending) logRejected() {
	rejected := []struct {
		reason string
		n      int
	}{
		{"out_of_order", a.outOfOrder},
		{"duplicate", a.duplicate},
		{"out_of_bounds", a.outOfBound},
		{"exemplar_out_of_order", a.badExempl},
	}
	var which uint8
	var attrs []any
	for i, r := range rejected {
		if r.n > 0 {
			a.metrics.rejected.WithLabelValues(r.reason).Add(float64(r.n))
			attrs = append(attrs, slog.Int(r.reason, r.n))
			which |= 1 << i
		}
	}
	if which != a.rejects && which != 0 {
		a.log(slog.LevelWarn, "samples rejected", attrs...)
	}
	a.rejects = which
}

// appendStale writes stale markers for the series that are gone.
func (l *loop) appendStale(app storage.AppenderV2, t int64) error {
	marker := math.Float64frombits(value.StaleNaN)
	for ref, lset := range l.cache.stale() {
		_, err := app.Append(ref, lset, 0, t, marker, nil, nil, storage.AOptions{RejectOutOfOrder: true})
		// Another loop may have written the series since.
		if err != nil && !errors.Is(err, storage.ErrOutOfOrderSample) && !errors.Is(err, storage.ErrDuplicateSampleForTimestamp) {
			return fmt.Errorf("write stale marker: %w", err)
		}
	}
	return nil
}
