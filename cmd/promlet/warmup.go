package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

const (
	// warmupAlone is the longest a promlet waits for samples when no other
	// replica answers in its place: what is still missing then is better
	// explained than refused.
	warmupAlone = 30 * time.Second
	// warmupLimit is the longest it waits when another one does, well below the
	// ten minutes after which a Deployment calls its rollout failed.
	warmupLimit = 5 * time.Minute
)

// warmup tells when a promlet that has just started has the samples to answer
// with. A rate over a window that is half full is half the rate, and an HPA that
// reads it after an upgrade scales down; so while another replica answers, this
// one is ready only when its window is full.
type warmup struct {
	synced    func() error // nil once targets are known
	targets   func() map[string][]*promscrape.Target
	queryable storage.Queryable
	window    time.Duration // the longest of any rule
	others    func() bool   // whether another replica answers
	logger    *slog.Logger
	now       func() time.Time

	mtx     sync.Mutex
	since   time.Time       // when targets were known
	waiting map[uint64]bool // the targets of that moment, by the hash of their labels
	warm    bool
}

// ready tells why promlet cannot answer yet, nil when it can and from then on.
func (w *warmup) ready() error {
	if err := w.synced(); err != nil {
		return err
	}
	w.mtx.Lock()
	defer w.mtx.Unlock()
	if w.warm {
		return nil
	}
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
	limit := warmupLimit
	if alone {
		limit = warmupAlone
	}
	if waited := w.now().Sub(w.since); len(pending) == 0 || waited > limit {
		w.warm = true
		w.logger.Info("ready to answer", "targets", len(w.waiting), "withoutSamples", len(pending), "waited", waited.Round(time.Millisecond))
		return nil
	}
	if alone {
		return fmt.Errorf("%d of %d targets have not been scraped twice yet, %s is one", len(pending), len(w.waiting), pending[0].URL())
	}
	return fmt.Errorf("another replica answers, and %d of %d targets have not been scraped for the rate window of %s yet, %s is one",
		len(pending), len(w.waiting), w.window, pending[0].URL())
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
	scraped, err := w.scraped()
	if err != nil {
		return nil, err
	}
	var pending []*promscrape.Target
	for hash := range w.waiting {
		t := active[hash]
		if t == nil || t.Health() == promscrape.HealthBad {
			continue
		}
		seen := scraped[hash]
		full := !seen.first.IsZero() && w.now().Sub(seen.first) >= w.window-interval(t)
		if seen.count < 2 || !alone && !full {
			pending = append(pending, t)
		}
	}
	return pending, nil
}

func interval(t *promscrape.Target) time.Duration {
	// Discovery has parsed it; were it wrong, the wait would be a little longer.
	d, _ := time.ParseDuration(t.GetValue("__scrape_interval__"))
	return d
}

// scrapes is what the TSDB holds of a target.
type scrapes struct {
	first time.Time
	count int
}

// scraped returns what there is of each target by the hash of its labels. It reads
// the series up, which every scrape appends to, and which a restart brings back
// from the write-ahead log.
func (w *warmup) scraped() (map[uint64]scrapes, error) {
	now := w.now()
	querier, err := w.queryable.Querier(now.Add(-2*w.window).UnixMilli(), now.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("read what has been scraped: %w", err)
	}
	found := map[uint64]scrapes{}
	builder := labels.NewBuilder(labels.EmptyLabels())
	set := querier.Select(context.Background(), false, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "up"))
	var samples chunkenc.Iterator
	for set.Next() {
		series := set.At()
		builder.Reset(series.Labels())
		hash := builder.Del(model.MetricNameLabel).Labels().Hash()
		samples = series.Iterator(samples)
		seen := scrapes{}
		for seen.count < 2 && samples.Next() != chunkenc.ValNone {
			if seen.count == 0 {
				seen.first = time.UnixMilli(samples.AtT())
			}
			seen.count++
		}
		found[hash] = seen
	}
	if err := errors.Join(set.Err(), querier.Close()); err != nil {
		return nil, fmt.Errorf("read what has been scraped: %w", err)
	}
	return found, nil
}
