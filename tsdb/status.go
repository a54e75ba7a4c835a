package tsdb

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/features"
)

// Parser returns the parser of the engine. It refuses what would take too much to evaluate, and takes
// what Prometheus does without feature flags.
func (db *DB) Parser() parser.Parser { return db.parser }

// Features returns which features of the storage and of PromQL are on, as Prometheus names them.
func (db *DB) Features() features.Collector { return db.features }

// Retention returns Options.Retention.
func (db *DB) Retention() time.Duration { return db.opts.Retention }

// QueryTimeout returns Options.QueryTimeout.
func (db *DB) QueryTimeout() time.Duration { return db.opts.QueryTimeout }

// MaxConcurrency returns Options.MaxConcurrency.
func (db *DB) MaxConcurrency() int { return db.opts.MaxConcurrency }

// Gather implements prometheus.Gatherer. It returns the metrics of the storage and of the query engine, the same as in
// Options.Registerer.
func (db *DB) Gather() ([]*dto.MetricFamily, error) {
	e, err := db.enter()
	if err != nil {
		return nil, err
	}
	defer e.leave()
	return prometheus.Gatherers{db.metrics, e.metrics}.Gather()
}

// ExemplarQuerier implements storage.ExemplarQueryable. There are none: exemplars are not stored.
func (db *DB) ExemplarQuerier(ctx context.Context) (storage.ExemplarQuerier, error) {
	e, err := db.enter()
	if err != nil {
		return nil, err
	}
	defer e.leave()
	return e.store.ExemplarQuerier(ctx)
}

// Stats counts the series in memory by their labels, the most frequent first and at most limit of each kind;
// by names of metrics where label is the metric name.
func (db *DB) Stats(label string, limit int) (*promtsdb.Stats, error) {
	e, err := db.enter()
	if err != nil {
		return nil, err
	}
	defer e.leave()
	return e.store.Head().Stats(label, limit), nil
}

// WALReplayStatus returns which segments of the log Open has read.
func (db *DB) WALReplayStatus() (promtsdb.WALReplayStatus, error) {
	e, err := db.enter()
	if err != nil {
		return promtsdb.WALReplayStatus{}, err
	}
	defer e.leave()
	return e.stats.Head.WALReplayStatus.GetWALReplayStatus(), nil
}

// BlockMetas describes the blocks on disk.
func (db *DB) BlockMetas() ([]promtsdb.BlockMeta, error) {
	e, err := db.enter()
	if err != nil {
		return nil, err
	}
	defer e.leave()
	return e.store.BlockMetas(), nil
}
