package adapter

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
)

// demandFile is what DemandOptions.File holds, so that the first scrapes after a
// restart store what was stored before it.
type demandFile struct {
	// Metrics of the API, and when they were read last. Those that only HPAs
	// read are among them, for HPAs are known later than targets are scraped.
	Metrics  map[string]time.Time `json:"metrics,omitempty"`
	External map[string]time.Time `json:"external,omitempty"`
	// Selectors of names of series are PromQL's, likewise.
	Selectors map[string]time.Time `json:"selectors,omitempty"`
}

func (f *demandFile) byAPI() map[api]map[string]time.Time {
	return map[api]map[string]time.Time{customAPI: f.Metrics, externalAPI: f.External}
}

// load reads the file. What cannot be read is as if it were not there: it will be
// asked for again.
func (d *demand) load() {
	if d.opts.File == "" {
		return
	}
	data, err := os.ReadFile(d.opts.File)
	var f demandFile
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			d.logger.Warn("series are wanted when they are asked for again: what was wanted before cannot be read", "file", d.opts.File, "err", err)
		}
		return
	}
	now := d.now()
	p := parser.NewParser(parser.Options{})
	for api, metrics := range f.byAPI() {
		for name, last := range metrics {
			if len(d.reads) < maxReads {
				metric := metricKey{api, name}
				// The clock may have been ahead.
				d.reads[metric] = earlier(last, now)
				d.since[metric] = d.reads[metric].Add(-3 * d.opts.FirstValue)
			}
		}
	}
	for text, last := range f.Selectors {
		if len(text) > maxSelectorText || !d.hasRoom(text) {
			continue
		}
		if on, err := p.ParseMetricSelector(text); err == nil {
			d.selectors[text] = selector{on: on, last: earlier(last, now)}
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// save writes the file when what it says has changed: at once when something is
// wanted that was not, or no longer; the times of the last reads now and then, and
// with force.
func (d *demand) save(wanted *Demand, force bool) {
	if d.opts.File == "" {
		return
	}
	now := d.now()
	key := wanted.key()
	if key == d.saved && now.Sub(d.savedAt) < savePeriod && !force {
		return
	}
	err := d.write(wanted, now)
	if err != nil && !d.failing {
		d.logger.Warn("what is wanted is not kept over a restart", "err", err)
	}
	d.failing = err != nil
	d.saved, d.savedAt = key, now
}

func (d *demand) write(wanted *Demand, now time.Time) error {
	f := demandFile{Metrics: map[string]time.Time{}, External: map[string]time.Time{}, Selectors: map[string]time.Time{}}
	metrics := f.byAPI()
	d.mu.Lock()
	for metric, last := range d.reads {
		metrics[metric.api][metric.name] = last
	}
	for text, s := range d.selectors {
		f.Selectors[text] = s.last
	}
	d.mu.Unlock()
	for metric := range wanted.scaled.metrics {
		metrics[metric.api][metric.name] = now
	}
	data, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("write %s: %w", d.opts.File, err)
	}
	// Renamed into place, so that a crash leaves the one or the other.
	temporary := filepath.Join(filepath.Dir(d.opts.File), "."+filepath.Base(d.opts.File)+".new")
	if err = writeSynced(temporary, data); err == nil {
		err = fileutil.Rename(temporary, d.opts.File) // it syncs the directory, too
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", d.opts.File, err)
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
