package remotewrite

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

// flushDeadline is how long upstream sends the samples in its shards when it stops. It is much shorter than the
// termination grace period of a Pod.
const flushDeadline = 5 * time.Second

// upstreamQueue is upstream's queue. This package gives it the samples.
type upstreamQueue struct {
	*remote.QueueManager
	storage *remote.WriteStorage
	metrics *queueMetrics
}

// newUpstreamQueue starts the one queue of a configuration. Upstream creates a queue only together with a watcher of a
// log. dir is a directory with an empty log for this watcher.
func newUpstreamQueue(conf *config.Config, registerer prometheus.Registerer, dir string) (*upstreamQueue, error) {
	empty := filepath.Join(dir, "wal")
	if err := os.MkdirAll(empty, 0o777); err != nil {
		return nil, err
	}
	if err := os.WriteFile(wlog.SegmentName(empty, 0), nil, 0o600); err != nil {
		return nil, err
	}
	q := &upstreamQueue{metrics: &queueMetrics{Registerer: registerer}}
	// Upstream logs each attempt, and URLs with their passwords. Problems has the errors in place of the log.
	q.storage = remote.NewWriteStorage(slog.New(slog.DiscardHandler), q.metrics, dir, flushDeadline, nil, false)
	err := q.storage.ApplyConfig(conf)
	if err == nil {
		q.QueueManager, err = managerOf(q.storage)
	}
	if err != nil {
		return nil, errors.Join(err, q.storage.Close())
	}
	return q, nil
}

// managerOf returns the only queue of a WriteStorage, which has no method for it. Prometheus has an open issue about queues
// that continue after a restart: https://github.com/prometheus/prometheus/issues/8809.
func managerOf(s *remote.WriteStorage) (*remote.QueueManager, error) {
	queues := reflect.ValueOf(s).Elem().FieldByName("queues")
	if !queues.IsValid() || queues.Type() != reflect.TypeFor[map[string]*remote.QueueManager]() || queues.Len() != 1 {
		return nil, errors.New("storage/remote of this version does not keep its queues as before")
	}
	of := queues.MapRange()
	of.Next()
	return (*remote.QueueManager)(of.Value().UnsafePointer()), nil
}

// pending returns the number of samples that the queue was given and that are neither sent nor refused. It is exact between
// two calls of Append.
func (q *upstreamQueue) pending() int {
	n := 0.
	for _, gauge := range q.metrics.pending {
		var m dto.Metric
		if err := gauge.Write(&m); err != nil {
			return math.MaxInt
		}
		n += m.GetGauge().GetValue()
	}
	return int(n)
}

// queueMetrics registers the metrics of a queue, which have its name and URL as labels. It omits the others: those of the
// watcher are about an empty log, and each queue would register those of all queues again.
type queueMetrics struct {
	prometheus.Registerer // nil: none are registered
	pending               []prometheus.Gauge
}

func isOfQueue(c prometheus.Collector) (name string, ok bool) {
	descriptions := make(chan *prometheus.Desc, 1)
	go func() {
		defer close(descriptions)
		c.Describe(descriptions)
	}()
	for d := range descriptions {
		name, ok = d.String(), ok || strings.Contains(d.String(), `remote_name="`)
	}
	return name, ok
}

// Register implements prometheus.Registerer.
func (m *queueMetrics) Register(c prometheus.Collector) error {
	name, ok := isOfQueue(c)
	if !ok {
		return nil
	}
	if gauge, ok := c.(prometheus.Gauge); ok && strings.Contains(name, "_pending\"") {
		m.pending = append(m.pending, gauge)
	}
	if m.Registerer == nil {
		return nil
	}
	return m.Registerer.Register(c)
}

// MustRegister implements prometheus.Registerer. It does not fail, because names of queues are unique.
func (m *queueMetrics) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := m.Register(c); err != nil {
			panic(fmt.Errorf("metrics of remote write: %w", err))
		}
	}
}

// Unregister implements prometheus.Registerer.
func (m *queueMetrics) Unregister(c prometheus.Collector) bool {
	return m.Registerer != nil && m.Registerer.Unregister(c)
}
