package main

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// newHandler serves the application, its metrics and its health. Only requests to the application are
// counted: a scrape must not look like load.
func newHandler() http.Handler {
	total := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "http_requests_total", Help: "Requests that the application has served.",
	})
	inFlight := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "http_requests_in_flight", Help: "Requests that the application is serving now.",
	})
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(total, inFlight)

	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, "ok") })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		inFlight.Inc()
		defer inFlight.Dec()
		total.Inc()
		answer(w, "hello")
	})
	return mux
}

func answer(w http.ResponseWriter, text string) {
	// An error means that the client has gone, which is its own affair.
	_, _ = fmt.Fprintln(w, text)
}
