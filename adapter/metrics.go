package adapter

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// answer is how a request to an API ended, for the metrics.
type answer string

const (
	answerValue         answer = "value"           // at least one
	answerRefused       answer = "refused"         // the question cannot be answered for anybody
	answerNoObject      answer = "no_object"       // of that name, or that the selector picks
	answerNoMetric      answer = "no_metric"       // no rule makes it
	answerNoMonitor     answer = "no_monitor"      // selects the object
	answerNoEndpoints   answer = "no_endpoints"    // its monitor makes no targets of it
	answerTargetDown    answer = "target_down"     // or not scraped yet
	answerNoSeries      answer = "no_series"       // with the labels that the rule and the request ask for
	answerStarting      answer = "starting"        // collection has begun
	answerNoSamples     answer = "no_samples"      // that are current
	answerTooFewSamples answer = "too_few_samples" // for a rate
	answerNotANumber    answer = "not_a_number"    // NaN, or infinite
	answerError         answer = "error"           // a fault
)

func allAnswers() []answer {
	return []answer{
		answerValue, answerRefused, answerNoObject, answerNoMetric, answerNoMonitor, answerNoEndpoints, answerTargetDown,
		answerNoSeries, answerStarting, answerNoSamples, answerTooFewSamples, answerNotANumber, answerError,
	}
}

// answerOf is what an error of an answer counts as, before apiStatus.
func answerOf(err error) answer {
	var gone *absence
	switch {
	case err == nil:
		return answerValue
	case !errors.As(err, &gone):
		if isNotFound(err) {
			return answerRefused
		}
		return answerError
	case gone.as != "":
		return gone.as
	case gone.starting:
		return answerStarting
	case gone.unknownMetric:
		return answerNoMetric
	}
	return answerNoSeries
}

// answerOfLink is what an absence counts as whose first broken link this is, "" where
// the link does not say.
func answerOfLink(link Link) answer {
	switch link {
	case LinkObject:
		return answerNoObject
	case LinkRule:
		return answerNoMetric
	case LinkMonitor:
		return answerNoMonitor
	case LinkEndpoints:
		return answerNoEndpoints
	case LinkTargets:
		return answerTargetDown
	case LinkSeries:
		return answerNoSeries
	case LinkSamples:
		return answerNoSamples
	}
	return ""
}

// metrics count what a Provider answers. They exist without a registerer as well.
type metrics struct {
	answers map[api]map[answer]prometheus.Counter
	took    map[api]prometheus.Observer // seconds
	age     map[api]prometheus.Observer // seconds
	// evaluations of queries, in seconds, by what came of them.
	evaluated, empty, failed prometheus.Observer
}

// newMetrics registers the metrics of p, which is asked on every collection.
func newMetrics(r prometheus.Registerer, p *Provider) (*metrics, error) {
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "promlet_api_answers_total",
		Help: "Answers of the metrics APIs, by API and by whether there was a value, or why not.",
	}, []string{"api", "reason"})
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "promlet_api_answer_duration_seconds",
		Help:    "How long answers of the metrics APIs took to find, without authentication and transport.",
		Buckets: []float64{.0005, .002, .01, .05, .25, 1, 5},
	}, []string{"api"})
	age := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "promlet_api_value_age_seconds",
		Help: "How old the last sample behind a value was when it was answered.",
		// Up to two scrape intervals of a minute, from where there is no value.
		Buckets: []float64{1, 2.5, 5, 10, 15, 30, 60, 120},
	}, []string{"api"})
	evaluations := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "promlet_rule_evaluation_duration_seconds",
		Help:    "How long evaluations of rules' queries took, by whether they gave a value, nothing, or an error.",
		Buckets: []float64{.0005, .002, .01, .05, .25, 1, 5},
	}, []string{"result"})
	m := &metrics{
		answers:   map[api]map[answer]prometheus.Counter{},
		took:      map[api]prometheus.Observer{},
		age:       map[api]prometheus.Observer{},
		evaluated: evaluations.WithLabelValues("value"),
		empty:     evaluations.WithLabelValues("empty"),
		failed:    evaluations.WithLabelValues("error"),
	}
	for _, a := range []api{customAPI, externalAPI} {
		m.took[a], m.age[a] = took.WithLabelValues(a.label()), age.WithLabelValues(a.label())
		m.answers[a] = map[answer]prometheus.Counter{}
		for _, as := range allAnswers() {
			m.answers[a][as] = answers.WithLabelValues(a.label(), string(as))
		}
	}
	if r == nil {
		return m, nil
	}
	all := prometheus.NewRegistry() // to register all or none
	all.MustRegister(answers, took, age, evaluations)
	all.MustRegister(p.gauges()...)
	if err := r.Register(all); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return m, nil
}

// gauges are computed when they are collected.
func (p *Provider) gauges() []prometheus.Collector {
	var all []prometheus.Collector
	add := func(name, help, label, of string, value func() int) {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: prometheus.Labels{label: of}},
			func() float64 { return float64(value()) }))
	}
	for _, a := range []api{customAPI, externalAPI} {
		add("promlet_rules", "Rules in force, by API.", "api", a.label(), func() int {
			n := 0
			for _, r := range p.catalog.currentRules() {
				if r.api == a {
					n++
				}
			}
			return n
		})
		add("promlet_rules_unmatched", "Rules of the configuration that match no series that targets expose or that is stored, by API.", "api", a.label(), func() int {
			n := 0
			for _, r := range p.UnmatchedRules() {
				if r.api == a {
					n++
				}
			}
			return n
		})
	}
	const help = "What is wanted, by who wants it: metrics that HorizontalPodAutoscalers scale on (hpa) or that were asked for over the APIs (api), selectors of queries (query), and patterns of keep in the configuration (keep)."
	reader := func(name string, value func() int) { add("promlet_demand", help, "reader", name, value) }
	reader("hpa", func() int {
		scaled, err := p.objects.scaledMetrics()
		if err != nil {
			return 0 // a cache has no errors
		}
		distinct := map[metricKey]bool{}
		for _, metric := range scaled {
			distinct[metric] = true
		}
		return len(distinct)
	})
	of := func(count func(*demand) int) func() int {
		return func() int {
			p.demand.mu.Lock()
			defer p.demand.mu.Unlock()
			return count(p.demand)
		}
	}
	reader("api", of(func(d *demand) int { return len(d.reads) }))
	reader("query", of(func(d *demand) int { return len(d.selectors) }))
	reader("keep", of(func(d *demand) int { return len(d.keep) }))
	return all
}

// label is the API's value of the label api.
func (a api) label() string {
	if a == externalAPI {
		return "external"
	}
	return "custom"
}

// answered counts an answer to a question that came at start. A list without values
// counts as why there are none.
func (m *metrics) answered(a api, start time.Time, as answer) {
	m.took[a].Observe(time.Since(start).Seconds())
	m.answers[a][as].Inc()
}

// valueOf counts a value, the last sample behind which is so old.
func (m *metrics) valueOf(a api, age time.Duration) { m.age[a].Observe(max(0, age.Seconds())) }

// queried counts an evaluation that began at start and gave so many results.
func (m *metrics) queried(start time.Time, results int, err error) {
	took := time.Since(start).Seconds()
	switch {
	case err != nil:
		m.failed.Observe(took)
	case results == 0:
		m.empty.Observe(took)
	default:
		m.evaluated.Observe(took)
	}
}
