package explain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	promvalue "github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
	"github.com/promlet/promlet/tsdb"
)

// stampedMaxAge is the greatest age of samples with an exporter's own timestamps: the database refuses older ones.
const stampedMaxAge = time.Hour

// maxExplainedSeries bounds the series whose samples are read.
const maxExplainedSeries = 500

// storedSeries are those that could answer a request.
type storedSeries struct {
	evaluation *values.Evaluation
	series     int       // 0: none
	matched    int       // of them, by the metric selector
	newest     time.Time // sample
	stamped    bool      // the exporter sets the timestamps: the newest sample is older than the last scrape
	samples    int       // of the series with the most, within the window
	interval   time.Duration
	targets    map[container][]uint64 // by tsdb.Target.ID
	foreign    []string               // jobs of other namespaces that write them
}

// container is a container of a pod.
type container struct{ pod, name string }

// stored returns the series of the object, of the first mapping that has any.
func (c *chain) stored(ctx context.Context) (storedSeries, error) {
	mappings, err := c.x.mappings(ctx, &c.req)
	if err != nil {
		return storedSeries{}, err
	}
	for _, m := range mappings {
		e, err := c.x.values.Evaluation(c.req, m)
		var names []string
		if err == nil {
			names, err = e.LabelNames(ctx)
		}
		if _, absent := errors.AsType[*values.Absence](err); absent {
			continue
		}
		if err != nil {
			return storedSeries{}, err
		}
		for _, matchers := range c.selections(e, names) {
			if found, err := c.read(ctx, e, matchers); err != nil || found.series > 0 {
				return found, err
			}
		}
	}
	return storedSeries{}, nil
}

// selections are the ways in which series may be the object's.
func (c *chain) selections(e *values.Evaluation, labelNames []string) (ways [][]rules.Matcher) {
	if c.req.Metric.API == rules.ExternalAPI {
		return [][]rules.Matcher{e.Scope}
	}
	rule := e.Mapping.Rule
	if label := rule.Label(c.req.Kind); label != "" && slices.Contains(labelNames, label) {
		ways = append(ways, append(slices.Clone(e.Scope), rules.Equal(label, c.name)))
	}
	if label := rule.Label(objects.Pod()); label != "" && len(c.pods) > 0 {
		ways = append(ways, append(slices.Clone(e.Scope), rules.OneOf(label, c.pods)))
	}
	return ways
}

// read reads the series that matchers select.
func (c *chain) read(ctx context.Context, e *values.Evaluation, matchers []rules.Matcher) (storedSeries, error) {
	v := c.x.values
	found := storedSeries{evaluation: e, interval: v.Targets.Interval, targets: map[container][]uint64{}}
	now, within := v.Now(), c.within()
	if rule := e.Mapping.Rule; rule.AllNamespaces || !rule.Namespaced() {
		within = "" // it is meant to read others
	}
	recent := now.Add(-max(e.Mapping.Rule.Window, catalog.SeriesMaxAge))
	q, err := v.DB.Querier(now.Add(-max(e.Mapping.Rule.Window, stampedMaxAge)).UnixMilli(), now.UnixMilli())
	if err != nil {
		return found, err
	}
	set := q.Select(ctx, false, nil, append(e.Mapping.SeriesMatchers(), rules.Plain(matchers)...)...)
	var it chunkenc.Iterator
	for found.series < maxExplainedSeries && set.Next() {
		series := set.At()
		it = series.Iterator(it)
		newest, samples := found.timesOf(it, now)
		source, known := v.Source(series.Labels())
		stamped := known && isStamped(source.Target, newest)
		if newest.Before(recent) && !stamped {
			continue // the series has ended
		}
		found.stamped = found.stamped || stamped
		if known {
			found.addJob(source.Target, within)
		}
		if known && source.Target.Ended.IsZero() {
			found.interval = max(found.interval, source.Target.Interval)
			found.addTarget(series.Labels(), source.Target.ID)
		}
		found.add(series.Labels(), newest, samples)
	}
	return found, errors.Join(set.Err(), q.Close())
}

// isStamped reports whether the exporter sets the timestamps of a series: its target is up, but the newest sample is too
// old to have the time of the last scrape.
func isStamped(of *tsdb.Target, newest time.Time) bool {
	return of.Ended.IsZero() && of.FailingSince.IsZero() && of.LastScrape.Sub(newest) > tsdb.FreshIntervals*of.Interval
}

func (f *storedSeries) add(series labels.Labels, newest time.Time, samples int) {
	f.series++
	if !slices.ContainsFunc(f.evaluation.Request.Matchers, func(m rules.Matcher) bool { return !m.Matches(series.Get(m.Name)) }) {
		f.matched++
	}
	if newest.After(f.newest) {
		f.newest = newest
	}
	f.samples = max(f.samples, samples)
}

// timesOf returns the time of a series' newest sample and the number of samples within the window.
func (f *storedSeries) timesOf(it chunkenc.Iterator, now time.Time) (newest time.Time, samples int) {
	window := max(f.evaluation.Mapping.Rule.Window, tsdb.FreshIntervals*f.interval)
	for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
		if typ == chunkenc.ValFloat {
			if _, v := it.At(); promvalue.IsStaleNaN(v) {
				continue
			}
		}
		if newest = time.UnixMilli(it.AtT()); newest.After(now.Add(-window)) {
			samples++
		}
	}
	return newest, samples
}

// addJob notes the job of a target, if it should write series of another namespace than
// the one that the explanation is about; "" is none.
func (f *storedSeries) addJob(of *tsdb.Target, within string) {
	if within != "" && of.Namespace != "" && of.Namespace != within && !slices.Contains(f.foreign, of.Job) {
		f.foreign = append(f.foreign, of.Job)
	}
}

// writtenElsewhere names the jobs of other namespaces that write the series, "" for none.
func (f *storedSeries) writtenElsewhere() string {
	if len(f.foreign) == 0 {
		return ""
	}
	slices.Sort(f.foreign)
	return fmt.Sprintf("series of it are written by %s, of a monitor in another namespace", listed(f.foreign))
}

func (f *storedSeries) addTarget(series labels.Labels, target uint64) {
	of := container{series.Get("pod"), series.Get("container")}
	if of.pod != "" && of.name != "" && !slices.Contains(f.targets[of], target) {
		f.targets[of] = append(f.targets[of], target)
	}
}

// severalTargets names a container that is scraped at several ports or paths, whose values
// are added up; "" where there is none.
func (f *storedSeries) severalTargets() string {
	for of, targets := range f.targets {
		if len(targets) > 1 {
			return fmt.Sprintf("container %s of pod %s is scraped at %d ports or paths, which are added up", of.name, of.pod, len(targets))
		}
	}
	return ""
}

// samples is why there is no value although there are series.
func (c *chain) samples(ctx context.Context, found storedSeries) {
	rule, name, now := found.evaluation.Mapping.Rule, found.evaluation.Mapping.Series, c.x.values.Now()
	age := now.Sub(found.newest)
	switch {
	case found.matched == 0:
		c.broken(LinkSeries, "%s", unmatched(found.series, name))
	case found.newest.IsZero():
		c.broken(LinkSamples, "%s has no current sample for it", name)
	case found.stamped && age > cmp.Or(rule.Window, found.evaluation.Lookback()):
		c.broken(LinkSamples, "the exporter sets the timestamps of %s itself, the last one %s ago, but the query looks back only %s: look back further with a function such as max_over_time, or set honorTimestamps: false on the endpoint of its monitor",
			name, age.Round(time.Second), model.Duration(cmp.Or(rule.Window, found.evaluation.Lookback())))
	case !found.stamped && age > tsdb.FreshIntervals*found.interval:
		// Where a target is known to be down, that is the reason.
		if c.scraped() {
			c.broken(LinkSamples, "the last sample of %s is %s old: it has not been refreshed within two scrape intervals of %s", name, age.Round(time.Second), model.Duration(found.interval))
		}
	case rule.Window > 0 && found.samples == 1:
		// Likewise.
		if len(c.jobs) > 0 && !c.targetsUp() {
			return
		}
		next := max(time.Second, min(found.newest.Add(found.interval).Sub(now), cmp.Or(c.starting(), found.interval)))
		c.brokenAs(values.OutcomeTooFewSamples, LinkSamples, "one sample of %s so far, first rate in about %s", name, next.Round(time.Second))
	case c.starting() > 0: // not all of its targets have been scraped twice
		c.source = name
		c.uncollected()
	default:
		c.broken(LinkSamples, "%s", cmp.Or(c.whyEmpty(ctx, found.interval), fmt.Sprintf("the query of %s returns nothing for it: %s", rule.Origin(), rule.Config.MetricsQuery)))
	}
}

// unmatched says that a metric selector leaves nothing of n series of a name.
func unmatched(n int, name string) string {
	if n == 1 {
		return "its series of " + name + " does not match the metric selector"
	}
	return fmt.Sprintf("none of its %d series of %s matches the metric selector", n, name)
}
