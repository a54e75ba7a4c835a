package embedded

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/promlet/promlet/scrape"
	"github.com/promlet/promlet/tsdb"
)

// targetsFile is the file in the data directory that says when targets came and went.
const targetsFile = "targets.json"

// forgetTargets removes the file if samples were set aside: the file is of no use without them.
func (p *Promlet) forgetTargets() error {
	if p.DB.Damage() == nil {
		return nil
	}
	if err := os.Remove(filepath.Join(p.Dir, targetsFile)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// earlier is what an earlier process has observed of targets that are scraped now, by
// scrape.Observation.Target. It is empty if there was no such process lately.
type earlier map[uint64]*earlierSamples

// earlierSamples is the time in which an earlier process has stored every series that the target
// has now. If it has not stored one of them, last is zero: some samples may be lost.
type earlierSamples struct{ first, last time.Time }

// add adds a series of the target.
func (e *earlierSamples) add(first, last time.Time) {
	if first.After(e.first) {
		e.first = first
	}
	if last.Before(e.last) {
		e.last = last
	}
}

// observedEarlier reads the samples from a time on.
func (p *Promlet) observedEarlier(from time.Time) earlier {
	before := earlier{}
	q, err := p.DB.Querier(from.UnixMilli(), p.opts.Now().UnixMilli())
	if err != nil {
		return before // readiness.storing says why
	}
	defer func() { _ = q.Close() }() // it always returns nil
	set := q.Select(context.Background(), false, nil, labels.MustNewMatcher(labels.MatchNotEqual, model.MetricNameLabel, ""))
	started := p.readiness.started
	var it chunkenc.Iterator
	for set.Next() {
		series := set.At()
		source, known := p.Scraper.Source(series.Labels())
		if !known {
			continue
		}
		var first, last, now time.Time
		for it = series.Iterator(it); it.Next() != chunkenc.ValNone; {
			now = time.UnixMilli(it.AtT())
			if first.IsZero() {
				first = now
			}
			if now.Before(started) {
				last = now
			}
		}
		switch {
		case it.Err() != nil:
			last = time.Time{}
		case now.Before(started):
			continue // the target does not expose this series any more
		}
		if of := before[source.Target.ID]; of != nil {
			of.add(first, last)
		} else {
			before[source.Target.ID] = &earlierSamples{first, last}
		}
	}
	if set.Err() != nil {
		return earlier{} // so all targets are scraped twice
	}
	return before
}

// continued returns o with Since moved back to the earlier samples, if the gap after these is short.
func (e earlier) continued(o scrape.Observation, interval time.Duration) scrape.Observation {
	if seen := e[o.Target]; seen != nil && o.Since.Sub(seen.last) <= tsdb.FreshIntervals*interval {
		o.Since = seen.first
	}
	return o
}
