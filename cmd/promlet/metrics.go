package main

import (
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// newRegistry has the metrics of the process; what promlet is made of adds its own.
func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "promlet_build_info",
			Help:        "What this promlet is built of; the value is 1.",
			ConstLabels: prometheus.Labels{"version": buildVersion(), "goversion": runtime.Version(), "revision": buildRevision()},
		}, func() float64 { return 1 }),
	)
	return registry
}

// buildRevision is the commit that the go command stamped, "unknown" where it did not.
func buildRevision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && s.Value != "" {
			return s.Value
		}
	}
	return "unknown"
}

// registerProblems counts what the status page tells of.
func registerProblems(registry prometheus.Registerer, problems func() []string) {
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "promlet_problems",
		Help: "Problems that the status page tells of, such as rejected monitors and rules that match nothing.",
	}, func() float64 { return float64(len(problems())) }))
}
