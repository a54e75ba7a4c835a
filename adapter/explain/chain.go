package explain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apilabels "k8s.io/apimachinery/pkg/labels"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
)

// chain is an explanation in the making.
type chain struct {
	x    *Explainer
	req  values.Request
	name string // of the object
	told Explanation

	reasonOnly bool // the caller uses only the explanation's Reason
	withPods   bool // Question.Pods

	pods    []string          // behind the object
	reach   Reach             // of the object, or else of its pods
	byPods  bool              // reach is of the pods
	jobs    []string          // that scrape them
	sources []catalog.Mapping // what rules could make the metric of; see rule
	source  string            // the exposed series that the metric is made of
	targets []values.Target   // all, once they were asked for
}

func (c *chain) add(link Link, state State, format string, args ...any) {
	c.told.Steps = append(c.told.Steps, Step{Link: link, State: state, Text: fmt.Sprintf(format, args...)})
}

func (c *chain) ok(link Link, format string, args ...any)   { c.add(link, StateOK, format, args...) }
func (c *chain) note(link Link, format string, args ...any) { c.add(link, StateNote, format, args...) }

// broken ends the chain. It returns false.
func (c *chain) broken(link Link, format string, args ...any) bool {
	return c.brokenAs(outcomeOf(link), link, format, args...)
}

func (c *chain) brokenAs(outcome values.Outcome, link Link, format string, args ...any) bool {
	c.add(link, StateBroken, format, args...)
	c.told.Reason = c.told.Steps[len(c.told.Steps)-1].Text
	c.told.outcome = outcome
	return false
}

// ask resolves the question.
func (c *chain) ask(q Question) bool {
	var err error
	if c.req, err = c.x.values.Request(q.Metric, q.Object, q.Namespace, q.MetricSelector); err == nil && q.Name != "" {
		err = c.req.Permit(q.Name)
	}
	if err != nil {
		return c.broken(LinkObject, "%v", err)
	}
	return true
}

// one follows the chain of one object.
func (c *chain) one(ctx context.Context, name string) {
	c.name, c.req.Names = name, []string{name}
	if !c.object() {
		return
	}
	c.findJobs()
	c.autoscalers()
	trace := &values.Trace{}
	found, err := c.x.values.Values(values.WithTrace(ctx, trace), c.req)
	v, ok := found[name]
	c.evaluated(trace, v)
	c.podValues(ctx)
	if trace.By != nil && trace.By.Engine != nil {
		c.oneByEngine(ctx, trace, v, ok, err)
		return
	}
	absent, isAbsent := errors.AsType[*values.Absence](err)
	switch {
	case ok && v.Err == nil:
		c.value(ctx, v)
	case ok:
		if c.rule(ctx) {
			c.reached()
			c.broken(LinkValue, "%v", v.Err)
		}
	case err != nil && !isAbsent:
		c.broken(LinkValue, "%v", err)
	case isAbsent && absent.Complete:
		if c.rule(ctx) {
			c.reached()
			c.brokenAs(absent.Outcome, LinkSamples, "%s", absent.Reason)
		}
	default:
		c.search(ctx)
	}
}

// value explains what led to a value.
func (c *chain) value(ctx context.Context, v values.Value) {
	c.told.Value = v.Quantity.String()
	found, err := c.stored(ctx)
	if err == nil && found.series > 0 {
		m := found.evaluation.Mapping
		c.told.WindowAsked = m.Rule.Window
		c.ok(LinkRule, "made by %s of %s", m.Rule.Origin(), m.Series)
	} else {
		c.rule(ctx)
	}
	c.reached()
	if several := found.severalTargets(); several != "" {
		c.note(LinkTargets, "%s", several)
	}
	c.writers(found)
	over := "the last sample of each series"
	if v.Window > 0 {
		over = fmt.Sprintf("a window of %s", v.Window.Round(1e6))
	}
	c.ok(LinkValue, "%s, over %s, last sample %s ago", values.Decimal(v.Quantity), over, c.age(v))
}

// writers notes which jobs of other namespaces the value comes from.
func (c *chain) writers(found storedSeries) {
	if elsewhere := found.writtenElsewhere(); elsewhere != "" {
		c.note(LinkSeries, "%s", elsewhere)
	}
}

// age is how long ago a value's last sample was, for a step.
func (c *chain) age(v values.Value) string { return c.x.values.Now().Sub(v.Last).Round(1e8).String() }

// search looks for the first broken link of an object without a value.
func (c *chain) search(ctx context.Context) {
	found, err := c.stored(ctx)
	if err != nil {
		c.broken(LinkSamples, "%v", err)
		return
	}
	if !c.rule(ctx) {
		return
	}
	if found.series > 0 { // they exist, whoever scrapes them
		c.samples(found)
		return
	}
	external, k := c.req.Metric.API == rules.ExternalAPI, c.req.Kind
	switch {
	case external && slices.ContainsFunc(c.sources, func(m catalog.Mapping) bool { return !m.Rule.Namespaced() || m.Rule.AllNamespaces }):
		// Its series may be of any namespace: evaluation has found a reason.
	case !external && !k.Namespaced && !k.IsNamespace():
		c.broken(LinkSeries, "no series of the metric%s names %s %s", values.InNamespace(c.req.Within()), k.Singular, c.name)
	case c.scraped() && c.series():
		c.uncollected()
	}
}

// external follows the chain from the rule to the values.
func (c *chain) external(ctx context.Context, req values.Request) {
	// It is looked for as if it were of the namespace.
	c.req, c.name = req, req.Namespace
	c.req.Kind, c.req.Names = objects.Namespace(), []string{req.Namespace}
	c.findJobs()
	c.autoscalers()
	trace := &values.Trace{}
	found, err := c.x.values.External(values.WithTrace(ctx, trace), req)
	c.evaluated(trace, first(found))
	if trace.By != nil && trace.By.Engine != nil {
		c.byEngine(ctx, trace, found, err)
		return
	}
	absent, isAbsent := errors.AsType[*values.Absence](err)
	switch {
	case isAbsent && absent.Complete:
		if c.rule(ctx) {
			c.broken(LinkValue, "%v", err)
		}
		return
	case err != nil:
		c.search(ctx)
		if c.told.Reason == "" {
			c.broken(LinkValue, "%v", err)
		}
		return
	}
	c.rule(ctx)
	if series, err := c.stored(ctx); err == nil { // without them the explanation says less
		c.writers(series)
		if series.series > 0 {
			c.told.WindowAsked = series.evaluation.Mapping.Rule.Window
		}
	}
	var texts []string
	for _, v := range found {
		texts = append(texts, values.Decimal(v.Quantity))
		c.ok(LinkValue, "%s of %s, last sample %s ago", values.Decimal(v.Quantity), v.Labels, c.age(v))
	}
	c.told.Value = strings.Join(texts, ", ")
}

func first(of []values.Value) (v values.Value) {
	if len(of) > 0 {
		v = of[0]
	}
	return v
}

// all explains for the first object without a value among those that a selector picks.
func (c *chain) all(ctx context.Context, selector apilabels.Selector) {
	names, err := c.x.values.Picked(c.req, selector)
	if err != nil {
		c.broken(LinkObject, "%v", err)
		return
	}
	c.ok(LinkObject, "%s%s: %s", c.req.Kind.GroupResource, values.InNamespace(c.req.Namespace), listed(names))
	c.req.Names = names
	trace := &values.Trace{}
	found, _ := c.x.values.Values(values.WithTrace(ctx, trace), c.req) // why one has none is found out below
	c.evaluated(trace, values.Value{})
	for _, name := range names {
		if v, ok := found[name]; !ok || v.Err != nil {
			c.note(LinkObject, "%d of %d have a value; %s has none:", len(found), len(names), name)
			c.one(ctx, name)
			return
		}
	}
	c.told.Value = fmt.Sprintf("%d values", len(names))
	last := "last sample"
	if trace.By != nil && trace.By.Engine != nil { // which does not tell the time of samples
		last = "evaluated"
	}
	for _, name := range names {
		v := found[name]
		c.ok(LinkValue, "%s: %s, %s %s ago", name, values.Decimal(v.Quantity), last, c.age(v))
	}
}

// listed names a few of many.
func listed(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
