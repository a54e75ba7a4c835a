// Package sink is a storage that keeps nothing.
package sink

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// Sink is a storage that only hands out references, and counts.
type Sink struct {
	appenders sync.Pool // of *appender, so that both sides get theirs for nothing
	refs      atomic.Uint64

	mtx              sync.Mutex
	commits, samples int64
}

// Counts returns the number of commits, and of samples in them.
func (s *Sink) Counts() (commits, samples int64) {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	return s.commits, s.samples
}

// AppenderV2 implements storage.AppendableV2.
func (s *Sink) AppenderV2(context.Context) storage.AppenderV2 {
	a, ok := s.appenders.Get().(*appender)
	if !ok {
		a = &appender{sink: s}
	}
	return a
}

// appender is the appender of one scrape.
type appender struct {
	sink    *Sink
	samples int64
}

// Append implements storage.AppenderV2.
func (a *appender) Append(ref storage.SeriesRef, _ labels.Labels, _, _ int64, _ float64,
	_ *histogram.Histogram, _ *histogram.FloatHistogram, _ storage.AOptions,
) (storage.SeriesRef, error) {
	a.samples++
	if ref == 0 {
		ref = storage.SeriesRef(a.sink.refs.Add(1))
	}
	return ref, nil
}

// Commit implements storage.AppenderV2.
func (a *appender) Commit() error {
	a.sink.mtx.Lock()
	a.sink.samples += a.samples
	a.sink.commits++
	a.sink.mtx.Unlock()
	return a.Rollback()
}

// Rollback implements storage.AppenderV2.
func (a *appender) Rollback() error {
	a.samples = 0
	a.sink.appenders.Put(a)
	return nil
}
