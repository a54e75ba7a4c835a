package explain

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
	"github.com/promlet/promlet/tsdb"
)

// maxQueryText is the maximum size, in bytes, of a query in a step.
const maxQueryText = 1 << 10

// oneByEngine calls byEngine for the value of one object.
func (c *chain) oneByEngine(ctx context.Context, v values.Value, ok bool, err error) {
	switch {
	case ok && v.Err != nil:
		err = &values.Absence{Reason: v.Err.Error(), Outcome: values.OutcomeNotANumber, Complete: true}
	case !ok && err == nil:
		err = values.Absent(values.OutcomeNoSamples, "no value")
	}
	c.byEngine(ctx, []values.Value{v}, err)
}

// byEngine adds the steps of a request that an engine behind a URL answers: rule, queries, series, value. found has the
// values, and err says why there are none.
func (c *chain) byEngine(ctx context.Context, found []values.Value, err error) {
	trace := &c.trace
	absent, isAbsent := errors.AsType[*values.Absence](err)
	if isAbsent && absent.Outcome == values.OutcomeStarting { // no series are known yet
		c.brokenAs(absent.Outcome, LinkSeries, "%s", absent.Reason)
		return
	}
	mapping, ok := c.engineRule(ctx, trace.By)
	if !ok {
		return
	}
	for i := range trace.Queries {
		if q := &trace.Queries[i]; q.Evaluator == trace.By {
			c.queried(q)
		}
	}
	switch {
	case err == nil:
		c.engineValues(trace.By, found)
	case !isAbsent:
		c.broken(LinkValue, "%v", err)
	case absent.Outcome == values.OutcomeNotANumber:
		c.brokenAs(absent.Outcome, LinkValue, "%s", c.whyNotANumber(ctx, absent.Reason))
	case absent.Complete:
		c.brokenAs(absent.Outcome, LinkSamples, "%s", absent.Reason)
	default:
		c.engineSeries(ctx, trace.By, mapping, absent)
	}
	c.engineTargets(ctx)
}

// engineRule adds the step about the rules that make the metric of the engine's series. It returns the first of them.
func (c *chain) engineRule(ctx context.Context, v *values.Evaluator) (first catalog.Mapping, ok bool) {
	of, err := v.Catalog.MappingsOf(ctx, c.req.Metric, c.req.TypesWithin())
	var all map[rules.Metric][]catalog.Mapping
	if err == nil {
		all, err = v.Catalog.Mappings(ctx)
	}
	if err != nil {
		return first, c.broken(LinkRule, "%v", err)
	}
	if len(of) == 0 {
		return first, c.noEngineRule(v, slices.Collect(maps.Keys(all)))
	}
	var made []string
	for _, m := range of[:min(len(of), 3)] {
		made = append(made, fmt.Sprintf("%s of %s", m.Rule.Origin(), m.Series))
	}
	c.ok(LinkRule, "made by %s", strings.Join(made, ", or "))
	return of[0], true
}

// noEngineRule adds a step that no rule makes the metric, with the closest name. It returns false.
func (c *chain) noEngineRule(v *values.Evaluator, known []rules.Metric) bool {
	metric := c.req.Metric
	if _, exists := v.Catalog.Exposure().Labels[metric.Name]; exists {
		as := servedName(v.Catalog.Rules(), metric, func(r *rules.Compiled) (string, bool) { return v.Catalog.MetricName(r, metric.Name) })
		if as != "" {
			return c.broken(LinkRule, "%s", as)
		}
	}
	what, problem := "rule", ""
	if metric.API == rules.ExternalAPI {
		what = "rule of externalRules"
	}
	if c.x.opts.ListProblem != nil {
		if problem = c.x.opts.ListProblem(); problem != "" {
			problem = "; " + problem
		}
	}
	var names []string
	for _, m := range known {
		if m.API == metric.API {
			names = append(names, m.Name)
		}
	}
	return c.broken(LinkRule, "no %s makes a metric called %s of the series of %s%s%s", what, metric.Name, v.Engine(), closestMetricOf(names, metric.Name), problem)
}

// queried adds a step about a query that was sent to the engine.
func (c *chain) queried(q *values.TracedQuery) {
	expr := clipped(q.Expr)
	if q.Err != nil { // a later step has the error
		c.note(LinkQuery, "%s fails", expr)
		return
	}
	c.ok(LinkQuery, "%s returns %d %s from %s", expr, len(q.Results), plural(len(q.Results), "result", "results"), q.Evaluator.Engine())
	for _, warning := range q.Warnings {
		c.note(LinkQuery, "warning: %s", warning)
	}
}

func (c *chain) engineValues(v *values.Evaluator, found []values.Value) {
	var texts []string
	for _, value := range found {
		over := "as of its evaluation"
		if value.Window > 0 {
			over = "over " + model.Duration(value.Window).String()
		}
		of := ""
		if c.req.Metric.API == rules.ExternalAPI {
			of = " of " + value.Labels.String()
		}
		text := value.Quantity.String()
		if c.req.Metric.API == rules.ExternalAPI {
			text = values.Decimal(value.Quantity)
		}
		texts = append(texts, text)
		c.ok(LinkValue, "%s%s, %s, evaluated %s ago by %s", values.Decimal(value.Quantity), of, over, max(0, v.Now().Sub(value.Last)).Round(100*time.Millisecond), v.Engine())
	}
	c.told.Value = strings.Join(texts, ", ")
}

// engineSeries counts the engine's series to find out why there is no value. It counts the series that the rule selects,
// then those of the object among them, and then those that match the metric selector.
func (c *chain) engineSeries(ctx context.Context, v *values.Evaluator, m catalog.Mapping, absent *values.Absence) {
	e, err := v.Evaluation(c.req, m)
	if err != nil {
		c.brokenAs(absent.Outcome, LinkSeries, "%v", err)
		return
	}
	matchers := append(m.SeriesMatchers(), rules.Plain(e.Scope)...)
	isNamespace := c.req.Metric.API == rules.CustomAPI && c.req.Kind.IsNamespace()
	if label := m.Rule.Label(objects.Namespace()); isNamespace && len(e.Scope) == 0 && label != "" { // count only this namespace
		matchers = append(matchers, rules.Equal(label, c.name).Matcher)
	}
	counted := func(more ...rules.Matcher) (n int, ok bool) {
		matchers = append(matchers, rules.Plain(more)...)
		n, err := countSeries(ctx, v, matchers)
		if err != nil {
			c.broken(LinkSeries, "%v", err)
		}
		return n, err == nil
	}
	all, ok := counted()
	switch {
	case !ok:
		return
	case all == 0:
		c.broken(LinkSeries, "%s has no current series of %s%s that %s selects", v.Engine(), m.Series, values.InNamespace(c.within()), m.Rule.Origin())
		return
	}
	if c.req.Metric.API != rules.ExternalAPI && !isNamespace {
		of, names := c.naming(m.Rule)
		if of.Matcher == nil {
			c.brokenAs(absent.Outcome, LinkSeries, "%s", absent.Reason)
			return
		}
		own, ok := counted(of)
		if !ok {
			return
		}
		if own == 0 {
			c.broken(LinkSeries, "%s has %d series of %s%s, but none names %s in its label %s", v.Engine(), all, m.Series, values.InNamespace(c.req.Within()), names, of.Name)
			return
		}
		all = own
	}
	if taken, ok := counted(c.req.Matchers...); !ok {
		return
	} else if taken == 0 {
		c.broken(LinkSeries, "%s", unmatched(all, m.Series))
		return
	}
	c.ok(LinkSeries, "%s has %d series of %s for it", v.Engine(), all, m.Series)
	if why := c.whyEmpty(ctx, 0); why != "" {
		c.broken(LinkSamples, "%s", why)
		return
	}
	needs := ""
	if m.Rule.Window > 0 {
		needs = fmt.Sprintf(": a rate needs two samples within its range (at most %s)", model.Duration(m.Rule.Window))
	}
	c.broken(LinkSamples, "the query of %s returns nothing for it%s", m.Rule.Origin(), needs)
}

// naming returns the matcher that selects the series of the object, or of its pods, and a word for what it matches. The
// matcher is empty if the rule has no label for either.
func (c *chain) naming(rule *rules.Compiled) (of rules.Matcher, names string) {
	if label := rule.Label(objects.Pod()); label != "" && len(c.pods) > 0 && !rule.AllPods {
		return rules.OneOf(label, c.pods), "its pods"
	}
	if label := rule.Label(c.req.Kind); label != "" {
		return rules.Equal(label, c.name), "it"
	}
	return rules.Matcher{}, ""
}

// countSeries returns the number of the engine's current series that match.
func countSeries(ctx context.Context, v *values.Evaluator, matchers []*labels.Matcher) (int, error) {
	parts := make([]string, len(matchers))
	for i, m := range matchers {
		parts[i] = m.String()
	}
	vector, err := v.Querier.Instant(ctx, tsdb.Query{Expr: "count({" + strings.Join(parts, ",") + "})", At: v.Now()})
	if err != nil || len(vector) == 0 {
		return 0, err
	}
	return int(vector[0].Value), nil
}

// engineTargets adds a step about the engine's targets of the object's pods, if it has any.
func (c *chain) engineTargets(ctx context.Context) {
	if c.x.opts.EngineTargets == nil || len(c.pods) == 0 || c.reasonOnly {
		return
	}
	found := c.x.opts.EngineTargets(ctx, c.req.Namespace, c.pods)
	var down []string
	for _, t := range found {
		if !t.Up {
			down = append(down, "target "+t.Address+" is not")
		}
	}
	slices.Sort(down)
	switch {
	case len(found) == 0: // engines such as Mimir scrape nothing themselves
	case len(down) > 0:
		c.note(LinkTargets, "%d of %d are up; %s", len(found)-len(down), len(found), firstOf(down))
	default:
		c.note(LinkTargets, "%d of %d are up", len(found), len(found))
	}
}
