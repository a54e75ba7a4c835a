package adapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

const (
	// demandPeriod is how often HPAs and what targets expose are looked at anew. A
	// metric asked for over the API is seen to at once.
	demandPeriod = time.Second
	// savePeriod is how often at most the demand is saved when only the times of
	// the last reads have changed.
	savePeriod = time.Minute
	// maxReads bounds the metrics that are remembered; an API client may ask for
	// anything.
	maxReads = 10_000
)

// DemandOptions say whose reading makes series wanted, and for how long.
type DemandOptions struct {
	// TTL is how long after its last read over the API, or by Selected, a metric stays
	// wanted. 0 is DefaultDemandTTL.
	TTL time.Duration
	// File keeps the demand over restarts; it is made if missing. Empty: nothing is
	// kept.
	File string
	// FirstValue is about how long it takes from a series becoming wanted until it
	// has two samples: what a client is told that asks for the first time. 0:
	// series are stored whether they are wanted or not.
	FirstValue time.Duration
}

// DefaultDemandTTL outlives a rollout, a node's reboot, and a lunch break with a
// terminal open.
const DefaultDemandTTL = time.Hour

// demand knows who reads what.
type demand struct {
	opts   DemandOptions
	logger *slog.Logger
	now    func() time.Time
	kick   chan struct{} // something new is read

	mu        sync.Mutex
	keep      [][]*labels.Matcher
	reads     map[metricKey]time.Time // metrics -> last read
	selectors map[string]selector     // by their text
	since     map[metricKey]time.Time // metrics wanted -> since when
	current   *Demand                 // what was wanted last

	saved   string // what the file holds
	savedAt time.Time
	failing bool // to save
}

func newDemand(opts DemandOptions, logger *slog.Logger, now func() time.Time) *demand {
	if opts.TTL == 0 {
		opts.TTL = DefaultDemandTTL
	}
	d := &demand{
		opts: opts, logger: logger, now: now, kick: make(chan struct{}, 1),
		reads: map[metricKey]time.Time{}, selectors: map[string]selector{}, since: map[metricKey]time.Time{},
	}
	d.load()
	return d
}

// compileKeep reports all patterns that are wrong at once.
func compileKeep(patterns []string) (keep [][]*labels.Matcher, err error) {
	var errs []error
	for i, pattern := range patterns {
		m, err := labels.NewMatcher(labels.MatchRegexp, model.MetricNameLabel, pattern)
		if err != nil {
			errs = append(errs, fmt.Errorf("keep[%d]: %q is no regular expression: %w", i, pattern, err))
			continue
		}
		keep = append(keep, []*labels.Matcher{m})
	}
	return keep, errors.Join(errs...)
}

func (d *demand) setKeep(keep [][]*labels.Matcher) {
	d.mu.Lock()
	d.keep = keep
	d.mu.Unlock()
	d.wake()
}

// read notes that somebody asks for a metric.
func (d *demand) read(metric metricKey) {
	now := d.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.reads[metric]; known || len(d.reads) < maxReads {
		d.reads[metric] = now
	}
	if _, known := d.since[metric]; !known && len(d.since) < 2*maxReads {
		d.since[metric] = now
		d.wake()
	}
}

func (d *demand) wake() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// starting tells how long it is until a metric has its first value, 0 if it should
// have one: its collection has begun long enough ago, or does not depend on demand.
func (d *demand) starting(metric metricKey) time.Duration {
	if d.opts.FirstValue == 0 {
		return 0
	}
	d.mu.Lock()
	since, ok := d.since[metric]
	d.mu.Unlock()
	if !ok {
		return 0
	}
	return d.left(since)
}

// left tells how long it is until what is collected since then has its first value.
func (d *demand) left(since time.Time) time.Duration {
	now := d.now()
	// Twice that long is patience for a slow target.
	if now.Sub(since) > 2*d.opts.FirstValue {
		return 0
	}
	return max(time.Second, since.Add(d.opts.FirstValue).Sub(now))
}

// CurrentDemand returns what is wanted now.
func (p *Provider) CurrentDemand(ctx context.Context) (*Demand, error) {
	if _, err := p.catalog.all(ctx); err != nil {
		return nil, err
	}
	scaled, err := p.objects.scaledMetrics()
	if err != nil {
		return nil, err
	}
	now := &Demand{rules: p.catalog.currentRules(), read: newReaders(), scaled: newReaders()}
	for _, metric := range scaled {
		now.scaled.metrics[metric] = true
	}
	p.demand.settle(now)
	now.read.follow(p.catalog)
	now.scaled.follow(p.catalog)
	p.demand.mu.Lock()
	p.demand.current = now
	p.demand.mu.Unlock()
	return now, nil
}

// settle forgets who has not read for long, and adds who has to what is wanted now.
func (d *demand) settle(now *Demand) {
	at := d.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for metric, last := range d.reads {
		if at.Sub(last) > d.opts.TTL {
			delete(d.reads, metric)
			continue
		}
		now.read.metrics[metric] = true
	}
	for text, s := range d.selectors {
		if at.Sub(s.last) > d.opts.TTL {
			delete(d.selectors, text)
			continue
		}
		now.read.add(s.on)
	}
	for _, on := range d.keep {
		now.read.add(on)
	}
	for metric := range d.since {
		if !now.read.metrics[metric] && !now.scaled.metrics[metric] {
			delete(d.since, metric)
		}
	}
	for metric := range now.scaled.metrics {
		if _, known := d.since[metric]; !known {
			d.since[metric] = at
		}
	}
}

// RunDemand calls apply with what is wanted, first at once and then whenever that
// changes, until ctx is done. It also keeps DemandOptions.File.
func (p *Provider) RunDemand(ctx context.Context, apply func(*Demand)) error {
	ticker := time.NewTicker(demandPeriod)
	defer ticker.Stop()
	var last string
	var applied time.Time
	for first := true; ; first = false {
		now, err := p.CurrentDemand(ctx)
		if err != nil && ctx.Err() == nil {
			p.logger.Warn("what is wanted is not known anew", "err", err)
		}
		if err == nil {
			if key := now.key(); first || key != last {
				last, applied = key, time.Now()
				apply(now)
			}
			p.demand.save(now, false)
		}
		select {
		case <-ctx.Done():
			if now != nil {
				p.demand.save(now, true)
			}
			return nil
		case <-ticker.C:
			continue
		case <-p.demand.kick:
		}
		// Whoever asks for one metric after the other does not make all targets be
		// scraped for each.
		select {
		case <-ctx.Done():
		case <-time.After(demandPeriod - time.Since(applied)):
		}
	}
}

// scaledMetrics returns the metrics that HPAs scale on.
func (o objects) scaledMetrics() ([]metricKey, error) {
	hpas, err := o.hpas()
	if err != nil {
		return nil, err
	}
	var metrics []metricKey
	for _, hpa := range hpas {
		metrics = append(metrics, scaledBy(hpa)...)
	}
	return metrics, nil
}

// scaledBy returns the metrics that an HPA scales on.
func scaledBy(hpa *autoscalingv2.HorizontalPodAutoscaler) (metrics []metricKey) {
	for _, m := range hpa.Spec.Metrics {
		switch {
		case m.Pods != nil:
			metrics = append(metrics, metricKey{customAPI, m.Pods.Metric.Name})
		case m.Object != nil:
			metrics = append(metrics, metricKey{customAPI, m.Object.Metric.Name})
		case m.External != nil:
			metrics = append(metrics, metricKey{externalAPI, m.External.Metric.Name})
		}
	}
	return metrics
}
