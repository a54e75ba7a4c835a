package scrape

import (
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

// Catalog returns what the targets expose, in no order, and its version: as long as
// the version is the same, no name has come or gone. Jobs with a sink are left out.
func (m *Manager) Catalog() (metrics []Metric, version uint64) {
	version = m.catalogVersion.Load()
	for job, s := range m.allSettings() {
		if s.sink == nil {
			metrics = metricsOf(job, s, metrics)
		}
	}
	return metrics, version
}

// CatalogOf returns what the targets of a job expose, in no order. The job may have a sink.
func (m *Manager) CatalogOf(job string) []Metric {
	if s := m.allSettings()[job]; s != nil {
		return metricsOf(job, s, nil)
	}
	return nil
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
