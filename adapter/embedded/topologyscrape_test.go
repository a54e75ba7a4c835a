package embedded

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	promscrape "github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/promlet/promlet/adapter/values"
	"github.com/promlet/promlet/discovery"
	"github.com/promlet/promlet/tsdb"
)

// topologyTarget is a target as it is scraped.
type topologyTarget struct {
	values.Target

	registry *registry // nil where nothing listens
	pod      *topologyPod
	service  string // of a ServiceMonitor's
	honor    bool
	offset   time.Duration
	until    time.Time // no scrapes from then on
	marked   bool      // stale markers followed the last
	ended    bool      // it was taken away
}

// live tells whether its series count.
func (x *topologyTarget) live() bool { return x.registry != nil && x.until.IsZero() }

// scope is by what the adapter knows the targets behind a series: its namespace and job,
// or the job alone where labels are honored and the namespace may be another.
func (c *topology) scope(x *topologyTarget) string {
	job := x.Labels.Get(model.JobLabel)
	if c.honoring[job] {
		return job
	}
	return x.Labels.Get("namespace") + " " + job
}

// resolve returns the targets that discovery makes of the objects, by job, labels and
// URL, as those that scraping tells apart.
func (c *topology) resolve(d *discovery.Discoverer) map[string]*topologyTarget {
	configs, groups, err := d.Resolve()
	require.NoError(c.t, err)
	for _, m := range d.Monitors() {
		require.NoError(c.t, m.Err, m.Name)
	}
	found := map[string]*topologyTarget{}
	builder := labels.NewBuilder(labels.EmptyLabels())
	for _, cfg := range configs {
		for _, g := range groups[cfg.JobName] {
			for _, own := range g.Targets {
				lset, err := promscrape.PopulateLabels(builder, cfg, own, g.Labels)
				require.NoError(c.t, err)
				if !lset.IsEmpty() {
					found[cfg.JobName+lset.String()] = c.target(cfg, lset, own, g)
				}
			}
		}
	}
	return found
}

func (c *topology) target(cfg *config.ScrapeConfig, lset labels.Labels, own model.LabelSet, g *targetgroup.Group) *topologyTarget {
	t := promscrape.NewTarget(lset, cfg, own, g.Labels)
	x := &topologyTarget{
		Target:   adapterTarget(cfg.JobName, t, labels.NewBuilder(labels.EmptyLabels())),
		registry: c.listening[t.URL().Host], honor: cfg.HonorLabels,
	}
	if key, ok := strings.CutPrefix(g.Source, "endpointslice/"); ok {
		indexer, _ := c.objects.Indexer(discoveryv1.Resource("endpointslices"))
		obj, ok, err := indexer.GetByKey(key)
		require.NoError(c.t, err)
		require.True(c.t, ok, key)
		slice := obj.(*discoveryv1.EndpointSlice)
		x.service = slice.Labels[discoveryv1.LabelServiceName]
	}
	if x.registry != nil {
		x.pod = c.pod(x.registry)
	}
	return x
}

// pod is that of a registry; nil for a machine that is none, and when it is dead.
func (c *topology) pod(of *registry) *topologyPod {
	for _, p := range c.pods {
		if p.Namespace == of.namespace && p.Name == of.pod {
			return p
		}
	}
	return nil
}

// turn is when a target is scraped; those that write the same series take turns alike,
// for between samples at odd distances a rate is only nearly what it should be.
type turn struct {
	offset, silence time.Duration
	alone           bool // ends although its pod goes on
	marked          bool
}

// schedule decides when targets are scraped: those that are gone until deaths, some
// others until two intervals ago and more.
func (c *topology) schedule(before, after map[string]*topologyTarget, now, deaths time.Time) (all []*topologyTarget) {
	longest := map[string]time.Duration{}
	for _, x := range after {
		c.honoring[x.Labels.Get(model.JobLabel)] = c.honoring[x.Labels.Get(model.JobLabel)] || x.honor
	}
	for _, x := range after {
		longest[c.scope(x)] = max(longest[c.scope(x)], x.Interval)
	}
	turns := map[string]turn{}
	for _, id := range sortedKeysOf(before) {
		x := before[id]
		own, known := turns[x.Labels.String()]
		if !known {
			own = turn{
				offset:  time.Duration(c.IntN(60_000)) * time.Millisecond,
				silence: 2*longest[c.scope(x)] + time.Duration(1+c.IntN(20))*time.Second,
				alone:   c.oneIn(15), marked: c.oneIn(2),
			}
			turns[x.Labels.String()] = own
		}
		x.offset = own.offset % x.Interval
		still, stays := after[id]
		switch {
		case !stays:
			x.until, x.marked, x.ended = deaths, true, true
		case own.alone, x.pod != nil && x.pod.silent:
			x.until, x.marked = now.Add(-own.silence), own.marked
		}
		if stays {
			still.until, still.marked = x.until, x.marked
		}
		all = append(all, x)
	}
	return all
}

func sortedKeysOf[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// scraping gathers samples by series, for several targets may write the same ones.
type scraping struct {
	labels  map[string]labels.Labels
	samples map[string][]sample
}

type sample struct {
	at int64 // milliseconds
	v  float64
}

// scrape writes what the targets give from start to now.
func (c *topology) scrape(db *tsdb.DB, targets []*topologyTarget, start, now time.Time) {
	s := scraping{labels: map[string]labels.Labels{}, samples: map[string][]sample{}}
	for _, x := range targets {
		if x.registry != nil {
			s.target(x, start, now)
			c.know(x, start, now)
		}
	}
	app := db.AppenderV2(c.t.Context())
	for id, samples := range s.samples {
		slices.SortFunc(samples, func(a, b sample) int { return cmp.Compare(a.at, b.at) })
		samples = slices.CompactFunc(samples, func(a, b sample) bool { return a.at == b.at })
		var ref storage.SeriesRef
		for _, sample := range samples {
			var err error
			ref, err = app.Append(ref, s.labels[id], 0, sample.at, sample.v, nil, nil, storage.AOptions{})
			require.NoError(c.t, err)
		}
	}
	require.NoError(c.t, app.Commit())
}

// know notes what scraping knows of the series of a target.
func (c *topology) know(x *topologyTarget, start, now time.Time) {
	if x.ended {
		return
	}
	until := now
	if !x.until.IsZero() {
		until = x.until
	}
	first := start.Add(x.offset)
	last := first.Add(until.Sub(first).Truncate(x.Interval))
	// Targets whose labels are the same write the same series: they are the first one's.
	url, known := c.writer[x.Labels.Hash()]
	if !known {
		url = x.Address
		c.writer[x.Labels.Hash()] = url
	}
	for i, e := range x.registry.series {
		series := x.labelled(e).Hash()
		if known, ok := c.sources[series]; ok && known.Target.LastScrape.After(last) {
			continue
		}
		c.sources[series] = tsdb.Source{
			Target: &tsdb.Target{
				ID:   labels.FromStrings("url", url).Hash(),
				Rank: uint64(len(c.sources)), Interval: x.Interval, LastScrape: last, //nolint:gosec // Not negative.
			},
			Exposed: labels.NewBuilder(e.labels).Set("n", fmt.Sprint(i)).Labels().Hash(), First: first, Since: first,
		}
	}
}

func (c *topology) source(series labels.Labels) (tsdb.Source, bool) {
	source, known := c.sources[series.Hash()]
	return source, known
}

func (s *scraping) target(x *topologyTarget, start, now time.Time) {
	until := now
	if !x.until.IsZero() {
		until = x.until
	}
	for _, e := range x.registry.series {
		series := x.labelled(e)
		id := series.String()
		s.labels[id] = series
		for at := start.Add(x.offset); !at.After(until); at = at.Add(x.Interval) {
			v := e.value
			if e.name == topologyCounter {
				v = 1e6 + e.value*at.Sub(start).Seconds()
			}
			s.samples[id] = append(s.samples[id], sample{at.UnixMilli(), v})
		}
		if x.marked {
			s.samples[id] = append(s.samples[id], sample{until.UnixMilli() + 1, math.Float64frombits(value.StaleNaN)})
		}
	}
}

// labelled gives a series the labels of its target. Where both have one, the target's
// counts, unless labels are honored.
func (x *topologyTarget) labelled(e exposed) labels.Labels {
	b := labels.NewBuilder(e.labels)
	x.Labels.Range(func(l labels.Label) {
		own := e.labels.Get(l.Name)
		switch {
		case own == "":
			b.Set(l.Name, l.Value)
		case !x.honor:
			b.Set(model.ExportedLabelPrefix+l.Name, own)
			b.Set(l.Name, l.Value)
		}
	})
	return b.Set(model.MetricNameLabel, e.name).Labels()
}

// String tells all that matters to the values.
func (x *topologyTarget) String() string {
	state, of := "live", "nothing listens"
	if !x.until.IsZero() {
		state = fmt.Sprint("until ", x.until.Format(time.TimeOnly), " marked ", x.marked)
	}
	if x.registry != nil {
		of = x.registry.String()
	}
	return fmt.Sprintf("target %s %s every %s (%s) %s -> %s", x.Job, x.Address, x.Interval, state, x.Labels, of)
}

func (r *registry) String() string {
	if r.pod == "" {
		return fmt.Sprint(r.namespace, " ", r.listens)
	}
	return fmt.Sprint(r.namespace, "/", r.pod, "/", r.container)
}
