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

// forgetTargets removes the file if samples were set aside: without them it is of no use.
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

// earlierSamples are the times between which an earlier process has observed all series that the
// target has now. Last is zero if it has not observed one of them: some samples may be lost.
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
		if now.Before(started) {
			continue // the target has it no more
		}
		if of := before[source.Target.ID]; of != nil {
			of.add(first, last)
		} else {
			before[source.Target.ID] = &earlierSamples{first, last}
		}
	}
	return before // what cannot be read is waited for
}

// continued is an observation that includes the earlier one, if the time between them is short
// enough for series to go on.
func (e earlier) continued(o scrape.Observation, interval time.Duration) scrape.Observation {
	if seen := e[o.Target]; seen != nil && o.Resumed && o.Since.Sub(seen.last) <= tsdb.FreshIntervals*interval {
		o.Since = seen.first
	}
	return o
}
