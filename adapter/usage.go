package adapter

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// Usage tells what becomes of series: which metrics the rules make of them, and who
// reads them. It is of one moment.
type Usage struct {
	rules  []*rule
	typeOf func(series string) model.MetricType
	now    time.Time
	by     map[metricKey]readersOf
	names  map[string][]metricKey // series that making a metric reads, by name
	others []selectorReader
}

// readersOf are those who read a metric.
type readersOf struct {
	hpas []string
	read time.Time // last, over the API; zero for never
}

// selectorReader reads the series that a selector on the metric name takes.
type selectorReader struct {
	on  []*labels.Matcher
	who []string
}

// ServedMetric is a metric that a rule makes of a series.
type ServedMetric struct {
	Metric   string `json:"metric"`
	External bool   `json:"external,omitempty"` // of external.metrics.k8s.io
	Rule     string `json:"rule"`               // such as rules[3]
}

// Usage returns what becomes of series now.
func (p *Provider) Usage(ctx context.Context) (*Usage, error) {
	if _, err := p.catalog.all(ctx); err != nil {
		return nil, err
	}
	hpas, err := p.objects.hpas()
	if err != nil {
		return nil, err
	}
	u := &Usage{rules: p.catalog.currentRules(), typeOf: p.catalog.typeOf, now: p.now(), by: map[metricKey]readersOf{}, names: map[string][]metricKey{}}
	for _, hpa := range hpas {
		name := "HPA " + hpa.Namespace + "/" + hpa.Name
		for _, metric := range scaledBy(hpa) {
			of := u.by[metric]
			if !slices.Contains(of.hpas, name) {
				of.hpas = append(of.hpas, name)
			}
			u.by[metric] = of
		}
	}
	u.addDemand(p.demand)
	for metric := range u.by {
		for _, on := range p.catalog.reads(metric) {
			if len(on) == 1 && on[0].Type == labels.MatchEqual {
				u.names[on[0].Value] = append(u.names[on[0].Value], metric)
				continue
			}
			u.others = append(u.others, selectorReader{on, u.who(metric)})
		}
	}
	return u, nil
}

func (u *Usage) addDemand(d *demand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for metric, last := range d.reads {
		of := u.by[metric]
		of.read = last
		u.by[metric] = of
	}
	for _, on := range d.keep {
		u.others = append(u.others, selectorReader{on, []string{"keep"}})
	}
	for _, q := range d.selectors {
		u.others = append(u.others, selectorReader{q.on, []string{"query, " + u.ago(q.last)}})
	}
}

func (u *Usage) ago(at time.Time) string {
	return max(0, u.now.Sub(at)).Round(time.Second).String() + " ago"
}

func (u *Usage) who(metric metricKey) []string {
	of := u.by[metric]
	who := slices.Clone(of.hpas)
	if !of.read.IsZero() {
		who = append(who, fmt.Sprintf("API, %s", u.ago(of.read)))
	}
	return who
}

// Served returns the metrics that rules make of a series, the ones that win first.
func (u *Usage) Served(series string) (served []ServedMetric) {
	for _, r := range slices.Backward(u.rules) {
		if metric, ok := r.metricName(series, u.typeOf(series)); ok {
			served = append(served, ServedMetric{Metric: metric, External: r.api == externalAPI, Rule: r.origin()})
		}
	}
	return served
}

// Readers tells who reads the series of a name: HPAs, clients of the API and how long
// ago, queries, and what the configuration keeps. None: nobody.
func (u *Usage) Readers(series string) []string {
	var who []string
	for _, r := range u.rules {
		if metric, ok := r.metricName(series, u.typeOf(series)); ok {
			who = append(who, u.who(metricKey{r.api, metric})...)
		}
	}
	for _, metric := range u.names[series] {
		who = append(who, u.who(metric)...)
	}
	for _, r := range u.others {
		if matchesName(r.on, series) {
			who = append(who, r.who...)
		}
	}
	slices.Sort(who)
	return slices.Compact(who)
}
