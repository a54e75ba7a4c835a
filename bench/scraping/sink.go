package main

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// sink is a storage that only hands out references, and counts.
type sink struct {
	appenders sync.Pool // of *sinkAppender, so that both sides get theirs for nothing
	refs      atomic.Uint64

	mtx              sync.Mutex
	commits, samples int64
}

// counts gives the number of commits, and of samples in them.
func (s *sink) counts() (commits, samples int64) {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	return s.commits, s.samples
}

// AppenderV2 implements storage.AppendableV2.
func (s *sink) AppenderV2(context.Context) storage.AppenderV2 {
	a, ok := s.appenders.Get().(*sinkAppender)
	if !ok {
		a = &sinkAppender{sink: s}
	}
	return a
}

// sinkAppender is the appender of one scrape.
type sinkAppender struct {
	sink    *sink
	samples int64
}

// Append implements storage.AppenderV2.
func (a *sinkAppender) Append(ref storage.SeriesRef, _ labels.Labels, _, _ int64, _ float64,
	_ *histogram.Histogram, _ *histogram.FloatHistogram, _ storage.AOptions,
) (storage.SeriesRef, error) {
	a.samples++
	if ref == 0 {
		ref = storage.SeriesRef(a.sink.refs.Add(1))
	}
	return ref, nil
}

// Commit implements storage.AppenderV2.
func (a *sinkAppender) Commit() error {
	a.sink.mtx.Lock()
	a.sink.samples += a.samples
	a.sink.commits++
	a.sink.mtx.Unlock()
	return a.Rollback()
}

// Rollback implements storage.AppenderV2.
func (a *sinkAppender) Rollback() error {
	a.samples = 0
	a.sink.appenders.Put(a)
	return nil
}
