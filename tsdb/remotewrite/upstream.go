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

// flushDeadline is how long upstream waits for what is in its shards when it stops. A Pod has longer by far to end.
const flushDeadline = 5 * time.Second

// upstreamQueue is a queue of upstream's that is fed by this package.
type upstreamQueue struct {
	*remote.QueueManager
	storage *remote.WriteStorage
	metrics *queueMetrics
}

// newUpstreamQueue starts the one queue of a configuration. Upstream makes a queue only together with its watcher of a
// log; dir is an empty log for it to watch.
func newUpstreamQueue(conf *config.Config, registerer prometheus.Registerer, dir string) (*upstreamQueue, error) {
	empty := filepath.Join(dir, "wal")
	if err := os.MkdirAll(empty, 0o777); err != nil {
		return nil, err
	}
	if err := os.WriteFile(wlog.SegmentName(empty, 0), nil, 0o600); err != nil {
		return nil, err
	}
	q := &upstreamQueue{metrics: &queueMetrics{Registerer: registerer}}
	// Upstream logs each attempt, and URLs with their passwords: problems say what is wrong instead.
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

// managerOf returns the only queue of a WriteStorage, which has no method for it. That a queue goes on where it was is
// an open issue of Prometheus: https://github.com/prometheus/prometheus/issues/8809.
func managerOf(s *remote.WriteStorage) (*remote.QueueManager, error) {
	queues := reflect.ValueOf(s).Elem().FieldByName("queues")
	if !queues.IsValid() || queues.Type() != reflect.TypeFor[map[string]*remote.QueueManager]() || queues.Len() != 1 {
		return nil, errors.New("storage/remote of this version does not keep its queues as before")
	}
	of := queues.MapRange()
	of.Next()
	return (*remote.QueueManager)(of.Value().UnsafePointer()), nil
}

// pending returns how many samples were given to the queue and are neither sent nor refused. It is exact between two
// calls of Append.
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

// queueMetrics registers the metrics of a queue, which are labelled by its name and URL, and leaves out the others:
// those of the watcher are of an empty log, and those of all queues together would be there several times.
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

// MustRegister implements prometheus.Registerer. Names of queues are unique, so that registering does not fail.
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
