package engine

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics count the requests of an Engine. They also exist without a registerer.
type metrics struct {
	all      *prometheus.Registry
	requests *prometheus.CounterVec
	took     prometheus.Histogram // seconds
	listed   prometheus.Gauge
	names    prometheus.Gauge
}

func newMetrics() *metrics {
	all := prometheus.NewRegistry()
	with := promauto.With(all)
	return &metrics{
		all: all,
		requests: with.NewCounterVec(prometheus.CounterOpts{
			Name: "promlet_engine_requests_total",
			Help: "Requests to the engine of --prometheus-url, by the HTTP code of the answer, or error without an answer.",
		}, []string{"code"}),
		took: with.NewHistogram(prometheus.HistogramOpts{
			Name:    "promlet_engine_request_duration_seconds",
			Help:    "Time from a request to the engine of --prometheus-url to the first byte of the answer.",
			Buckets: []float64{.002, .01, .05, .25, 1, 5, 10},
		}),
		listed: with.NewGauge(prometheus.GaugeOpts{
			Name: "promlet_engine_last_relist_success_timestamp_seconds",
			Help: "Timestamp of the last complete list of the engine's series, 0 before the first.",
		}),
		names: with.NewGauge(prometheus.GaugeOpts{
			Name: "promlet_engine_series_names",
			Help: "Number of series names of the engine that rules serve, as of the last list.",
		}),
	}
}

func (m *metrics) asked(start time.Time, code string) {
	m.requests.WithLabelValues(code).Inc()
	m.took.Observe(time.Since(start).Seconds())
}
