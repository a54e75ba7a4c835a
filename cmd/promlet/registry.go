package main

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/version"
)

// newRegistry returns a registry with the metrics of the process.
func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "promlet_build_info",
			Help:        "A metric with the constant value 1, labeled by the version, revision and Go version that promlet was built from.",
			ConstLabels: prometheus.Labels{"version": buildVersion(), "goversion": runtime.Version(), "revision": version.GetRevision()},
		}, func() float64 { return 1 }),
	)
	return registry
}

// registerProblems counts the problems of the status page.
func registerProblems(registry prometheus.Registerer, problems func() int) {
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "promlet_problems",
		Help: "Number of problems on the status page, such as rejected monitors and rules that match no series.",
	}, func() float64 { return float64(problems()) }))
}
