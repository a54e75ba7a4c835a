package scrape

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what the loops do. It exists without a registerer as well:
// then nobody reads it.
type metrics struct {
	registerer prometheus.Registerer
	collectors []prometheus.Collector

	scrapes  *prometheus.CounterVec // result: success, failure
	rejected *prometheus.CounterVec // reason: out_of_order, duplicate, out_of_bounds, exemplar_out_of_order
	exceeded *prometheus.CounterVec // limit: body_size, sample, label, bucket, target
	panics   prometheus.Counter
	bodies   prometheus.Gauge
}

// newMetrics registers the metrics. targets is called on every collection.
func newMetrics(r prometheus.Registerer, targets func() float64) (*metrics, error) {
	m := &metrics{
		registerer: r,
		scrapes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "promlet_scrape_scrapes_total",
			Help: "Scrapes that ran to their end, by result.",
		}, []string{"result"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "promlet_scrape_samples_rejected_total",
			Help: "Samples that the storage did not take while the rest of their scrape was stored, by reason.",
		}, []string{"reason"}),
		exceeded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "promlet_scrape_limits_exceeded_total",
			Help: "Scrapes that failed because of a limit, by limit.",
		}, []string{"limit"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "promlet_scrape_panics_total",
			Help: "Scrapes that failed because of a panic, which is a bug.",
		}),
		bodies: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "promlet_scrape_body_memory_bytes",
			Help: "Memory held at this moment by bodies above 256 KiB.",
		}),
	}
	m.collectors = []prometheus.Collector{
		m.scrapes, m.rejected, m.exceeded, m.panics, m.bodies,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "promlet_scrape_targets",
			Help: "Targets that have a running scrape loop.",
		}, targets),
	}
	if r == nil {
		return m, nil
	}
	for i, c := range m.collectors {
		if err := r.Register(c); err != nil {
			m.collectors = m.collectors[:i]
			m.unregister()
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.collectors {
		m.registerer.Unregister(c)
	}
}

// scraped counts one finished scrape.
func (m *metrics) scraped(err error) {
	result := "success"
	if err != nil {
		result = "failure"
	}
	m.scrapes.WithLabelValues(result).Inc()
	if limit := limitOf(err); limit != "" {
		m.exceeded.WithLabelValues(limit).Inc()
	}
}
