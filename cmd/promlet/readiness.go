package main

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/promlet/promlet/scrape"
)

const (
	// maxReadinessWait is the longest time a promlet waits for samples. After it, answers
	// explain what is still missing.
	maxReadinessWait = 2 * time.Minute
	// readinessSlack is added to a wait for two scrape intervals.
	readinessSlack = 10 * time.Second
	// readinessTTL is how long the result of a look is used again.
	readinessTTL = time.Second
)

// readiness decides when a promlet that has just started has enough samples to answer. A
// rate needs two scrapes. A counter that moves slowly needs all scrapes of an interval,
// which there is time for while another replica answers.
type readiness struct {
	synced   func() error // nil once targets are known
	targets  func() map[string][]*promscrape.Target
	observed func() map[*promscrape.Target]scrape.Observation
	others   func() bool // reports whether another replica answers
	logger   *slog.Logger
	now      func() time.Time

	mtx     sync.Mutex
	since   time.Time       // when targets were known
	waiting map[uint64]bool // the targets of that moment, by the hash of their labels
	warm    bool
	looked  time.Time // when last was set
	last    error
}

// ready returns why promlet cannot answer yet, nil from when it can.
func (r *readiness) ready() error {
	if err := r.synced(); err != nil {
		return err
	}
	r.mtx.Lock()
	defer r.mtx.Unlock()
	if now := r.now(); !r.warm && now.Sub(r.looked) >= readinessTTL {
		r.last = r.look()
		r.looked = now
	}
	return r.last
}

func (r *readiness) look() error {
	active := r.active()
	if r.since.IsZero() {
		r.since = r.now()
		r.waiting = map[uint64]bool{}
		for hash := range active {
			r.waiting[hash] = true
		}
	}
	alone := !r.others()
	pending := r.pending(active, alone)
	var longest time.Duration // interval
	for _, t := range pending {
		longest = max(longest, interval(t))
	}
	waited := r.now().Sub(r.since)
	if len(pending) == 0 || waited > min(2*longest+readinessSlack, maxReadinessWait) {
		r.warm = true
		r.logger.Info("ready to answer", "targets", len(r.waiting), "withoutSamples", len(pending), "waited", waited.Round(time.Millisecond))
		return nil
	}
	reason := fmt.Sprintf("another replica answers, and %d of %d targets have not been scraped for an interval yet", len(pending), len(r.waiting))
	if alone {
		reason = fmt.Sprintf("%d of %d targets have not been scraped twice yet", len(pending), len(r.waiting))
	}
	// The URL's parameters may be secrets.
	return &notReady{public: reason, details: ", such as " + pending[0].URL().Host}
}

// active returns the current targets by the hash of their labels.
func (r *readiness) active() map[uint64]*promscrape.Target {
	active := map[uint64]*promscrape.Target{}
	builder := labels.NewBuilder(labels.EmptyLabels())
	for _, targets := range r.targets() {
		for _, t := range targets {
			active[t.Labels(builder).Hash()] = t
		}
	}
	return active
}

// pending returns the targets to wait for: those of the start that still exist, are not
// down, and have too few samples.
func (r *readiness) pending(active map[uint64]*promscrape.Target, alone bool) (pending []*promscrape.Target) {
	observed := r.observed()
	for hash := range r.waiting {
		t := active[hash]
		if t == nil {
			continue
		}
		o := observed[t]
		enough := o.Last.After(o.Since) && (alone || o.Last.Sub(o.Since) >= interval(t))
		if !enough && !r.givenUp(t, alone) {
			pending = append(pending, t)
		}
	}
	return pending
}

// givenUp reports whether not to wait for a target that is down. While another replica
// answers it gets more time, for this pod's own network may not have been up.
func (r *readiness) givenUp(t *promscrape.Target, alone bool) bool {
	return t.Health() == promscrape.HealthBad && (alone || r.now().Sub(r.since) > 2*interval(t)+readinessSlack)
}

// interval returns the time between two scrapes. It is valid, or the job is not scraped.
func interval(t *promscrape.Target) time.Duration {
	d, _ := model.ParseDuration(t.GetValue(model.ScrapeIntervalLabel))
	return time.Duration(d)
}
