package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

const (
	// warmupLimit is the longest a promlet waits for samples while another
	// replica answers, well below the ten minutes after which a Deployment calls
	// its rollout failed.
	warmupLimit = 5 * time.Minute
	// warmupAlone is the longest it waits when none does: by then what is still
	// missing is better explained than refused.
	warmupAlone = 2 * time.Minute
	// warmupSlack is added where two scrape intervals are waited for.
	warmupSlack = 10 * time.Second
	// warmupMemory is how long an answer of ready is given again: whoever asks
	// more often than a kubelet does not make it look more often.
	warmupMemory = time.Second
)

// warmup tells when a promlet that has just started has the samples to answer
// with. A rate over a window that is half full is half the rate, and an HPA that
// reads it after an upgrade scales down; so while another replica answers, this
// one is ready only when its window is full.
type warmup struct {
	synced    func() error // nil once targets are known
	targets   func() map[string][]*promscrape.Target
	queryable storage.Queryable
	window    time.Duration // the longest of any rule, 0 when none has one
	others    func() bool   // whether another replica answers
	logger    *slog.Logger
	now       func() time.Time

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
	pending, err := w.pending(active, alone)
	if err != nil {
		return err
	}
	waited := w.now().Sub(w.since)
	if len(pending) == 0 || waited > w.limit(pending, alone) {
		w.warm = true
		w.logger.Info("ready to answer", "targets", len(w.waiting), "withoutSamples", len(pending), "waited", waited.Round(time.Millisecond))
		return nil
	}
	// Not its URL, whose parameters may be secrets.
	example := pending[0].URL().Host
	if alone {
		return fmt.Errorf("%d of %d targets have not been scraped twice yet, %s is one", len(pending), len(w.waiting), example)
	}
	return fmt.Errorf("another replica answers, and %d of %d targets have not been scraped for the rate window of %s yet, %s is one",
		len(pending), len(w.waiting), w.window, example)
}

// limit is how long targets are waited for.
func (w *warmup) limit(pending []*promscrape.Target, alone bool) time.Duration {
	if !alone {
		return warmupLimit
	}
	return min(2*longestInterval(pending)+warmupSlack, warmupAlone)
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
func (w *warmup) pending(active map[uint64]*promscrape.Target, alone bool) ([]*promscrape.Target, error) {
	initial := map[uint64]*promscrape.Target{}
	for hash := range w.waiting {
		if t := active[hash]; t != nil {
			initial[hash] = t
		}
	}
	stretches, err := w.stretches(initial)
	if err != nil {
		return nil, err
	}
	need := 2
	if w.window == 0 {
		need = 1 // nobody asks for a rate
	}
	var pending []*promscrape.Target
	for hash, t := range initial {
		s := stretches[hash]
		enough := s.count >= need && (alone || w.now().Sub(s.first) >= w.window-interval(t))
		if !enough && !w.givenUp(t, alone) {
			pending = append(pending, t)
		}
	}
	return pending, nil
}

// givenUp tells whether a target is down, and not only because this pod's own
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

func interval(t *promscrape.Target) time.Duration {
	// Discovery has parsed it; were it wrong, the wait would be a little longer.
	d, _ := time.ParseDuration(t.GetValue("__scrape_interval__"))
	return d
}

// stretch is the scrapes of a target that have succeeded without a failure or a
// gap between, up to now.
type stretch struct {
	first, last time.Time
	count       int
}

// stretches returns the stretch of each target, by the hash of its labels, as far
// back as it can matter. It reads the series up, which every scrape appends to, and
// which a restart brings back from the write-ahead log.
func (w *warmup) stretches(of map[uint64]*promscrape.Target) (map[uint64]stretch, error) {
	longest := longestInterval(slices.Collect(maps.Values(of)))
	now := w.now()
	from := now.Add(-max(w.window, 2*longest) - longest)
	querier, err := w.queryable.Querier(from.UnixMilli(), now.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("read what has been scraped: %w", err)
	}
	found := map[uint64]stretch{}
	builder := labels.NewBuilder(labels.EmptyLabels())
	set := querier.Select(context.Background(), false, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "up"))
	var samples chunkenc.Iterator
	for set.Next() {
		series := set.At()
		builder.Reset(series.Labels())
		hash := builder.Del(model.MetricNameLabel).Labels().Hash()
		if t := of[hash]; t != nil {
			samples = series.Iterator(samples)
			found[hash] = lastStretch(samples, 2*interval(t)+warmupSlack, now)
		}
	}
	if err := errors.Join(set.Err(), querier.Close()); err != nil {
		return nil, fmt.Errorf("read what has been scraped: %w", err)
	}
	return found, nil
}

// lastStretch reads the samples of a series up. A gap is a time without a sample
// that is longer than so.
func lastStretch(samples chunkenc.Iterator, gap time.Duration, now time.Time) stretch {
	var s stretch
	for samples.Next() == chunkenc.ValFloat {
		at, up := samples.At()
		t := time.UnixMilli(at)
		switch {
		case up != 1: // a failure, or a stale marker, which is a NaN
			s = stretch{}
		case s.count == 0 || t.Sub(s.last) > gap:
			s = stretch{first: t, last: t, count: 1}
		default:
			s.last = t
			s.count++
		}
	}
	if now.Sub(s.last) > gap {
		return stretch{}
	}
	return s
}
