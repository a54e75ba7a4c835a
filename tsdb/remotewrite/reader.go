package remotewrite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"path/filepath"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

// follow reads the held log from q.at on. It returns errStopped, or an error of reading.
func (q *queue) follow(ctx context.Context) error {
	if err := q.seek(ctx); err != nil {
		return err
	}
	for {
		next, err := q.readSegment(ctx)
		if err != nil {
			return err
		}
		sameLog := next.Generation == q.at.Generation
		q.at = next
		if !sameLog {
			err = q.seek(ctx) // another log has other numbers for its series
		} else {
			err = q.collect()
		}
		if err != nil {
			return err
		}
	}
}

// seek moves q.at to the first held position if its own is no longer held, and reads the labels of the series there.
// First it waits until all that was given to upstream's queue has been sent: a series that another log gives another
// number may be sent by another shard, which would overtake.
func (q *queue) seek(ctx context.Context) error {
	if err := q.flush(ctx); err != nil {
		return err
	}
	if err := q.log.exists(q.at); errors.Is(err, fs.ErrNotExist) {
		first, err := q.log.first()
		if err != nil {
			return err
		}
		if q.at.Generation != "" {
			q.mu.Lock()
			q.lost = time.Now()
			q.mu.Unlock()
			q.logger.Error("samples were removed before remote write sent them", "queue", q.title)
		}
		q.at = first
	} else if err != nil {
		return err
	}
	q.to.SeriesReset(math.MaxInt)
	q.collected = -1
	dir := filepath.Join(q.log.dir, q.at.Generation)
	if err := q.collect(); err != nil {
		return err
	}
	start, _, err := wlog.Segments(dir)
	if err != nil {
		return err
	}
	for ; start >= 0 && start < q.at.Segment; start++ {
		segment, err := wlog.OpenReadSegment(wlog.SegmentName(dir, start))
		if err != nil {
			return err
		}
		// A killed process may have left an incomplete record at the end.
		_ = q.readSeries(wlog.NewSegmentBufReader(segment), start, q.to.StoreSeries)
	}
	return nil
}

// collect reads the series of a new checkpoint, and removes those that ended before it.
func (q *queue) collect() error {
	checkpoint, n, err := wlog.LastCheckpoint(filepath.Join(q.log.dir, q.at.Generation))
	if errors.Is(err, record.ErrNotFound) || err == nil && n <= q.collected {
		return nil
	}
	if err != nil {
		return err
	}
	segments, err := wlog.NewSegmentsReader(checkpoint)
	if err != nil {
		return err
	}
	read := q.to.UpdateSeriesSegment
	if q.collected < 0 {
		read = q.to.StoreSeries
	}
	if err := q.readSeries(segments, n, read); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(checkpoint), err)
	}
	q.to.SeriesReset(n)
	q.collected = n
	return nil
}

// readSeries reads the series of segments, and closes them.
func (q *queue) readSeries(segments io.ReadCloser, n int, store func([]record.RefSeries, int)) error {
	decoder := record.NewDecoder(labels.NewSymbolTable(), slog.New(slog.DiscardHandler))
	r := wlog.NewReader(segments)
	var err error
	for err == nil && r.Next() {
		switch decoder.Type(r.Record()) {
		case record.Series:
			var series []record.RefSeries
			if series, err = decoder.Series(r.Record(), nil); err == nil {
				store(series, n)
			}
		case record.Metadata:
			err = q.storeMetadata(&decoder, r.Record())
		}
	}
	return errors.Join(err, r.Err(), segments.Close())
}

func (q *queue) storeMetadata(decoder *record.Decoder, rec []byte) error {
	metadata, err := decoder.Metadata(rec, nil)
	if err == nil {
		q.to.StoreMetadata(metadata)
	}
	return err
}

// readSegment reads the segment of q.at until another one follows it. It returns the start of that one.
func (q *queue) readSegment(ctx context.Context) (next position, err error) {
	segment, err := wlog.OpenReadSegment(wlog.SegmentName(filepath.Join(q.log.dir, q.at.Generation), q.at.Segment))
	if err != nil {
		return next, err
	}
	defer func() { err = errors.Join(err, segment.Close()) }()
	quiet := slog.New(slog.DiscardHandler)
	decoder := record.NewDecoder(labels.NewSymbolTable(), quiet)
	r := wlog.NewLiveReader(quiet, wlog.NewLiveReaderMetrics(nil), segment)
	read, finishing := 0, false
	for {
		next, complete, err := q.log.follows(q.at)
		if err != nil {
			return next, err
		}
		now := time.Now()
		for r.Next() {
			if err := q.give(ctx, &decoder, r.Record(), read < q.at.Record); err != nil {
				return next, err
			}
			if read++; read > q.at.Record {
				q.at.Record = read
				if err := q.settle(ctx, time.Time{}); err != nil {
					return next, err
				}
			}
		}
		switch err := r.Err(); {
		case complete:
			// An error is an incomplete record at the end, which a killed process has left.
			return next, nil
		case err != nil && !errors.Is(err, io.EOF):
			return next, err
		}
		q.report(nil)
		if finishing {
			q.ended = ctx.Err() == nil
			return next, errStopped
		}
		if err := q.settle(ctx, now); err != nil {
			return next, err
		}
		finishing = q.wait(ctx)
	}
}

// wait waits until the log may have more records. It reports whether the queue is to finish.
func (q *queue) wait(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	case <-q.finish:
		return true
	case <-time.After(poll):
		return false
	}
}

// decoded holds the slices that records are decoded into.
type decoded struct {
	refs            []chunks.HeadSeriesRef
	samples         []record.RefSample
	histograms      []record.RefHistogramSample
	floatHistograms []record.RefFloatHistogramSample
}

// give gives a record to upstream's queue. If the record was sent, it gives only its series. It waits while the queue is
// full.
func (q *queue) give(ctx context.Context, decoder *record.Decoder, rec []byte, sent bool) (err error) {
	kind := decoder.Type(rec)
	switch kind {
	case record.Series:
		series, err := decoder.Series(rec, nil)
		if err == nil {
			q.to.StoreSeries(series, q.at.Segment)
		}
		return err
	case record.Metadata:
		return q.storeMetadata(decoder, rec)
	}
	if sent {
		return nil
	}
	d := &q.decoded
	d.refs = d.refs[:0]
	var send func() bool
	switch kind {
	case record.Samples, record.SamplesV2:
		d.samples, err = decoder.Samples(rec, d.samples[:0])
		for _, s := range d.samples {
			d.refs = append(d.refs, s.Ref)
		}
		send = func() bool { return q.to.Append(d.samples) }
	case record.HistogramSamples, record.CustomBucketsHistogramSamples, record.HistogramSamplesV2:
		d.histograms, err = decoder.HistogramSamples(rec, d.histograms[:0])
		for _, s := range d.histograms {
			d.refs = append(d.refs, s.Ref)
		}
		send = func() bool { return q.to.AppendHistograms(d.histograms) }
	case record.FloatHistogramSamples, record.CustomBucketsFloatHistogramSamples, record.FloatHistogramSamplesV2:
		d.floatHistograms, err = decoder.FloatHistogramSamples(rec, d.floatHistograms[:0])
		for _, s := range d.floatHistograms {
			d.refs = append(d.refs, s.Ref)
		}
		send = func() bool { return q.to.AppendFloatHistograms(d.floatHistograms) }
	default:
		return nil
	}
	if err == nil {
		err = q.prepare(ctx, d.refs)
	}
	if err == nil && (ctx.Err() != nil || !send()) {
		err = errStopped
	}
	return err
}
