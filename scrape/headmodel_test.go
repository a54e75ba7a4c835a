package scrape

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// headModel accepts and rejects samples and exemplars as the head of a TSDB does, and keeps
// only the last of each series. It is for tests that need thousands of storages.
type headModel struct {
	outOfOrder int64 // window, ms
	// refsLast is for how long references are good; 0 is for ever. A head that
	// drops series and makes them again gives them new references.
	refsLast time.Duration

	mu      sync.Mutex
	byLset  map[string]*headSeries
	byID    []*headSeries // by reference - 1, without the epoch
	maxTime int64         // ms
}

type headSeries struct {
	id   storage.SeriesRef
	last *headSample
	exem *exemplar.Exemplar
}

type headSample struct {
	t  int64 // ms
	v  float64
	h  *histogram.Histogram
	fh *histogram.FloatHistogram
}

// same reports whether the other sample has the same value.
func (s *headSample) same(o *headSample) bool {
	switch {
	case s.h != nil || o.h != nil:
		return s.h != nil && o.h != nil && s.h.Equals(o.h)
	case s.fh != nil || o.fh != nil:
		return s.fh != nil && o.fh != nil && s.fh.Equals(o.fh)
	}
	return math.Float64bits(s.v) == math.Float64bits(o.v)
}

func newHeadModel(outOfOrder, refsLast time.Duration) *headModel {
	return &headModel{outOfOrder: outOfOrder.Milliseconds(), refsLast: refsLast, byLset: map[string]*headSeries{}, maxTime: math.MinInt64}
}

const (
	epochBits = 32
	// tooOld is half a block of newTSDB's.
	tooOld = 12 * time.Hour
)

// epoch is a part of all references.
func (m *headModel) epoch() storage.SeriesRef {
	if m.refsLast == 0 {
		return 0
	}
	return storage.SeriesRef(time.Now().UnixNano()/int64(m.refsLast)) << epochBits //nolint:gosec // Not negative.
}

// series finds the series, or makes it.
func (m *headModel) series(ref storage.SeriesRef, ls labels.Labels) (*headSeries, error) {
	id := ref & (1<<epochBits - 1)
	if id > 0 && ref-id == m.epoch() && int(id) <= len(m.byID) { //nolint:gosec // Small.
		return m.byID[id-1], nil
	}
	ls = ls.WithoutEmpty()
	if ls.IsEmpty() {
		return nil, errors.New("empty labelset: invalid sample")
	}
	if name, twice := ls.HasDuplicateLabelNames(); twice {
		return nil, fmt.Errorf("label name %q is not unique: invalid sample", name)
	}
	key := ls.String()
	s := m.byLset[key]
	if s == nil {
		s = &headSeries{id: storage.SeriesRef(len(m.byID) + 1)}
		m.byLset[key] = s
		m.byID = append(m.byID, s)
	}
	return s, nil
}

// check returns why the series rejects the sample, nil if it does not.
func (m *headModel) check(s *headSeries, x *headSample, inOrder bool) error {
	oldest := int64(math.MinInt64)
	if m.maxTime != oldest {
		oldest = m.maxTime - tooOld.Milliseconds()
	}
	if m.outOfOrder == 0 && x.t < oldest {
		return storage.ErrOutOfBounds
	}
	if x.t >= oldest {
		switch {
		case s.last == nil, x.t > s.last.t:
			return nil
		case x.t == s.last.t && x.same(s.last):
			return nil
		case x.t == s.last.t:
			return storage.ErrDuplicateSampleForTimestamp
		}
	}
	switch {
	case m.outOfOrder == 0, inOrder:
		return storage.ErrOutOfOrderSample
	case x.t < m.maxTime-m.outOfOrder:
		return storage.ErrTooOldSample
	}
	return nil
}

func (s *headSeries) checkExemplar(e *exemplar.Exemplar) error {
	n := 0
	e.Labels.Range(func(l labels.Label) { n += utf8.RuneCountInString(l.Name) + utf8.RuneCountInString(l.Value) })
	switch {
	case n > exemplar.ExemplarMaxLabelSetLength:
		return storage.ErrExemplarLabelLength
	case s.exem == nil, s.exem.Equals(*e):
		return nil
	case e.Ts < s.exem.Ts, e.Ts == s.exem.Ts && e.Value < s.exem.Value:
		return storage.ErrOutOfOrderExemplar
	}
	return nil
}

// headModelAppender compares with what has been committed, as a head's appender does.
type headModelAppender struct {
	m       *headModel
	pending []func()
}

// AppenderV2 implements storage.AppendableV2.
func (m *headModel) AppenderV2(context.Context) storage.AppenderV2 {
	return &headModelAppender{m: m}
}

// Append implements storage.AppenderV2.
func (a *headModelAppender) Append(ref storage.SeriesRef, ls labels.Labels, _, t int64, v float64,
	h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AOptions,
) (storage.SeriesRef, error) {
	var err error
	switch {
	case fh != nil:
		err, fh = fh.Validate(), fh.Copy()
	case h != nil:
		err, h = h.Validate(), h.Copy()
	}
	if err != nil {
		return 0, err
	}
	m := a.m
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.series(ref, ls)
	if err != nil {
		return 0, err
	}
	x := &headSample{t: t, v: v, h: h, fh: fh}
	if err := m.check(s, x, opts.RejectOutOfOrder); err != nil {
		return 0, err
	}
	a.pending = append(a.pending, func() {
		m.maxTime = max(m.maxTime, t)
		if s.last == nil || t > s.last.t {
			s.last = x
		}
	})
	var bad []error
	for _, e := range opts.Exemplars {
		if err := s.checkExemplar(&e); err != nil {
			bad = append(bad, err)
			continue
		}
		a.pending = append(a.pending, func() { s.exem = &e })
	}
	if len(bad) > 0 {
		return m.epoch() | s.id, &storage.AppendPartialError{ExemplarErrors: bad}
	}
	return m.epoch() | s.id, nil
}

// Commit implements storage.AppenderV2.
func (a *headModelAppender) Commit() error {
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	for _, f := range a.pending {
		f()
	}
	return nil
}

// Rollback implements storage.AppenderV2.
func (a *headModelAppender) Rollback() error { return nil }
