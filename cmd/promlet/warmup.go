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
	// warmupLimit is the longest a promlet waits for samples: by then what is still
	// missing is better explained than refused.
	warmupLimit = 2 * time.Minute
	// warmupSlack is added where two scrape intervals are waited for.
	warmupSlack = 10 * time.Second
	// warmupMemory is how long an answer of ready is given again: whoever asks
	// more often than a kubelet does not make it look more often.
	warmupMemory = time.Second
)

// warmup finds out when a promlet that has just started has the samples to answer
// with. A rate takes two scrapes; of a counter that moves slowly, as many as there are
// in an interval. While another replica answers there is time for these.
type warmup struct {
	synced   func() error // nil once targets are known
	targets  func() map[string][]*promscrape.Target
	observed func() map[*promscrape.Target]scrape.Observation
	others   func() bool // whether another replica answers
	logger   *slog.Logger
	now      func() time.Time

	mtx     sync.Mutex
	since   time.Time       // when targets were known
	waiting map[uint64]bool // the targets of that moment, by the hash of their labels
	warm    bool
	looked  time.Time // when last was found out
	last    error
}

// ready tells why promlet cannot answer yet, nil when it can and from then on.
func (w *warmup) ready() error {
	if err := w.synced(); err != nil {
		return err
	}
	w.mtx.Lock()
	defer w.mtx.Unlock()
	if now := w.now(); !w.warm && now.Sub(w.looked) >= warmupMemory {
		w.last = w.look()
		w.looked = now
	}
	return w.last
}

func (w *warmup) look() error {
	active := w.active()
	if w.since.IsZero() {
		w.since = w.now()
		w.waiting = map[uint64]bool{}
		for hash := range active {
			w.waiting[hash] = true
		}
	}
	alone := !w.others()
	pending := w.pending(active, alone)
	waited := w.now().Sub(w.since)
	if len(pending) == 0 || waited > min(2*longestInterval(pending)+warmupSlack, warmupLimit) {
		w.warm = true
		w.logger.Info("ready to answer", "targets", len(w.waiting), "withoutSamples", len(pending), "waited", waited.Round(time.Millisecond))
		return nil
	}
	// Not its URL, whose parameters may be secrets.
	example := pending[0].URL().Host
	if alone {
		return fmt.Errorf("%d of %d targets have not been scraped twice yet, %s is one", len(pending), len(w.waiting), example)
	}
	return fmt.Errorf("another replica answers, and %d of %d targets have not been scraped for an interval yet, %s is one",
		len(pending), len(w.waiting), example)
}

// active returns the targets by the hash of their labels.
func (w *warmup) active() map[uint64]*promscrape.Target {
	active := map[uint64]*promscrape.Target{}
	builder := labels.NewBuilder(labels.EmptyLabels())
	for _, targets := range w.targets() {
		for _, t := range targets {
			active[t.Labels(builder).Hash()] = t
		}
	}
	return active
}

// pending returns the targets that there is something to wait for: those of the
// beginning that are still there, are not down, and have too few samples.
func (w *warmup) pending(active map[uint64]*promscrape.Target, alone bool) (pending []*promscrape.Target) {
	observed := w.observed()
	for hash := range w.waiting {
		t := active[hash]
		if t == nil {
			continue
		}
		o := observed[t]
		enough := o.Last.After(o.Since) && (alone || o.Last.Sub(o.Since) >= interval(t))
		if !enough && !w.givenUp(t, alone) {
			pending = append(pending, t)
		}
	}
	return pending
}

// givenUp reports whether a target is down, and not only because this pod's own
// network was not up yet: with another replica there is time to try again.
func (w *warmup) givenUp(t *promscrape.Target, alone bool) bool {
	return t.Health() == promscrape.HealthBad && (alone || w.now().Sub(w.since) > 2*interval(t)+warmupSlack)
}

func longestInterval(targets []*promscrape.Target) time.Duration {
	var longest time.Duration
	for _, t := range targets {
		longest = max(longest, interval(t))
	}
	return longest
}

// interval is the time between scrapes. It is never wrong: such a job is not scraped.
func interval(t *promscrape.Target) time.Duration {
	d, _ := model.ParseDuration(t.GetValue(model.ScrapeIntervalLabel))
	return time.Duration(d)
}
