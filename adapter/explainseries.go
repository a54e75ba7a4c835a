package adapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	promvalue "github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/promlet/promlet/tsdb"
)

// series reports whether the object's targets expose what the metric is made of, with
// the labels that its rule goes by.
func (t *trail) series(name string) bool {
	sources, err := t.sources(context.Background())
	if err != nil {
		return t.broken(LinkSeries, "%v", err)
	}
	if t.explaining.ExposedBy == nil || len(t.jobs) == 0 {
		return true
	}
	own := t.ownJobs()
	exposed := t.exposedBy(own)
	var missing string
	var names []string
	for _, source := range sources {
		names = append(names, source.series)
		at := slices.IndexFunc(exposed, func(e Exposed) bool { return e.Name == source.series })
		if at < 0 {
			continue
		}
		if missing = t.unfit(source, exposed[at], name); missing == "" {
			t.source = source.series
			t.ok(LinkSeries, "%s is exposed", source.series)
			return true
		}
	}
	if missing != "" {
		return t.broken(LinkSeries, "%s", missing)
	}
	byAny := func() bool {
		return slices.ContainsFunc(t.exposedBy(t.jobs), func(e Exposed) bool { return slices.Contains(names, e.Name) })
	}
	if len(own) < len(t.jobs) && t.demand.starting(t.req.metric) > 0 && byAny() {
		return true // they may expose it; what they have is not told apart from others' yet
	}
	var all []string
	for _, e := range exposed {
		all = append(all, e.Name)
	}
	near := ""
	if nearest := closest(all, names...); nearest != "" {
		near = fmt.Sprintf(" (closest: %s)", nearest)
	}
	return t.broken(LinkSeries, "%s%s%s", t.exposers(), strings.Join(names[:min(len(names), 2)], " or "), near)
}

// exposers are the targets that are up, of which none exposes what follows.
func (t *trail) exposers() string {
	up := 0
	var address string
	for _, target := range t.targetsOf("") {
		if target.Err == nil && !target.LastScrape.IsZero() {
			up++
			address = target.Address
		}
	}
	if up == 1 {
		return "target " + address + " is up, but exposes no "
	}
	return fmt.Sprintf("%d targets are up, but none of them exposes ", up)
}

// unfit is why an exposed series cannot be the object's, "" when it can.
func (t *trail) unfit(source candidate, e Exposed, name string) string {
	has := func(label string) bool { return slices.Contains(e.LabelNames, label) }
	if t.req.namespace != "" && source.namespaced() {
		label := source.assoc.label(namespaceKind())
		if label == "" {
			return fmt.Sprintf("%s is exposed, but %s has no label for namespaces", source.series, source.origin())
		}
		if !has(label) {
			return fmt.Sprintf("%s is exposed, but without a label %s, by which %s knows the namespace: %s", source.series, label, source.origin(), t.whyWithout(label, e))
		}
	}
	for _, m := range source.matchers {
		if m.Name != model.MetricNameLabel && !mayMatch(m, has(m.Name)) {
			return fmt.Sprintf("%s is exposed, but %s wants %s, and its series have the labels %s", source.series, source.origin(), m, strings.Join(e.LabelNames, ", "))
		}
	}
	if t.req.metric.api == externalAPI || len(t.pods) > 0 && has(source.assoc.label(podKind())) {
		return ""
	}
	if label := source.assoc.label(t.req.kind); label == "" || !has(label) {
		return fmt.Sprintf("%s is exposed, but carries no label that names %s %s", source.series, t.req.kind.Singular, name)
	}
	return ""
}

// whyWithout tells where a label has been lost.
func (t *trail) whyWithout(label string, e Exposed) string {
	for _, target := range t.targetsOf("") {
		switch {
		case target.Labels.Has(label):
			return "metricRelabelings of its monitor drop it"
		case target.Discovered.Has(label):
			return "relabelings of its monitor drop it"
		}
	}
	return "its series have the labels " + strings.Join(e.LabelNames, ", ")
}

// exposedBy returns what jobs expose; by the first of them, where several do.
func (t *trail) exposedBy(jobs []string) []Exposed {
	if t.explaining.ExposedBy == nil {
		return nil
	}
	var all []Exposed
	for _, job := range jobs {
		all = append(all, t.explaining.ExposedBy(job)...)
	}
	slices.SortStableFunc(all, func(a, b Exposed) int { return cmp.Compare(a.Name, b.Name) })
	return slices.CompactFunc(all, func(a, b Exposed) bool { return a.Name == b.Name })
}

// uncollected tells of series that are exposed and not stored.
func (t *trail) uncollected() {
	if wait := t.demand.starting(t.req.metric); wait > 0 {
		t.broken(LinkSamples, "collection of %s has started, first value in about %s", cmp.Or(t.source, "it"), wait.Round(time.Second))
		t.told.as = answerStarting
		return
	}
	t.broken(LinkSamples, "nothing of it is stored for this object yet")
}

// storedSeries are those that a request could be answered of.
type storedSeries struct {
	*evaluation
	series   int       // 0: none
	matched  int       // of them, by the metric selector
	newest   time.Time // sample
	samples  int       // of the series with the most, within the window
	interval time.Duration
	targets  map[containerOf][]uint64 // by Target.ID
}

// stored finds the series of the object, of the first source that has any.
func (t *trail) stored(ctx context.Context, name string) (storedSeries, error) {
	candidates, err := t.catalog.candidates(ctx, t.req.metric)
	if err != nil {
		return storedSeries{}, err
	}
	for _, cand := range candidates {
		req := t.req
		if t.req.metric.api == externalAPI && !cand.namespaced() {
			req.namespace = ""
		}
		e, err := t.prepare(req, cand)
		var gone *absence
		var names []string
		if err == nil {
			names, err = e.labelNames(ctx)
		}
		if errors.As(err, &gone) {
			continue
		}
		if err != nil {
			return storedSeries{}, err
		}
		for _, of := range t.selections(e, name, names) {
			if found, err := e.stored(ctx, of); err != nil || found.series > 0 {
				return found, err
			}
		}
	}
	return storedSeries{}, nil
}

// selections are the ways in which series may be the object's.
func (t *trail) selections(e *evaluation, name string, labelNames []string) (ways [][]matcher) {
	if t.req.metric.api == externalAPI {
		return [][]matcher{e.scope}
	}
	if label := e.cand.assoc.label(t.req.kind); label != "" && slices.Contains(labelNames, label) {
		ways = append(ways, append(slices.Clone(e.scope), equal(label, name)))
	}
	if label := e.cand.assoc.label(podKind()); label != "" && len(t.pods) > 0 {
		ways = append(ways, append(slices.Clone(e.scope), namesMatcher(label, t.pods)))
	}
	return ways
}

// maxExplainedSeries bounds the series that are looked at.
const maxExplainedSeries = 500

// stored looks at the series that matchers select.
func (e *evaluation) stored(ctx context.Context, of []matcher) (storedSeries, error) {
	found := storedSeries{evaluation: e, interval: e.scrapes.interval, targets: map[containerOf][]uint64{}}
	now := e.now()
	q, err := e.db.Querier(now.Add(-max(e.cand.window, seriesMaxAge)).UnixMilli(), now.UnixMilli())
	if err != nil {
		return found, err
	}
	set := q.Select(ctx, false, nil, append(e.cand.seriesMatchers(), promMatchers(of)...)...)
	var it chunkenc.Iterator
	for found.series < maxExplainedSeries && set.Next() {
		series := set.At()
		it = series.Iterator(it)
		found.add(series.Labels(), it, now)
		if matchesAll(e.matchers, series.Labels()) {
			found.matched++
		}
	}
	return found, errors.Join(set.Err(), q.Close())
}

func (f *storedSeries) add(series labels.Labels, it chunkenc.Iterator, now time.Time) {
	f.series++
	window := f.cand.window
	if source, known := f.source(series); known && source.Target.Ended.IsZero() {
		f.interval = max(f.interval, source.Target.Interval)
		f.note(series, source.Target.ID)
	}
	window = max(window, tsdb.FreshIntervals*f.interval)
	samples := 0
	for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
		if typ == chunkenc.ValFloat {
			if _, v := it.At(); promvalue.IsStaleNaN(v) {
				continue
			}
		}
		when := time.UnixMilli(it.AtT())
		if when.After(f.newest) {
			f.newest = when
		}
		if when.After(now.Add(-window)) {
			samples++
		}
	}
	f.samples = max(f.samples, samples)
}

// containerOf is a container of a pod.
type containerOf struct{ pod, container string }

// note notes a target of a container.
func (f *storedSeries) note(series labels.Labels, target uint64) {
	of := containerOf{series.Get("pod"), series.Get("container")}
	if of.pod != "" && of.container != "" && !slices.Contains(f.targets[of], target) {
		f.targets[of] = append(f.targets[of], target)
	}
}

// severalTargets names a container that is scraped at several ports or paths, "" where there
// is none. Their values are added up.
func (f *storedSeries) severalTargets() string {
	for of, targets := range f.targets {
		if len(targets) > 1 {
			return fmt.Sprintf("container %s of pod %s is scraped at %d ports or paths, which are added up", of.container, of.pod, len(targets))
		}
	}
	return ""
}

func matchesAll(matchers []matcher, series labels.Labels) bool {
	for _, m := range matchers {
		if !m.Matches(series.Get(m.Name)) {
			return false
		}
	}
	return true
}

// samples tells why there is no value although there are series.
func (t *trail) samples(found storedSeries) {
	name, now := found.cand.series, t.now()
	age := now.Sub(found.newest)
	next := max(time.Second, min(found.newest.Add(found.interval).Sub(now), cmp.Or(t.demand.starting(t.req.metric), found.interval))).Round(time.Second)
	switch {
	case found.matched == 0:
		t.broken(LinkSeries, "of its %d series of %s none matches the metric selector", found.series, name)
	case found.newest.IsZero():
		t.broken(LinkSamples, "%s has no current sample for it", name)
	case age > tsdb.FreshIntervals*found.interval:
		// Where a target is known to be down, that is the reason.
		if t.reachedNow() {
			t.broken(LinkSamples, "the last sample of %s is %s old: it has not been refreshed within two scrape intervals of %s", name, age.Round(time.Second), model.Duration(found.interval))
		}
	case found.cand.window > 0 && found.samples == 1:
		// Where its targets are known to be down, that is the reason.
		if t.findJobs(t.req.names[0]); len(t.jobs) > 0 && !t.targetsUp(t.req.names[0]) {
			return
		}
		t.broken(LinkSamples, "one sample of %s so far, first rate in about %s", name, next)
		t.told.as = answerTooFewSamples
	case found.cand.narrowest > 0 && found.cand.narrowest < found.interval:
		t.broken(LinkSamples, "the query of %s looks back over %s only, and %s is scraped every %s: most of the time that holds no sample; make the range at least twice the interval",
			found.cand.origin(), model.Duration(found.cand.narrowest), name, model.Duration(found.interval))
	default:
		t.broken(LinkSamples, "the query of %s gives nothing for it: %s", found.cand.origin(), found.cand.MetricsQuery)
	}
}
