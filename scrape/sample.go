package scrape

import (
	"errors"
	"fmt"
	"slices"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/storage"
)

// sampleData is one sample as the parser gives it.
type sampleData struct {
	explicit bool // the timestamp is the body's
	t        int64
	v        float64
	h        *histogram.Histogram
	fh       *histogram.FloatHistogram
}

// read takes the sample the parser stands at. text is good until its Next.
func (a *appending) read(isHistogram bool) (text []byte, s sampleData) {
	var ts *int64
	if isHistogram {
		text, ts, s.h, s.fh = a.parser.Histogram()
	} else {
		text, ts, s.v = a.parser.Series()
	}
	s.t = a.defTime
	if ts != nil && a.honorTimestamps {
		s.t, s.explicit = *ts, true
	}
	return text, s
}

// sample handles the sample the parser stands at. An error ends the scrape.
func (a *appending) sample(isHistogram bool) error {
	a.counts.scraped++
	text, s := a.read(isHistogram)
	key := a.cache.key(text)
	if a.dropped(key) {
		return nil
	}
	var ref storage.SeriesRef
	var number uint32
	place, again := a.cache.get(key)
	cached := place != none
	if cached {
		e := &a.cache.entries[place]
		ref, a.lset, number = e.ref, e.lset, e.number
		a.count(number, 1)
		if a.onDemand && a.need(number) == unread {
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
			return fmt.Errorf("parser gives no histogram for %s (a bug)", excerptOf(text))
		}
		ref, err = a.app.Append(ref, a.lset, a.startTimestamp(), s.t, s.v, s.h, s.fh, a.options(s, isHistogram, number))
	}
	added, err := a.judge(err)
	if err != nil {
		return fmt.Errorf("append %s: %w", excerptOf(text), err)
	}
	if added {
		a.counts.stored++
		a.remember(key, place, cached, ref, number, s)
	}
	// Also of samples that were not taken: it counts what relabelling left.
	a.counts.kept++
	return nil
}

// relabelled puts the labels that a series not in the cache is to be stored under
// into a.lset, and tells whether relabelling leaves it.
func (a *appending) relabelled() (kept bool, err error) {
	a.parser.Labels(&a.lset)
	a.exposed = a.lset.Hash()
	if l := a.limits.labels; l > 0 && a.lset.Len() > labelGuard*l {
		return false, a.limits.checkLabels(a.lset)
	}
	a.lset = seriesLabels(a.builder, a.lset, a.target, a.settings)
	if a.lset.IsEmpty() {
		return false, nil
	}
	if !a.lset.Has(model.MetricNameLabel) {
		return false, errors.New("missing metric name (__name__ label) after metric relabelling")
	}
	if !a.lset.IsValid(a.validation) {
		return false, fmt.Errorf("invalid metric name or label names: %s", excerptOf([]byte(a.lset.String())))
	}
	return true, a.limits.checkLabels(a.lset)
}

func (a *appending) startTimestamp() int64 {
	if !a.seekST {
		return 0
	}
	return a.parser.StartTimestamp()
}

// options are what goes to the storage beside the sample.
func (a *appending) options(s sampleData, isHistogram bool, number uint32) storage.AOptions {
	var opts storage.AOptions
	if a.readExemplars(s.t, isHistogram); len(a.exemplars) > 0 {
		opts.Exemplars = a.exemplars
	}
	if a.fam == nil {
		return opts
	}
	if m := &a.member; number == noName || number != m.number || a.fam != m.fam {
		name := a.fam.name.Value()
		if !inFamily(a.lset.Get(model.MetricNameLabel), name, a.fam.typ) {
			// The series after this one will not belong to it either.
			a.fam = nil
			return opts
		}
		*m = member{number: number, fam: a.fam, name: name, metadata: a.fam.metadata()}
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
			// Without a time those of native histograms cannot be told from those
			// of the scrape before.
			if isHistogram {
				continue
			}
			e.Ts = t
		}
		a.exemplars = append(a.exemplars, *e)
	}
	slices.SortFunc(a.exemplars, exemplar.Compare)
}

// judge sorts out what the storage said to a sample: whether it was taken, and
// whether the scrape has to end.
func (a *appending) judge(err error) (added bool, fatal error) {
	switch {
	case err == nil:
		return true, nil
	case limitOf(err) != "":
		// Go on, to report the right number of samples.
		if a.limitErr == nil {
			a.limitErr = err
		}
		if a.sampleErr == nil && limitOf(err) == "sample" {
			a.sampleErr = err
		}
		return false, nil
	case errors.Is(err, storage.ErrOutOfOrderSample):
		a.outOfOrder++
		return false, nil
	case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
		a.duplicate++
		return false, nil
	case errors.Is(err, storage.ErrOutOfBounds):
		a.outOfBound++
		return false, nil
	}
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
	// When only some are, the others were new: nothing is wrong.
	if n == len(a.exemplars) {
		a.badExempl += n
	}
	return true, nil
}

// source notes where the series in a.lset comes from, whose first sample has the time t.
func (a *appending) source(t int64) {
	since := a.since(a.lset.Get(model.MetricNameLabel), a.defTime)
	if since >= a.defTime {
		since = t
	}
	a.manager.sources.add(a.lset, a.origin, a.before, a.exposed, t, since)
}

// remember keeps a stored series for the next scrape.
func (a *appending) remember(key textKey, place int32, cached bool, ref storage.SeriesRef, number uint32, s sampleData) {
	if cached {
		// The storage gives a new reference when it had dropped the series.
		if ref != 0 {
			a.cache.entries[place].ref = ref
		}
	} else {
		place = a.cache.add(key, ref, a.lset, number)
		if place != none {
			a.source(s.t)
		}
		if a.limitErr == nil {
			a.counts.seriesAdded++
		}
	}
	if place == none || a.cache.entries[place].ref == 0 {
		return
	}
	// With timestamps of its own a series ends when it says so.
	if !s.explicit || a.trackTimestamps {
		a.cache.track(place)
	}
}
