package httpapi

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
)

// maxAnswer in bytes bounds an answer, which is made whole before it is sent, and takes three times as much then.
const maxAnswer = 8 << 20

// What parts of an answer take in JSON, in bytes.
const (
	seriesBytes    = 64
	pointBytes     = 40
	histogramBytes = 4 // for each byte of it in memory
)

// answerSize adds up what an answer will have.
type answerSize struct{ bytes int }

// add reports whether there is room for so many bytes more.
func (s *answerSize) add(bytes int) bool {
	s.bytes += bytes
	return s.bytes <= maxAnswer
}

func (s *answerSize) labels(ls labels.Labels) bool {
	return s.add(seriesBytes + int(ls.ByteSize())) //nolint:gosec // They are in memory.
}

// err is nil while there is room.
func (s *answerSize) err(mend string) error {
	if s.bytes <= maxAnswer {
		return nil
	}
	return fmt.Errorf("%w: the answer has more than %d MiB: %s", promql.ErrTooManySamples("query execution"), maxAnswer>>20, mend)
}

// sizedEngine refuses results that are too large for an answer.
type sizedEngine struct{ promql.QueryEngine }

// NewInstantQuery implements promql.QueryEngine.
func (e sizedEngine) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error) {
	return sized(e.QueryEngine.NewInstantQuery(ctx, q, opts, qs, ts))
}

// NewRangeQuery implements promql.QueryEngine.
func (e sizedEngine) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, interval time.Duration) (promql.Query, error) {
	return sized(e.QueryEngine.NewRangeQuery(ctx, q, opts, qs, start, end, interval))
}

func sized(q promql.Query, err error) (promql.Query, error) {
	if err != nil {
		return nil, err
	}
	return sizedQuery{q}, nil
}

type sizedQuery struct{ promql.Query }

// Exec implements promql.Query.
func (q sizedQuery) Exec(ctx context.Context) *promql.Result {
	result := q.Query.Exec(ctx)
	if result.Err != nil {
		return result
	}
	if err := sizeOf(result.Value).err("ask for fewer series, or for a longer step"); err != nil {
		return &promql.Result{Err: err, Warnings: result.Warnings}
	}
	return result
}

// sizeOf adds up a result, until it is too large.
func sizeOf(value parser.Value) *answerSize {
	size := &answerSize{}
	switch value := value.(type) {
	case promql.Vector:
		for _, s := range value {
			if !size.labels(s.Metric) || !size.add(pointBytes) || s.H != nil && !size.add(histogramBytes*s.H.Size()) {
				break
			}
		}
	case promql.Matrix:
		for _, s := range value {
			if !size.labels(s.Metric) || !size.add(pointBytes*len(s.Floats)) {
				break
			}
			for _, h := range s.Histograms {
				if !size.add(histogramBytes * h.H.Size()) {
					break
				}
			}
		}
	case promql.String:
		size.add(len(value.V))
	}
	return size
}

// sizedSet is a set of series whose labels are listed, as far as there is room.
type sizedSet struct {
	storage.SeriesSet
	size *answerSize
}

// Next implements storage.SeriesSet.
func (s *sizedSet) Next() bool {
	return s.size.bytes <= maxAnswer && s.SeriesSet.Next() && s.size.labels(s.At().Labels())
}

// Err implements storage.SeriesSet.
func (s *sizedSet) Err() error {
	if err := s.size.err("select fewer series, or ask with a limit"); err != nil {
		return err
	}
	return s.SeriesSet.Err()
}

// list refuses names or values that are too long together.
func list(all []string, err error) ([]string, error) {
	size := &answerSize{}
	for _, one := range all {
		if !size.add(len(one) + len(`"",`)) {
			return nil, size.err("select fewer series, or ask with a limit")
		}
	}
	return all, err
}
