package explain

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/prometheus/common/model"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
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

	trace      values.Trace // of the evaluation
	reasonOnly bool         // the caller uses only the explanation's Reason
	ofUsage    bool         // the question is about metrics.k8s.io
	withPods   bool         // the question asks for the values of pods

	pods    []string                                 // behind the object
	readers []*autoscalingv2.HorizontalPodAutoscaler // that scale on the metric
	owners  []objects.Owner                          // of the pod that is asked about, once mayOwn has looked
	reach   Reach                                    // of the object, or else of its pods
	byPods  bool                                     // reach is of the pods
	labels  string                                   // of the Service, if no monitor comes close to it
	jobs    []string                                 // that scrape them
	sources []catalog.Mapping                        // what rules could make the metric of; see rule
	stores  bool                                     // series of the object are stored
	source  string                                   // the exposed series that the metric is made of
	targets []values.Target                          // all, once they were asked for
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
	found, err := c.x.values.Values(c.traced(ctx), c.req)
	v, ok := found[name]
	c.evaluated(v)
	c.podValues(ctx)
	if c.trace.By != nil && c.trace.By.Engine != nil {
		c.oneByEngine(ctx, v, ok, err)
		return
	}
	absent, isAbsent := errors.AsType[*values.Absence](err)
	switch {
	case ok && v.Err == nil:
		c.value(ctx, v)
	case ok:
		c.foundReason(ctx, &values.Absence{Outcome: values.OutcomeNotANumber, Reason: v.Err.Error()})
	case err != nil && !isAbsent:
		c.broken(LinkValue, "%v", err)
	case isAbsent && absent.Complete:
		c.foundReason(ctx, absent)
	case isAbsent && absent.Outcome == values.OutcomeStarting:
		c.collecting(ctx, absent)
	default:
		c.search(ctx)
	}
}

// foundReason adds a reason that the evaluation found, and the steps before it. Broken steps before it become notes.
func (c *chain) foundReason(ctx context.Context, absent *values.Absence) {
	c.asNotes(func() { c.rule(ctx) })
	if c.req.Metric.API == rules.CustomAPI {
		c.reached()
	}
	link, reason := LinkSamples, absent.Reason
	if absent.Outcome == values.OutcomeNotANumber {
		link, reason = LinkValue, c.whyNotANumber(ctx, reason)
	}
	c.brokenAs(absent.Outcome, link, "%s", reason)
}

// collecting explains a metric whose collection has just begun. A link that will stay broken is the reason, otherwise the
// reason is that collection has begun. An object without pods is no reason: series of other pods may name it.
func (c *chain) collecting(ctx context.Context, absent *values.Absence) {
	c.search(ctx)
	if last := len(c.told.Steps) - 1; c.told.Reason != "" && c.told.Steps[last].Link == LinkObject {
		c.told.Steps[last].State, c.told.Reason = StateNote, ""
	}
	if c.told.Reason == "" {
		c.brokenAs(absent.Outcome, LinkSamples, "%s", absent.Reason)
	}
}

// traced returns a context whose evaluation fills c.trace.
func (c *chain) traced(ctx context.Context) context.Context {
	c.trace = values.Trace{}
	return values.WithTrace(ctx, &c.trace)
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
	c.stores = found.series > 0
	if !c.rule(ctx) {
		return
	}
	if c.stores { // they exist, whoever scrapes them
		c.samples(ctx, found)
		return
	}
	k := c.req.Kind
	external := c.req.Metric.API == rules.ExternalAPI
	own := !external && len(c.ownJobs()) > 0
	switch {
	case own && !c.scraped(): // what is wrong with its targets precedes what others say of it
	case c.renamed(ctx):
	case external:
		c.searchExternal()
	case !k.Namespaced && !k.IsNamespace():
		c.broken(LinkSeries, "no series of the metric%s names %s %s", values.InNamespace(c.req.Within()), k.Singular, c.name)
	case (own || c.scraped()) && c.series():
		c.uncollected()
	}
}

// renamed reports, and notes, that series name the object in a label of their exporter that the scrape has renamed.
func (c *chain) renamed(ctx context.Context) bool {
	label := c.exportedLabel(ctx)
	if label == "" {
		return false
	}
	name := strings.TrimPrefix(label, model.ExportedLabelPrefix)
	c.broken(LinkSeries, "the exporter's label %s was renamed to %s, because the target has a label %s, too: set honorLabels: true on the endpoint of its monitor", name, label, name)
	return true
}

// external follows the chain from the rule to the values.
func (c *chain) external(ctx context.Context, req values.Request) {
	// It is looked for as if it were of the namespace.
	c.req, c.name = req, req.Namespace
	c.req.Kind, c.req.Names = objects.Namespace(), []string{req.Namespace}
	c.findJobs()
	c.autoscalers()
	found, err := c.x.values.External(c.traced(ctx), req)
	c.evaluated(first(found))
	if c.trace.By != nil && c.trace.By.Engine != nil {
		c.byEngine(ctx, found, err)
		return
	}
	if err != nil {
		c.noExternal(ctx, err)
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

// noExternal explains why an external metric has no value.
func (c *chain) noExternal(ctx context.Context, err error) {
	absent, ok := errors.AsType[*values.Absence](err)
	switch {
	case !ok:
		if c.rule(ctx) {
			c.broken(LinkValue, "%v", err)
		}
	case absent.Complete, absent.Outcome == values.OutcomeStarting: // an exporter of another namespace may have the series
		c.foundReason(ctx, absent)
	default:
		if c.search(ctx); c.told.Reason == "" {
			c.broken(LinkValue, "%v", err)
		}
	}
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
		c.broken(LinkObject, "%v", c.x.NoObjects(c.req, err))
		return
	}
	c.ok(LinkObject, "%s%s: %s", c.req.Kind.GroupResource, values.InNamespace(c.req.Namespace), listed(names))
	c.req.Names = names
	found, _ := c.x.values.Values(c.traced(ctx), c.req) // c.one finds why an object has no value
	c.evaluated(values.Value{})
	maps.DeleteFunc(found, func(_ string, v values.Value) bool { return v.Err != nil })
	c.told.Of, c.told.With = len(names), len(found)
	for _, name := range names {
		if _, ok := found[name]; !ok {
			c.told.Lacking = name
			c.note(LinkObject, "%d of %d have a value; %s has none:", len(found), len(names), name)
			c.one(ctx, name)
			return
		}
	}
	c.told.Value = fmt.Sprintf("%d %s", len(names), plural(len(names), "value", "values"))
	last := "last sample"
	if c.trace.By != nil && c.trace.By.Engine != nil { // an engine does not return the time of samples
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
