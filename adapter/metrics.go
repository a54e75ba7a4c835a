package adapter

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
)

// metrics count what a Provider answers. They exist without a registerer as well.
type metrics struct {
	all     *prometheus.Registry
	answers map[rules.API]map[values.Outcome]prometheus.Counter
	took    map[rules.API]prometheus.Observer // seconds
	age     map[rules.API]prometheus.Observer // seconds
	// evaluations of queries, in seconds, by their result: value, empty or error.
	evaluations map[string]prometheus.Observer
}

func newMetrics() *metrics {
	all := prometheus.NewRegistry()
	with := promauto.With(all)
	answers := with.NewCounterVec(prometheus.CounterOpts{
		Name: "promlet_api_answers_total",
		Help: "Answers of the metrics APIs, by API and by whether there was a value, or why not.",
	}, []string{"api", "reason"})
	took := with.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "promlet_api_answer_duration_seconds",
		Help:    "How long answers of the metrics APIs took to find, without authentication and transport.",
		Buckets: []float64{.0005, .002, .01, .05, .25, 1, 5},
	}, []string{"api"})
	age := with.NewHistogramVec(prometheus.HistogramOpts{
		Name: "promlet_api_value_age_seconds",
		Help: "How old the last sample behind a value was when it was answered.",
		// Up to two scrape intervals of a minute: older values are none.
		Buckets: []float64{1, 2.5, 5, 10, 15, 30, 60, 120},
	}, []string{"api"})
	evaluations := with.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "promlet_rule_evaluation_duration_seconds",
		Help:    "How long evaluations of rules' queries took, by whether they gave a value, nothing, or an error.",
		Buckets: []float64{.0005, .002, .01, .05, .25, 1, 5},
	}, []string{"result"})
	m := &metrics{
		all:         all,
		answers:     map[rules.API]map[values.Outcome]prometheus.Counter{},
		took:        map[rules.API]prometheus.Observer{},
		age:         map[rules.API]prometheus.Observer{},
		evaluations: map[string]prometheus.Observer{},
	}
	for _, result := range []string{"value", "empty", "error"} {
		m.evaluations[result] = evaluations.WithLabelValues(result)
	}
	for _, api := range []rules.API{rules.CustomAPI, rules.ExternalAPI} {
		m.took[api], m.age[api] = took.WithLabelValues(api.String()), age.WithLabelValues(api.String())
		m.answers[api] = map[values.Outcome]prometheus.Counter{}
		for _, outcome := range values.Outcomes() {
			m.answers[api][outcome] = answers.WithLabelValues(api.String(), string(outcome))
		}
	}
	return m
}

// register registers the metrics, all or none.
func (p *Provider) register() error {
	if p.registerer == nil {
		return nil
	}
	gauge := func(name, help, label, of string, value func() int) {
		promauto.With(p.metrics.all).NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: prometheus.Labels{label: of}},
			func() float64 { return float64(value()) })
	}
	for _, api := range []rules.API{rules.CustomAPI, rules.ExternalAPI} {
		gauge("promlet_rules", "Rules in force, by API.", "api", api.String(), func() (n int) {
			for _, r := range p.values.Catalog.Rules() {
				if r.API == api {
					n++
				}
			}
			return n
		})
		gauge("promlet_rules_unmatched", "Rules of the configuration that match no series that targets expose or that is stored, by API.", "api", api.String(), func() (n int) {
			for _, r := range p.UnmatchedRules() {
				if r.API == api {
					n++
				}
			}
			return n
		})
	}
	for _, reader := range []string{"hpa", "api", "query", "keep"} {
		const help = "What is wanted, by who wants it: metrics that HorizontalPodAutoscalers scale on (hpa) or that were asked for over the APIs (api), selectors of queries (query), and patterns of keep in the configuration (keep)."
		gauge("promlet_demand", help, "reader", reader, func() int { return p.Demand.Counts()[reader] })
	}
	if err := p.registerer.Register(p.metrics.all); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

// answered notes an answer to a question about a metric that came at start.
func (p *Provider) answered(api rules.API, metric string, start time.Time, outcome values.Outcome) {
	p.metrics.answered(api, start, outcome)
	if p.engine != nil && outcome == values.OutcomeNoMetric {
		p.engine.Missed(metric) // the engine may have it since the last list
	}
}

// answered counts an answer to a question that came at start. A list without values
// counts as why there are none.
func (m *metrics) answered(api rules.API, start time.Time, outcome values.Outcome) {
	m.took[api].Observe(time.Since(start).Seconds())
	m.answers[api][outcome].Inc()
}

// valueOf counts a value by the age of its last sample.
func (m *metrics) valueOf(api rules.API, age time.Duration) {
	m.age[api].Observe(max(0, age.Seconds()))
}

// evaluated counts an evaluation that began at start and gave so many results.
func (m *metrics) evaluated(start time.Time, results int, err error) {
	result := "value"
	switch {
	case err != nil:
		result = "error"
	case results == 0:
		result = "empty"
	}
	m.evaluations[result].Observe(time.Since(start).Seconds())
}
