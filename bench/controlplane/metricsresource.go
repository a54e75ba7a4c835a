package controlplane

import (
	"math"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// resourceMetrics exposes what a node and its containers use as a kubelet does at
// /metrics/resource: the names, texts, labels and timestamps are those of Kubernetes 1.37,
// pkg/kubelet/metrics/collectors/resource_metrics.go. Swap is left out, as on nodes that report
// none, and so is scrape_error, which 1.37 hides.
type resourceMetrics struct {
	counters *counters
	node     string
}

// handler returns what serves /metrics/resource.
func (m resourceMetrics) handler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(m)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError})
}

// Describe implements [prometheus.Collector]: what is collected changes.
func (resourceMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (m resourceMetrics) Collect(ch chan<- prometheus.Metric) {
	ofContainer, ofPod := []string{"container", "pod", "namespace"}, []string{"pod", "namespace"}
	gauge := func(name, help string, labels []string, value float64, is ...string) prometheus.Metric {
		return prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue, value, is...)
	}
	both := func(what, help string, labels []string, c counter, is ...string) {
		cpu := prometheus.NewDesc(what+"_cpu_usage_seconds_total", "[STABLE] Cumulative cpu time consumed by the "+help+" in core-seconds", labels, nil)
		ch <- prometheus.NewMetricWithTimestamp(c.at, prometheus.MustNewConstMetric(cpu, prometheus.CounterValue, math.Floor(c.nanos)/float64(time.Second), is...))
		memory := gauge(what+"_memory_working_set_bytes", "[STABLE] Current working set of the "+help+" in bytes", labels, float64(c.Bytes), is...)
		ch <- prometheus.NewMetricWithTimestamp(c.at, memory)
	}
	whole, pods := m.counters.of(m.node)
	both("node", "node", nil, whole)
	for _, p := range pods {
		sum := counter{at: whole.at}
		for i, c := range p.containers {
			is := []string{p.pod.Spec.Containers[i].Name, p.pod.Name, p.pod.Namespace}
			ch <- gauge("container_start_time_seconds", "[STABLE] Start time of the container since unix epoch in seconds", ofContainer, float64(p.start.UnixNano())/float64(time.Second), is...)
			both("container", "container", ofContainer, c, is...)
			sum.nanos += c.nanos
			sum.Bytes += c.Bytes
		}
		both("pod", "pod", ofPod, sum, p.pod.Name, p.pod.Namespace)
	}
	ch <- gauge("resource_scrape_error", "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise", nil, 0)
}
