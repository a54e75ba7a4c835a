package scrape

import (
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	promscrape "github.com/prometheus/prometheus/scrape"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
)

// addTargetLabels puts the labels of target on a scraped series. Where both have a
// label, the series' own stays with honor. Without, it is moved to a name with exported_
// before it.
func addTargetLabels(b *labels.Builder, lset labels.Labels, target *promscrape.Target, honor bool) {
	b.Reset(lset)
	if honor {
		target.LabelsRange(func(l labels.Label) {
			// An empty label in the body counts as one.
			if !lset.Has(l.Name) {
				b.Set(l.Name, l.Value)
			}
		})
		return
	}
	var clashes []labels.Label
	target.LabelsRange(func(l labels.Label) {
		if own := lset.Get(l.Name); own != "" {
			clashes = append(clashes, labels.Label{Name: l.Name, Value: own})
		}
		b.Set(l.Name, l.Value)
	})
	// Short names first: job may need the place that exported_job has.
	slices.SortStableFunc(clashes, func(x, y labels.Label) int { return len(x.Name) - len(y.Name) })
	for _, l := range clashes {
		name := model.ExportedLabelPrefix + l.Name
		for b.Get(name) != "" {
			name = model.ExportedLabelPrefix + name
		}
		b.Set(name, l.Value)
	}
}

// seriesLabels returns the labels that a scraped series is stored under; none if metric
// relabelling drops it. foreign reports whether the job would give it to another namespace.
func seriesLabels(b *labels.Builder, lset labels.Labels, target *promscrape.Target, s *settings) (stored labels.Labels, foreign bool) {
	addTargetLabels(b, lset, target, s.honorLabels)
	if !relabel.ProcessBuilder(b, s.metricRelabel...) {
		return labels.EmptyLabels(), false
	}
	foreign = s.namespace.pin(b)
	return b.Labels(), foreign
}

// namespaceLabel is the label that Options.Namespace is about.
const namespaceLabel = "namespace"

// namespacePin is the namespace that the series of a job should have, "" for any.
type namespacePin struct {
	namespace string
	enforced  *relabel.Config // the last rule of both kinds; nil: none enforces it
}

// pinOf returns the pin of a checked job.
func (m *Manager) pinOf(cfg *config.ScrapeConfig) (p namespacePin) {
	if m.opts.Namespace == nil {
		return p
	}
	var enforced bool
	p.namespace, enforced = m.opts.Namespace(cfg.JobName)
	if n := len(cfg.MetricRelabelConfigs); enforced && n > 0 && len(cfg.RelabelConfigs) > 0 {
		p.enforced = cfg.MetricRelabelConfigs[n-1]
	}
	return p
}

// others returns rules without the one that enforces the namespace.
func (p namespacePin) others(rules []*relabel.Config) []*relabel.Config {
	if p.enforced == nil {
		return rules
	}
	return rules[:len(rules)-1]
}

// pin enforces the namespace on labels that the other rules have made. foreign reports
// whether these gave another one.
func (p namespacePin) pin(b *labels.Builder) (foreign bool) {
	foreign = p.isForeign(b.Get(namespaceLabel))
	if p.enforced != nil {
		relabel.ProcessBuilder(b, p.enforced) // it drops nothing
	}
	return foreign
}

// isForeign reports whether a namespace is another. Series without the label are of none,
// which enforcement changes too.
func (p namespacePin) isForeign(namespace string) bool {
	return p.namespace != "" && namespace != p.namespace && (namespace != "" || p.enforced != nil)
}

// populate returns the labels of a target, with the namespace enforced.
func (p namespacePin) populate(b *labels.Builder, cfg *config.ScrapeConfig, own, group model.LabelSet) (lset labels.Labels, foreign bool, err error) {
	if p.enforced != nil {
		others := *cfg
		others.RelabelConfigs = p.others(cfg.RelabelConfigs)
		cfg = &others
	}
	lset, err = promscrape.PopulateLabels(b, cfg, own, group)
	if err != nil || lset.IsEmpty() || p.enforced == nil {
		return lset, false, err
	}
	b.Reset(lset)
	foreign = p.pin(b)
	return b.Labels(), foreign, nil
}

// foreignSeries are the series of a loop that its job would give to other namespaces.
type foreignSeries struct {
	pin    namespacePin
	target bool // its target would be, too

	mu      sync.Mutex
	count   int
	example string
	// overruled are the hashes of those that enforcement has given to the own namespace:
	// their labels do not show it. nil until there is one.
	overruled map[uint64]struct{}
}

// add notes a series that is stored.
func (f *foreignSeries) add(stored labels.Labels, foreign bool) {
	if !foreign {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pin.enforced == nil {
		f.count++
		f.example = stored.Get(namespaceLabel)
		return
	}
	if f.overruled == nil {
		f.overruled = map[uint64]struct{}{}
	}
	f.overruled[stored.Hash()] = struct{}{}
}

// remove notes that a series is gone.
func (f *foreignSeries) remove(stored labels.Labels) {
	if f.pin.enforced == nil {
		if f.pin.isForeign(stored.Get(namespaceLabel)) {
			f.mu.Lock()
			f.count--
			f.mu.Unlock()
		}
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.overruled) > 0 {
		delete(f.overruled, stored.Hash())
	}
}

// Foreign is what a job would give to other namespaces than Options.Namespace says.
type Foreign struct {
	// Series are those stored under another namespace, and Example is one of these; or, where
	// the namespace is enforced, those that were given to it instead.
	Series  int
	Example string
	// Targets are those that were given to the namespace that is enforced.
	Targets  int
	Enforced bool
}

// Foreign returns what each job that should have a namespace gives to others, by name.
func (m *Manager) Foreign() map[string]Foreign {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string]Foreign{}
	for name, j := range m.jobs {
		pin := j.plan.settings.namespace
		if pin.namespace == "" {
			continue
		}
		of := Foreign{Enforced: pin.enforced != nil}
		for _, l := range j.loops {
			l.foreign.addTo(&of)
		}
		all[name] = of
	}
	return all
}

func (f *foreignSeries) addTo(of *Foreign) {
	f.mu.Lock()
	defer f.mu.Unlock()
	of.Series += f.count + len(f.overruled)
	if f.target {
		of.Targets++
	}
	if f.count > 0 && (of.Example == "" || f.example < of.Example) {
		of.Example = f.example
	}
}

// foreignCollector exports what Foreign returns.
type foreignCollector struct {
	manager *Manager
	series  *prometheus.Desc
}

func newForeignCollector(m *Manager) *foreignCollector {
	return &foreignCollector{manager: m, series: prometheus.NewDesc("promlet_scrape_foreign_namespace_series",
		"Series stored with the label namespace of another namespace than their monitor's, by job.", []string{"job"}, nil)}
}

// Describe implements [prometheus.Collector].
func (c *foreignCollector) Describe(to chan<- *prometheus.Desc) { to <- c.series }

// Collect implements [prometheus.Collector].
func (c *foreignCollector) Collect(to chan<- prometheus.Metric) {
	for job, of := range c.manager.Foreign() {
		n := of.Series
		if of.Enforced {
			n = 0 // none of them has come through
		}
		to <- prometheus.MustNewConstMetric(c.series, prometheus.GaugeValue, float64(n), job)
	}
}
