package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
)

// series reports whether the object's targets expose what the metric is made of, with the
// labels that its rule needs.
func (c *chain) series() bool {
	if len(c.jobs) == 0 {
		return true
	}
	own := c.ownJobs()
	exposed := c.exposedBy(own)
	var unfit string
	var names []string
	for _, source := range c.sources {
		names = append(names, source.Series)
		at := slices.IndexFunc(exposed, func(e catalog.Exposed) bool { return e.Name == source.Series })
		if at < 0 {
			continue
		}
		if unfit = c.unfit(source, exposed[at]); unfit == "" {
			c.source = source.Series
			c.ok(LinkSeries, "%s is exposed", source.Series)
			return true
		}
	}
	if unfit != "" {
		return c.broken(LinkSeries, "%s", unfit)
	}
	isSource := func(e catalog.Exposed) bool { return slices.Contains(names, e.Name) }
	if len(own) < len(c.jobs) && c.starting() > 0 && slices.ContainsFunc(c.exposedBy(c.jobs), isSource) {
		return true // of a job with targets in several namespaces it is not known yet which expose it
	}
	return c.broken(LinkSeries, "%s%s", c.notExposed(strings.Join(names[:min(len(names), 2)], " or "), own), c.closestMetric())
}

// notExposed says that the targets that are up expose none of the names, or that none is left after metricRelabelings: what
// these drop is not known by name.
func (c *chain) notExposed(names string, jobs []string) string {
	up := slices.DeleteFunc(c.targetsOf(""), func(t values.Target) bool { return !t.Up() })
	dropped, of := c.dropped(jobs)
	are, whose := fmt.Sprintf("%d targets are up, but ", len(up)), "their monitor"
	switch {
	case len(up) == 1:
		are, whose = "target "+up[0].Address+" is up, but ", "its monitor"
	case dropped == 0:
		return are + "none of them exposes " + names
	}
	if dropped == 0 {
		return are + "exposes no " + names
	}
	return fmt.Sprintf("%sno %s is left after the metricRelabelings of %s, which drop %d of %d samples", are, names, whose, dropped, of)
}

// dropped counts the samples that the metricRelabelings of jobs drop.
func (c *chain) dropped(jobs []string) (dropped, of int) {
	if c.x.opts.Dropped == nil {
		return 0, 0
	}
	for _, job := range jobs {
		d, n := c.x.opts.Dropped(job)
		dropped, of = dropped+d, of+n
	}
	return dropped, of
}

// unfit is why an exposed series cannot be the object's, "" when it can.
func (c *chain) unfit(source catalog.Mapping, e catalog.Exposed) string {
	rule := source.Rule
	exposed := source.Series + " is exposed, but "
	has := func(label string) bool { return label != "" && slices.Contains(e.LabelNames, label) }
	if c.req.Namespace != "" && rule.Namespaced() {
		label := rule.Label(objects.Namespace())
		if label == "" {
			return fmt.Sprintf("%s%s has no label for namespaces", exposed, rule.Origin())
		}
		if !has(label) {
			return fmt.Sprintf("%swithout a label %s, by which %s knows the namespace: %s", exposed, label, rule.Origin(), c.whyWithout(label, e))
		}
	}
	if matcher, ok := rule.Takes(e.LabelNames); !ok {
		return fmt.Sprintf("%s%s wants %s, and its series have the labels %s", exposed, rule.Origin(), matcher, strings.Join(e.LabelNames, ", "))
	}
	if c.req.Metric.API == rules.ExternalAPI || len(c.pods) > 0 && has(rule.Label(objects.Pod())) || has(rule.Label(c.req.Kind)) {
		return ""
	}
	return fmt.Sprintf("%scarries no label that names %s %s", exposed, c.req.Kind.Singular, c.name)
}

// whyWithout is where a label has been lost.
func (c *chain) whyWithout(label string, e catalog.Exposed) string {
	for _, target := range c.targetsOf("") {
		switch {
		case target.Labels.Has(label):
			return "metricRelabelings of its monitor drop it"
		case target.Discovered.Has(label):
			return "relabelings of its monitor drop it"
		}
	}
	return "its series have the labels " + strings.Join(e.LabelNames, ", ")
}

// exposedBy returns what jobs expose; where several expose a name, as the first does.
func (c *chain) exposedBy(jobs []string) (all []catalog.Exposed) {
	for _, job := range jobs {
		all = append(all, c.x.opts.ExposedBy(job)...)
	}
	slices.SortStableFunc(all, func(a, b catalog.Exposed) int { return cmp.Compare(a.Name, b.Name) })
	return slices.CompactFunc(all, func(a, b catalog.Exposed) bool { return a.Name == b.Name })
}

// starting is how long it is until the metric has its first value, 0 if it should have one.
func (c *chain) starting() time.Duration { return c.x.values.Demand.Starting(c.req.Metric) }

// uncollected is why series are exposed and not stored.
func (c *chain) uncollected() {
	if wait := c.starting(); wait > 0 {
		c.brokenAs(values.OutcomeStarting, LinkSamples, "collection of %s has started, first value in about %s", cmp.Or(c.source, "it"), wait.Round(time.Second))
		return
	}
	if c.outOfBounds(c.jobs) {
		return
	}
	if c.x.opts.NotStored != nil {
		for _, job := range c.jobs {
			if why := c.x.opts.NotStored(job); why != "" {
				c.broken(LinkSamples, "%s", why)
				return
			}
		}
	}
	c.broken(LinkSamples, "nothing of it is stored for this object yet")
}

// outOfBounds reports whether samples of the series that jobs expose are not stored because of their timestamps. If so, it
// adds that as the reason.
func (c *chain) outOfBounds(jobs []string) bool {
	if c.x.opts.OutOfBounds == nil {
		return false
	}
	for _, job := range jobs {
		at, ok := c.x.opts.OutOfBounds(job, c.source)
		if !ok {
			continue
		}
		when := "in the future"
		if age := c.x.values.Now().Sub(at); age > 0 {
			when = age.Round(time.Second).String() + " ago"
		}
		c.broken(LinkSamples, "samples of %s are not stored: the exporter sets their timestamps itself, the last one %s: set honorTimestamps: false on the endpoint of its monitor", c.source, when)
		return true
	}
	return false
}
