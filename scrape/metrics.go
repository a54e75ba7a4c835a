package scrape

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/promlet/promlet/scrape/internal/names"
	"github.com/promlet/promlet/scrape/internal/reason"
	"github.com/promlet/promlet/scrape/seriesroom"
)

// metrics counts what the loops do. It does so without a registerer as well.
type metrics struct {
	registerer prometheus.Registerer
	collectors []prometheus.Collector

	succeeded, failed       prometheus.Counter     // scrapes
	duration                prometheus.Histogram   // seconds
	samplesSeen, samplesPut prometheus.Counter     // samples of bodies, and those of them that were stored
	rejected                *prometheus.CounterVec // reason: a rejectionName
	exceeded                *prometheus.CounterVec // limit: one of limitNames
	panics                  prometheus.Counter
	scrapeMemory            prometheus.Gauge
	nameMemory              prometheus.Gauge
}

// limitNames are the limits that a scrape may fail by.
func limitNames() []string {
	return []string{"body_size", "header", "sample", "label", "bucket", "target"}
}

// newMetrics registers the metrics of m. Its gauges are computed on every collection.
func newMetrics(r prometheus.Registerer, m *Manager) (*metrics, error) {
	scrapes := counterVec("promlet_scrape_scrapes_total", "Scrapes that ran to their end, by result.", "result")
	c := &metrics{
		registerer: r,
		succeeded:  scrapes.WithLabelValues("success"),
		failed:     scrapes.WithLabelValues("failure"),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "promlet_scrape_duration_seconds",
			Help: "How long scrapes took, from the request until the samples were stored.",
			// A target on the node, a slow one, one that meets the default timeout.
			Buckets: []float64{.005, .02, .1, .5, 2, 10},
		}),
		samplesSeen: counter("promlet_scrape_samples_seen_total", "Samples in the bodies that were scraped."),
		samplesPut:  counter("promlet_scrape_samples_stored_total", "Samples of these bodies that were stored: on demand, those that somebody reads."),
		rejected:    counterVec("promlet_scrape_samples_rejected_total", "Samples that the storage did not take while the rest of their scrape was stored, by reason.", "reason"),
		exceeded:    counterVec("promlet_scrape_limits_exceeded_total", "Scrapes that failed because of a limit, by limit.", "limit"),
		panics:      counter("promlet_scrape_panics_total", "Scrapes that failed because of a panic, which is a bug."),
		scrapeMemory: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "promlet_scrape_memory_bytes",
			Help: "Memory held at this moment by scrapes under way, for headers, lines and bodies.",
		}),
		nameMemory: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "promlet_scrape_name_memory_bytes",
			Help: "Memory that the names and metadata that targets expose are charged with.",
		}),
	}
	// All start at 0, so that the first one is an increase.
	for i := range rejections {
		c.rejected.WithLabelValues(rejectionName(i))
	}
	for _, limit := range limitNames() {
		c.exceeded.WithLabelValues(limit)
	}
	c.collectors = append(m.gauges(), scrapes, c.duration, c.samplesSeen, c.samplesPut, c.rejected, c.exceeded, c.panics, c.scrapeMemory, c.nameMemory)
	if r == nil {
		return c, nil
	}
	for i, collector := range c.collectors {
		if err := r.Register(collector); err != nil {
			c.collectors = c.collectors[:i]
			c.unregister()
			return nil, err
		}
	}
	return c, nil
}

// gauges are computed when they are collected.
func (m *Manager) gauges() []prometheus.Collector {
	unneeded := func() float64 { n, _ := m.Refused(); return float64(n) }
	needed := func() float64 { _, n := m.Refused(); return float64(n) }
	targets := func() float64 {
		n := 0
		m.eachLoop(func(*loop) { n++ })
		return float64(n)
	}
	exposed := func() float64 { n, _ := m.countExposed(); return float64(n) }
	series := func() float64 { _, n := m.countExposed(); return float64(n) }
	const refusedHelp = "Series in the last scrapes of all targets that were not stored because the series limit is near, by whether anybody reads them."
	return []prometheus.Collector{
		gauge("promlet_scrape_targets", "Targets that have a running scrape loop.", nil, targets),
		gauge("promlet_scrape_exposed_names", "Metric names that targets expose, stored or not, counted for each job.", nil, exposed),
		gauge("promlet_scrape_exposed_series", "Series that targets expose, stored or not.", nil, series),
		gauge("promlet_scrape_series_refused", refusedHelp, prometheus.Labels{"read": "no"}, unneeded),
		gauge("promlet_scrape_series_refused", refusedHelp, prometheus.Labels{"read": "yes"}, needed),
		gauge("promlet_scrape_series_limit", "How many series may be stored in all, 0 for no limit.", nil, func() float64 {
			return float64(m.opts.SeriesRoom.Status().Limits[seriesroom.Series])
		}),
		gauge("promlet_scrape_series_bytes", "Memory that the stored series take, as its limit counts it.", nil, func() float64 {
			return float64(m.opts.SeriesRoom.Status().Stored[seriesroom.Bytes])
		}),
		gauge("promlet_scrape_series_bytes_limit", "How much memory the stored series may take in all, 0 for no limit.", nil, func() float64 {
			return float64(m.opts.SeriesRoom.Status().Limits[seriesroom.Bytes])
		}),
		newForeignCollector(m),
	}
}

// countExposed counts what all jobs expose.
func (m *Manager) countExposed() (exposed, series int) {
	for _, s := range m.allSettings() {
		s.names.Exposed(func(e *names.Entry) {
			exposed++
			series += e.Series
		})
	}
	return exposed, series
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
func (m *metrics) scraped(took time.Duration, err error) {
	m.duration.Observe(took.Seconds())
	if err == nil {
		m.succeeded.Inc()
		return
	}
	m.failed.Inc()
	if limit := reason.LimitOf(err); limit != "" {
		m.exceeded.WithLabelValues(limit).Inc()
	}
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func counterVec(name, help, label string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
}

func gauge(name, help string, labels prometheus.Labels, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value)
}
