package scrape

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/storage"

	"github.com/promlet/promlet/scrape/internal/names"
	"github.com/promlet/promlet/scrape/internal/reason"
	"github.com/promlet/promlet/scrape/seriesroom"
	"github.com/promlet/promlet/scrape/sink"
)

// sampleData is one sample as the parser gives it.
type sampleData struct {
	explicit bool // the timestamp is the body's
	t        int64
	v        float64
	h        *histogram.Histogram
	fh       *histogram.FloatHistogram
}

// buckets returns how many buckets the sample has.
func (s *sampleData) buckets() int {
	switch {
	case s.h != nil:
		return len(s.h.PositiveBuckets) + len(s.h.NegativeBuckets)
	case s.fh != nil:
		return len(s.fh.PositiveBuckets) + len(s.fh.NegativeBuckets)
	}
	return 0
}

// read takes the sample that the parser is at. text is good until the parser's Next.
func (a *appending) read(isHistogram bool) (text []byte, s sampleData) {
	var ts *int64
	if isHistogram {
		text, ts, s.h, s.fh = a.parser.Histogram()
	} else {
		text, ts, s.v = a.parser.Series()
	}
	s.t = a.defTime
	if ts != nil && a.loop.settings.honorTimestamps {
		s.t, s.explicit = *ts, true
	}
	return text, s
}

// sample handles the sample that the parser is at. An error ends the scrape.
func (a *appending) sample(isHistogram bool) error {
	a.counts.scraped++
	text, s := a.read(isHistogram)
	if a.loop.settings.sink != nil && !isHistogram {
		if err := a.hand(text, s); err != nil {
			return err
		}
	}
	cache := a.loop.cache
	key := cache.key(text)
	if a.dropped(key) {
		return nil
	}
	var ref storage.SeriesRef
	var number uint32
	place, again := cache.get(key)
	cached := place != none
	if cached {
		e := &cache.entries[place]
		ref, a.lset, number = e.ref, e.lset, e.number
		a.count(number, 1)
		if a.loop.settings.onDemand && a.need(number) == names.Unread {
			a.counts.kept++
			return nil
		}
	} else {
		store, err := a.newSeries(key, text, &number)
		if err != nil || !store {
			return err
		}
	}

	var err error
	if again && !s.explicit {
		err = storage.ErrDuplicateSampleForTimestamp
	} else {
		if isHistogram && s.h == nil && s.fh == nil {
			return fmt.Errorf("parser gives no histogram for %s (a bug)", reason.Excerpt(text))
		}
		ref, err = a.app.Append(ref, a.lset, a.startTimestamp(), s.t, s.v, s.h, s.fh, a.options(s, isHistogram, number))
	}
	if err != nil && errors.Is(err, seriesroom.ErrFull) {
		a.refuse(a.need(number))
		return nil
	}
	if errors.Is(err, storage.ErrOutOfBounds) {
		a.noteOutOfBounds(s.t)
	}
	added, err := a.classify(err)
	if err != nil {
		return fmt.Errorf("append %s: %w", reason.Excerpt(text), err)
	}
	if added {
		a.counts.stored++
		a.counts.stamped = a.counts.stamped || s.explicit
		a.remember(key, place, cached, ref, number, s)
	}
	// Samples that were not taken count as well: this is what relabelling left.
	a.counts.kept++
	return nil
}

// hand keeps the current sample of the parser for the job's sink, if the sink wants it. An error
// ends the scrape.
func (a *appending) hand(text []byte, s sampleData) error {
	l := a.loop
	// Only in bodies made of lines does the text begin with the name.
	if a.skipped != nil && !a.hands(names.LineName(text)) {
		return nil
	}
	a.parser.Labels(&a.lset)
	name := a.lset.Get(model.MetricNameLabel)
	if !a.hands([]byte(name)) {
		return nil
	}
	if twice, found := a.lset.HasDuplicateLabelNames(); found {
		return fmt.Errorf("label %s is given twice in %s", reason.Excerpt([]byte(twice)), reason.Excerpt(text))
	}
	if !a.lset.IsValid(l.settings.validation) {
		return fmt.Errorf("invalid metric name or label names: %s", reason.Excerpt([]byte(a.lset.String())))
	}
	if err := l.settings.limits.checkLabels(a.lset); err != nil {
		return err
	}
	if s.t > a.app.maxTime {
		a.noteOutOfBounds(s.t)
		return nil
	}
	if limit := l.settings.limits.samples; limit > 0 && len(l.handed) >= limit {
		a.limitErr = reason.Limitf("sample", "sample_limit exceeded (limit: %d)", limit)
		return nil
	}
	if l.handed == nil {
		l.handed = make([]sink.Sample, 0, l.handedBefore)
	}
	l.handed = append(l.handed, sink.Sample{Labels: a.lset, Value: s.v, Time: timestamp.Time(s.t), Explicit: s.explicit})
	return nil
}

// hands reports whether the job's sink wants the samples of a name. It caches the last name, which most often comes again.
func (a *appending) hands(name []byte) bool {
	if string(name) != a.handedName {
		a.handedName, a.wanted = string(name), a.loop.settings.hands(name)
	}
	return a.wanted
}

// dropped reports whether the cache knows that a series is not stored, and counts it.
func (a *appending) dropped(key textKey) bool {
	d, ok := a.loop.cache.drop(key)
	if !ok {
		return false
	}
	if !d.unread {
		return true
	}
	if n, known := a.decisions.Need(d.number); !known || n != names.Unread {
		a.loop.cache.undrop(key)
		return false
	}
	a.count(d.number, 1)
	a.counts.kept++
	return true
}

// need returns how much the series in a.lset is needed. number is that of its name.
func (a *appending) need(number uint32) names.Need { return a.decisions.NeedOf(number, a.lset) }

// newSeries handles a series that is not in the cache. It puts the labels that the
// series is stored under into a.lset and the number of its name into number, notes
// its name in the findings, and reports whether to store it.
func (a *appending) newSeries(key textKey, text []byte, number *uint32) (store bool, err error) {
	kept, err := a.relabelled()
	if err != nil {
		return false, err
	}
	// filtered: the next lines of that name are skipped if nobody reads them.
	var outcome names.Outcome
	filtered := false
	if a.skipped != nil {
		name := names.LineName(text)
		outcome, filtered = a.findings.Line(name)
		filtered = filtered && !outcome.Depends && !a.loop.settings.hands(name)
	}
	if !kept {
		if !filtered || !outcome.Dropped {
			a.loop.cache.addDropped(key, names.NoName, false)
		}
		return false, nil
	}
	*number = a.loop.settings.names.Number(a.lset, a.familyMetadata())
	a.count(*number, 1)
	n := a.need(*number)
	if a.loop.settings.onDemand && n == names.Unread {
		a.counts.kept++
		a.counts.seriesAdded++
		if !filtered && *number != names.NoName {
			a.loop.cache.addDropped(key, *number, true)
		}
		return false, nil
	}
	if a.loop.room.Admit(a.lset, n, a.storedRef) {
		return true, nil
	}
	a.refuse(n)
	return false, nil
}

// relabelled puts the labels that a series not in the cache is stored under into
// a.lset. It reports whether relabelling keeps the series.
func (a *appending) relabelled() (kept bool, err error) {
	s := a.loop.settings
	a.parser.Labels(&a.lset)
	a.exposed = a.lset.Hash()
	if l := s.limits.labels; l > 0 && a.lset.Len() > labelGuard*l {
		return false, s.limits.checkLabels(a.lset)
	}
	a.lset, a.foreign = seriesLabels(a.builder, a.lset, a.loop.target, s)
	if a.lset.IsEmpty() {
		return false, nil
	}
	if !a.lset.Has(model.MetricNameLabel) {
		return false, errors.New("missing metric name (__name__ label) after metric relabelling")
	}
	if !a.lset.IsValid(s.validation) {
		return false, fmt.Errorf("invalid metric name or label names: %s", reason.Excerpt([]byte(a.lset.String())))
	}
	return true, s.limits.checkLabels(a.lset)
}

// familyMetadata returns the metadata of the series in a.lset.
func (a *appending) familyMetadata() metadata.Metadata {
	if a.family == nil || !a.family.Has(a.lset.Get(model.MetricNameLabel)) {
		return metadata.Metadata{Type: model.MetricTypeUnknown}
	}
	return a.family.Metadata()
}

func (a *appending) startTimestamp() int64 {
	if !a.seekST {
		return 0
	}
	return a.parser.StartTimestamp()
}

// options returns what goes to the storage beside the sample.
func (a *appending) options(s sampleData, isHistogram bool, number uint32) storage.AOptions {
	var opts storage.AOptions
	if a.readExemplars(s.t, isHistogram); len(a.exemplars) > 0 {
		opts.Exemplars = a.exemplars
	}
	if a.family == nil {
		return opts
	}
	if m := &a.member; number == names.NoName || number != m.number || a.family != m.family {
		if !a.family.Has(a.lset.Get(model.MetricNameLabel)) {
			// The series after this one will not belong to it either.
			a.family = nil
			return opts
		}
		*m = member{number: number, family: a.family, name: a.family.Name(), metadata: a.family.Metadata()}
	}
	opts.MetricFamilyName = a.member.name
	opts.Metadata = a.member.metadata
	return opts
}

// readExemplars reads the sample's exemplars into a.exemplars, by time.
func (a *appending) readExemplars(t int64, isHistogram bool) {
	a.exemplars = a.exemplars[:0]
	for ; a.parser.Exemplar(&a.exemplar); a.exemplar = (exemplar.Exemplar{}) {
		e := &a.exemplar
		if !e.HasTs {
			// Exemplars of native histograms are repeated from scrape to scrape, and only
			// their times tell old ones from new ones.
			if isHistogram {
				continue
			}
			e.Ts = t
		}
		a.exemplars = append(a.exemplars, *e)
	}
	slices.SortFunc(a.exemplars, exemplar.Compare)
}

// noteOutOfBounds records the refused timestamp of a sample of the series in a.lset.
func (a *appending) noteOutOfBounds(t int64) {
	if a.counts.outOfBounds == nil {
		a.counts.outOfBounds = map[string]int64{}
	}
	name := a.lset.Get(model.MetricNameLabel)
	if _, known := a.counts.outOfBounds[name]; !known && len(a.counts.outOfBounds) < maxOutOfBounds {
		a.counts.outOfBounds[strings.Clone(name)] = t
	}
}

// classify sorts the storage's answer to a sample: whether the sample was added, and
// whether the scrape has to end.
func (a *appending) classify(err error) (added bool, fatal error) {
	if err == nil {
		return true, nil
	}
	limit := reason.LimitOf(err)
	switch {
	case limit != "":
		// Go on, to report the right number of samples.
		if a.limitErr == nil || limit == "sample" {
			a.limitErr = err
		}
	case errors.Is(err, storage.ErrOutOfOrderSample):
		a.rejected[outOfOrder]++
	case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
		a.rejected[duplicate]++
	case errors.Is(err, storage.ErrOutOfBounds):
		a.rejected[outOfBounds]++
	default:
		partial, ok := errors.AsType[*storage.AppendPartialError](err)
		if !ok {
			return false, err
		}
		n := 0
		for _, e := range partial.ExemplarErrors {
			if errors.Is(e, storage.ErrOutOfOrderExemplar) {
				n++
			}
		}
		// When only some are out of order, the others were new: nothing is wrong.
		if n == len(a.exemplars) {
			a.rejected[exemplarOutOfOrder] += n
		}
		return true, nil
	}
	return false, nil
}

// addSource notes where the series in a.lset comes from. t is the time of its first sample.
func (a *appending) addSource(t int64) {
	l := a.loop
	since := l.since(a.lset.Get(model.MetricNameLabel), a.defTime)
	if since >= a.defTime {
		since = t
	}
	l.manager.sources.add(a.lset, l.origin, l.oldOrigin, a.exposed, t, since)
}

// remember keeps a stored series for the next scrape.
func (a *appending) remember(key textKey, place int32, cached bool, ref storage.SeriesRef, number uint32, s sampleData) {
	cache := a.loop.cache
	if cached {
		// The storage gives a new reference when it had dropped the series.
		if e := &cache.entries[place]; ref != 0 && (ref != e.ref || s.h != nil || s.fh != nil) {
			e.ref = ref
			a.loop.room.Claim(ref, a.lset, s.buckets())
		}
	} else {
		place = cache.add(key, ref, a.lset, number)
		a.loop.room.Claim(ref, a.lset, s.buckets())
		if place != none {
			a.addSource(s.t)
			a.loop.foreign.add(a.lset, a.foreign)
		}
		if a.limitErr == nil {
			a.counts.seriesAdded++
		}
	}
	if place == none || cache.entries[place].ref == 0 {
		return
	}
	// A series with timestamps of its own ends when it says so.
	if !s.explicit || a.loop.settings.trackTimestamps {
		cache.track(place)
	}
}
