package cluster

import "github.com/prometheus/client_golang/prometheus"

// newRequestErrors counts the requests that the API server refuses or fails, by verb
// (list or watch) and resource.
func newRequestErrors() *prometheus.CounterVec {
	errs := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "promlet_discovery_request_errors_total",
		Help: "Requests to list or watch objects that the API server refused or failed, by verb and resource.",
	}, []string{"verb", "resource"})
	for _, resource := range []string{
		"configmaps", "endpointslices", "horizontalpodautoscalers", "namespaces", "nodes", "podmonitors", "pods", "secrets", "servicemonitors", "services",
	} {
		for _, verb := range []string{"list", "watch"} {
			errs.WithLabelValues(verb, resource)
		}
	}
	return errs
}

// countRequest counts a request if it failed.
func (s *Source) countRequest(verb string, k *kind, err error) {
	if err != nil && !expired(err) {
		s.requestErrors.WithLabelValues(verb, k.gvr.Resource).Inc()
	}
}
