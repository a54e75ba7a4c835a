package scrape

import (
	"strings"

	"github.com/prometheus/prometheus/model/metadata"
)

// Metric is a metric name that targets expose, as of their last successful scrapes,
// whether its series are stored or not.
type Metric struct {
	Job  string
	Name string // after metric relabelling
	metadata.Metadata
	LabelNames []string // of the first series met, sorted, without the name
	Series     int      // in all targets of the job together
	Stored     bool     // they are stored, as far as Options.SeriesLimit allows
}

// metrics appends the names that have series.
func (n *names) metrics(job string, to []Metric) []Metric {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.entries {
		e := &n.entries[i]
		if !e.used() || e.series == 0 {
			continue
		}
		var labelNames []string
		if all := e.labels.Value(); all != "" {
			labelNames = strings.Split(all[1:], "\x00")
		}
		to = append(to, Metric{
			Job: job, Name: e.name.Value(), Metadata: e.meta.Value(), LabelNames: labelNames,
			Series: e.series, Stored: !n.onDemand || e.need != unread,
		})
	}
	return to
}

// exposed counts the names that have series, and these.
func (n *names) exposed() (exposed, series int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.entries {
		if e := &n.entries[i]; e.used() && e.series > 0 {
			exposed++
			series += e.series
		}
	}
	return exposed, series
}

// Catalog gives what the targets expose, in no order, and its version: as long as
// that is the same, no name has come or gone.
func (m *Manager) Catalog() (metrics []Metric, version uint64) {
	version = m.catalogVersion.Load()
	m.mu.Lock()
	all := make(map[string]*names, len(m.jobs))
	for name, j := range m.jobs {
		all[name] = j.names
	}
	m.mu.Unlock()
	for job, n := range all {
		metrics = n.metrics(job, metrics)
	}
	return metrics, version
}

// CatalogOf gives what the targets of a job expose, in no order.
func (m *Manager) CatalogOf(job string) []Metric {
	m.mu.Lock()
	j := m.jobs[job]
	m.mu.Unlock()
	if j == nil {
		return nil
	}
	return j.names.metrics(job, nil)
}

// CatalogVersion is that of Catalog, without the work.
func (m *Manager) CatalogVersion() uint64 { return m.catalogVersion.Load() }
