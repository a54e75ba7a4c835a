package demand

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb/fileutil"

	"github.com/promlet/promlet/adapter/rules"
)

// file is what Options.File holds, so that the first scrapes after a restart store what
// was stored before it.
type file struct {
	// Metrics of the APIs, and when they were read last. Those that only HPAs read are
	// among them: HPAs may not be known yet when targets are scraped first.
	Metrics  map[string]time.Time `json:"metrics,omitempty"`
	External map[string]time.Time `json:"external,omitempty"`
	Usage    map[string]time.Time `json:"usage,omitempty"` // by resourceRules
	// Selectors of names of series are PromQL, and when they were read last.
	Selectors map[string]time.Time `json:"selectors,omitempty"`
}

func (f *file) byAPI() map[rules.API]map[string]time.Time {
	return map[rules.API]map[string]time.Time{rules.CustomAPI: f.Metrics, rules.ExternalAPI: f.External, rules.ResourceAPI: f.Usage}
}

// load reads the file. One that cannot be read is logged, and counts as missing.
func (t *Tracker) load() {
	if t.opts.File == "" {
		return
	}
	data, err := os.ReadFile(t.opts.File)
	var f file
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			t.logger.Warn("could not read what was wanted before the restart; series are wanted once they are asked for again", "file", t.opts.File, "err", err)
		}
		return
	}
	now := t.now()
	past := func(at time.Time) time.Time {
		if at.After(now) {
			return now // the clock was ahead
		}
		return at
	}
	for api, metrics := range f.byAPI() {
		for name, last := range metrics {
			if len(t.reads) < maxReads {
				metric := rules.Metric{API: api, Name: name}
				t.reads[metric] = past(last)
				t.since[metric] = past(last).Add(-3 * t.opts.FirstValue) // it is not starting
			}
		}
	}
	p := parser.NewParser(parser.Options{})
	for text, last := range f.Selectors {
		if len(text) > maxSelectorText || !t.hasRoom(text) {
			continue
		}
		if on, err := p.ParseMetricSelector(text); err == nil {
			t.queries[text] = &query{on: on, last: past(last)}
		}
	}
}

// save writes the file: at once when something else is wanted than it says, or with force;
// for the times of the last reads alone, at most every savePeriod.
func (t *Tracker) save(wanted *Demand, force bool) {
	if t.opts.File == "" {
		return
	}
	now := t.now()
	key := wanted.key()
	if key == t.saved && now.Sub(t.savedAt) < savePeriod && !force {
		return
	}
	err := t.write(wanted, now)
	if err != nil && !t.failing {
		t.logger.Warn("could not save what is wanted; it is lost with a restart", "err", err)
	}
	t.failing = err != nil
	t.saved, t.savedAt = key, now
}

func (t *Tracker) write(wanted *Demand, now time.Time) error {
	f := file{Metrics: map[string]time.Time{}, External: map[string]time.Time{}, Usage: map[string]time.Time{}, Selectors: map[string]time.Time{}}
	metrics := f.byAPI()
	t.mu.Lock()
	for metric, last := range t.reads {
		metrics[metric.API][metric.Name] = last
	}
	for text, q := range t.queries {
		f.Selectors[text] = q.last
	}
	t.mu.Unlock()
	for metric, r := range wanted.metrics {
		if len(r.hpas) > 0 {
			metrics[metric.API][metric.Name] = now
		}
	}
	data, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("write %s: %w", t.opts.File, err)
	}
	// Renamed into place, so that a crash leaves the old or the new file.
	temporary := filepath.Join(filepath.Dir(t.opts.File), "."+filepath.Base(t.opts.File)+".new")
	if err = writeSynced(temporary, data); err == nil {
		err = fileutil.Rename(temporary, t.opts.File) // it syncs the directory, too
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", t.opts.File, err)
	}
	return nil
}

// writeSynced returns when the file is on the disk.
func writeSynced(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}
