package scrape

import (
	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/promlet/promlet/scrape/internal/names"
)

// Metric is a metric name that targets exposed in their last successful scrapes,
// whether its series are stored or not.
type Metric struct {
	Job  string
	Name string // after metric relabelling
	metadata.Metadata
	LabelNames []string // of the first series met, sorted, without the name
	Series     int      // in all targets of the job together
	Stored     bool     // whether they are, as far as Options.SeriesRoom allows
}

// Catalog returns what the targets expose, and the synthetic series of each job with targets,
// in no order; and its version: as long as the version is the same, no name has come or gone.
// Of jobs with a sink it has the synthetic series only.
func (m *Manager) Catalog() (metrics []Metric, version uint64) {
	version = m.catalogVersion.Load()
	for job, s := range m.allSettings() {
		if s.sink == nil {
			metrics = metricsOf(job, s, metrics)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.jobs {
		metrics = m.reportsOf(name, metrics)
	}
	return metrics, version
}

// CatalogOf returns what the targets of a job expose, and the synthetic series, in no order.
// The job may have a sink.
func (m *Manager) CatalogOf(job string) (metrics []Metric) {
	if s := m.allSettings()[job]; s != nil {
		metrics = metricsOf(job, s, nil)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reportsOf(job, metrics)
}

// reportsOf appends the names of a job's synthetic series, unless its targets expose series of
// such names. m.mu is held.
func (m *Manager) reportsOf(job string, to []Metric) []Metric {
	j := m.jobs[job]
	if j == nil || len(j.loops) == 0 {
		return to
	}
	var first *loop
	for _, l := range j.loops {
		if first == nil || l.origin.now.Load().Rank < first.origin.now.Load().Rank {
			first = l
		}
	}
	s, demand := j.plan.settings, m.demand.Load()
	var labelNames []string
	reportLabels(labels.NewBuilder(labels.EmptyLabels()), "", first.target).Range(func(l labels.Label) { labelNames = append(labelNames, l.Name) })
	for i := range s.reportCount() {
		name, unit, help := reportInfo(i)
		if s.sink == nil && s.names.Exposes(name) {
			continue
		}
		to = append(to, Metric{
			Job: job, Name: name, Metadata: metadata.Metadata{Type: model.MetricTypeGauge, Unit: unit, Help: help}, LabelNames: labelNames,
			Series: len(j.loops), Stored: !m.opts.OnDemand || demand.Of(name) != names.Unread,
		})
	}
	return to
}

// reportCounts returns the number of synthetic series names of each job that Catalog has.
// m.mu is held.
func (m *Manager) reportCounts() map[string]int {
	counts := map[string]int{}
	for name, j := range m.jobs {
		if len(j.loops) > 0 {
			counts[name] = j.plan.settings.reportCount()
		}
	}
	return counts
}

// CatalogVersion returns the version of Catalog, without the work.
func (m *Manager) CatalogVersion() uint64 { return m.catalogVersion.Load() }

// allSettings returns the settings of each job.
func (m *Manager) allSettings() map[string]*settings {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]*settings, len(m.jobs))
	for name, j := range m.jobs {
		all[name] = j.plan.settings
	}
	return all
}

// metricsOf appends the names of a job that have series.
func metricsOf(job string, s *settings, to []Metric) []Metric {
	s.names.Exposed(func(e *names.Entry) {
		to = append(to, Metric{
			Job: job, Name: e.Name(), Metadata: e.Metadata(), LabelNames: e.LabelNames(),
			Series: e.Series, Stored: !s.onDemand || e.Need != names.Unread,
		})
	})
	return to
}

// DroppedOf returns how many samples metric relabelling dropped in the last scrapes of a job's targets that are up, and how
// many they had before. Where it drops some series of a name that nobody reads by their labels, it may have dropped more.
func (m *Manager) DroppedOf(job string) (dropped, seen int) {
	m.eachLoop(func(l *loop) {
		if last := l.lastSamples.Load(); last != nil && l.settings.jobName == job && l.target.Health() == promscrape.HealthGood {
			dropped += last.Seen - last.kept
			seen += last.Seen
		}
	})
	return dropped, seen
}
