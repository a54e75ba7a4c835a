package httpapi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	promtsdb "github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/features"
	v1 "github.com/prometheus/prometheus/web/api/v1"

	"github.com/promlet/promlet/tsdb"
)

// APIVersion is the version of Prometheus whose API this is: Grafana chooses by it what it asks for.
const APIVersion = "3.15.0"

// errAdmin is what the admin API would give if it were enabled, which it cannot be.
var errAdmin = errors.New("the admin API is not served")

// status is the state of the program and its database, for the API.
type status struct{ opts Options }

var _ v1.TSDBAdminStats = (*status)(nil)

// buildInfo has the version of the API, and that of the program beside.
func (s *status) buildInfo() *v1.PrometheusVersion {
	return &v1.PrometheusVersion{
		Version:   APIVersion + "+promlet",
		Revision:  s.opts.Version,
		GoVersion: runtime.Version(),
	}
}

func (s *status) runtimeInfo() (v1.RuntimeInfo, error) {
	dir, err := os.Getwd()
	if err != nil {
		return v1.RuntimeInfo{}, err
	}
	host, err := os.Hostname()
	if err != nil {
		return v1.RuntimeInfo{}, err
	}
	corruptions := int64(0)
	if s.opts.DB.Damage() != nil {
		corruptions = 1
	}
	ok, last := s.opts.Reloaded()
	return v1.RuntimeInfo{
		StartTime:           s.opts.Started.UTC(),
		CWD:                 dir,
		Hostname:            host,
		ServerTime:          time.Now().UTC(),
		ReloadConfigSuccess: ok,
		LastConfigTime:      last.UTC().Truncate(time.Second),
		CorruptionCount:     corruptions,
		GoroutineCount:      runtime.NumGoroutine(),
		GOMAXPROCS:          runtime.GOMAXPROCS(0),
		GOMEMLIMIT:          debug.SetMemoryLimit(-1),
		GOGC:                os.Getenv("GOGC"),
		GODEBUG:             os.Getenv("GODEBUG"),
		StorageRetention:    model.Duration(s.opts.DB.Retention()).String(),
	}, nil
}

// features are those of the database; of the API, none can be enabled.
func (s *status) features() features.Collector {
	all := features.NewRegistry()
	for category, of := range s.opts.DB.Features().Get() {
		for name, on := range of {
			all.Set(category, name, on)
		}
	}
	for _, name := range []string{"admin", "lifecycle", "otlp_write_receiver", "remote_write_receiver", "search"} {
		all.Disable(features.API, name)
	}
	return all
}

// Stats implements v1.TSDBAdminStats. If the database has no samples, MinTime and MaxTime are 0, not the largest and smallest
// numbers.
func (s *status) Stats(label string, limit int) (*promtsdb.Stats, error) {
	stats, err := s.opts.DB.Stats(label, limit)
	if err == nil && stats.MinTime > stats.MaxTime {
		stats.MinTime, stats.MaxTime = 0, 0
	}
	return stats, err
}

// headChunks is the metric that status/tsdb reads.
const headChunks = "prometheus_tsdb_head_chunks"

// withStorage gathers the program's metrics, and those of the database unless they are among them.
type withStorage struct {
	own prometheus.Gatherer
	db  *tsdb.DB
}

// Gather implements prometheus.Gatherer.
func (w withStorage) Gather() ([]*dto.MetricFamily, error) {
	own, err := w.own.Gather()
	if err != nil || slices.ContainsFunc(own, func(f *dto.MetricFamily) bool { return f.GetName() == headChunks }) {
		return own, err
	}
	gathered := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return own, nil })
	return prometheus.Gatherers{gathered, w.db}.Gather()
}

// WALReplayStatus implements v1.TSDBAdminStats.
func (s *status) WALReplayStatus() (promtsdb.WALReplayStatus, error) {
	return s.opts.DB.WALReplayStatus()
}

// BlockMetas implements v1.TSDBAdminStats.
func (s *status) BlockMetas() ([]promtsdb.BlockMeta, error) {
	metas, err := s.opts.DB.BlockMetas()
	if err != nil {
		return nil, fmt.Errorf("list blocks: %w", err)
	}
	return metas, nil
}

// CleanTombstones implements v1.TSDBAdminStats.
func (*status) CleanTombstones() error { return errAdmin }

// Delete implements v1.TSDBAdminStats.
func (*status) Delete(context.Context, int64, int64, ...*labels.Matcher) error { return errAdmin }

// Snapshot implements v1.TSDBAdminStats.
func (*status) Snapshot(string, bool) error { return errAdmin }
