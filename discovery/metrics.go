package discovery

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of a Discoverer. They exist without a registerer too.
type metrics struct {
	resolving prometheus.Histogram // seconds
	delay     prometheus.Histogram // seconds
	failures  prometheus.Counter
	applied   prometheus.Gauge // Unix time
}

func newMetrics() metrics {
	return metrics{
		resolving: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "promlet_discovery_resolve_duration_seconds",
			Help:    "How long it took to compute jobs and targets anew, of what had changed.",
			Buckets: []float64{.001, .005, .02, .1, .5, 2},
		}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "promlet_discovery_apply_delay_seconds",
			Help: "Time from a change being seen until the targets that it changed were applied.",
			// Changes are gathered for a tenth of a second at least, for a second at most.
			Buckets: []float64{.15, .25, .5, 1, 1.5, 3, 10, 60},
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "promlet_discovery_apply_failures_total",
			Help: "Attempts to compute and apply targets that failed, in whole or for some jobs.",
		}),
		applied: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "promlet_discovery_last_apply_timestamp_seconds",
			Help: "When targets were last applied, 0 before the first time. They are when something has changed.",
		}),
	}
}

// register registers the metrics of a Run; unregister undoes it.
func (d *Discoverer) register(src Source) (unregister func(), err error) {
	r := d.options.Registerer
	if r == nil {
		return func() {}, nil
	}
	all := prometheus.NewRegistry() // to register all or none
	all.MustRegister(d.metrics.resolving, d.metrics.delay, d.metrics.failures, d.metrics.applied, newStatusCollector(d),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "promlet_discovery_problems",
			Help: "Kinds of objects, or files, that cannot be listed, watched or read at present.",
		}, func() float64 { return float64(len(src.Problems())) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "promlet_discovery_synced",
			Help: "Whether all objects have been listed once and their targets applied, 1 or 0.",
		}, func() float64 {
			if d.HasSynced() {
				return 1
			}
			return 0
		}))
	if err := r.Register(all); err != nil {
		return nil, fmt.Errorf("register discovery metrics: %w", err)
	}
	return func() { r.Unregister(all) }, nil
}

// statusCollector counts monitors and targets when it is collected.
type statusCollector struct {
	d                 *Discoverer
	monitors, targets *prometheus.Desc
}

func newStatusCollector(d *Discoverer) *statusCollector {
	return &statusCollector{
		d: d,
		monitors: prometheus.NewDesc("promlet_discovery_monitors",
			"Monitors, by kind and state; Service and Pod are objects annotated prometheus.io/scrape.", []string{"kind", "state"}, nil),
		targets: prometheus.NewDesc("promlet_discovery_targets",
			"Targets of accepted monitors, before their own relabelings, which may drop some.", []string{"kind"}, nil),
	}
}

// Describe implements [prometheus.Collector].
func (s *statusCollector) Describe(to chan<- *prometheus.Desc) {
	to <- s.monitors
	to <- s.targets
}

// Collect implements [prometheus.Collector].
func (s *statusCollector) Collect(to chan<- prometheus.Metric) {
	type counts struct{ accepted, rejected, targets int }
	byKind := map[string]*counts{"ServiceMonitor": {}, "PodMonitor": {}, "Service": {}, "Pod": {}}
	monitors := s.d.Monitors()
	for i := range monitors {
		c := byKind[monitors[i].Kind]
		if c == nil {
			continue // no other kinds exist
		}
		c.targets += monitors[i].Targets
		if monitors[i].Err != nil {
			c.rejected++
		} else {
			c.accepted++
		}
	}
	for kind, c := range byKind {
		to <- prometheus.MustNewConstMetric(s.monitors, prometheus.GaugeValue, float64(c.accepted), kind, "accepted")
		to <- prometheus.MustNewConstMetric(s.monitors, prometheus.GaugeValue, float64(c.rejected), kind, "rejected")
		to <- prometheus.MustNewConstMetric(s.targets, prometheus.GaugeValue, float64(c.targets), kind)
	}
}

// noteChange records when the first change came that has not been looked at.
func (d *Discoverer) noteChange() { d.changedAt.CompareAndSwap(0, time.Now().UnixNano()) }

// pendingSince returns since when changes wait to be applied, zero for none. before is
// what it returned the last time, and zero when all have been applied since.
func (d *Discoverer) pendingSince(before time.Time) time.Time {
	at := d.changedAt.Swap(0)
	if at == 0 || !before.IsZero() {
		return before
	}
	return time.Unix(0, at)
}
