package catalog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// SeriesMaxAge is how far back a series of a database counts as one that exists.
const SeriesMaxAge = 5 * time.Minute

// Index lists the series that exist, in a database ([Stored]) or in an engine behind a URL (package engine).
type Index interface {
	// Names returns the names of the series that exist. The caller may change the slice.
	Names(ctx context.Context) ([]string, error)
	// LabelNames returns the label names of a mapping's series, none when no series satisfy the rule.
	// An index that knows single series also applies the other matchers.
	LabelNames(ctx context.Context, m Mapping, more ...*labels.Matcher) ([]string, error)
}

// Stored is the Index of a database.
type Stored struct {
	Queryable storage.Queryable
	Now       func() time.Time
}

// Names implements Index.
func (s Stored) Names(ctx context.Context) ([]string, error) {
	q, err := s.querier()
	if err != nil {
		return nil, err
	}
	names, _, err := q.LabelValues(ctx, model.MetricNameLabel, nil)
	names = slices.Clone(names) // they belong to the querier
	if closeErr := q.Close(); err == nil {
		err = closeErr
	}
	return names, err
}

// LabelNames implements Index.
func (s Stored) LabelNames(ctx context.Context, m Mapping, more ...*labels.Matcher) ([]string, error) {
	q, err := s.querier()
	if err != nil {
		return nil, err
	}
	names, _, err := q.LabelNames(ctx, nil, append(m.SeriesMatchers(), more...)...)
	names = slices.Clone(names) // they belong to the querier
	if closeErr := q.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("read labels of %s: %w", m.Series, err)
	}
	return names, nil
}

func (s Stored) querier() (storage.Querier, error) {
	now := s.Now()
	q, err := s.Queryable.Querier(now.Add(-SeriesMaxAge).UnixMilli(), now.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("read the index: %w", err)
	}
	return q, nil
}
