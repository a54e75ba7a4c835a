package values

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/tsdb"
)

// Evaluation is a request to be answered by one mapping.
type Evaluation struct {
	Request Request
	Mapping catalog.Mapping
	Scope   []rules.Matcher // on the namespace

	evaluator *Evaluator
	within    string // the namespace of Scope
	targets   targetTable
	brief     time.Duration // the longest time that a rate left out as too short was observed for, 0 without one
}

// Evaluation prepares to answer a request by one mapping. The error is an Absence where
// the rule cannot tell namespaces apart.
func (v *Evaluator) Evaluation(req Request, m catalog.Mapping) (*Evaluation, error) {
	if req.Metric.API == rules.ExternalAPI && !m.Rule.Namespaced() {
		req.Namespace = ""
	}
	e := &Evaluation{Request: req, Mapping: m, evaluator: v, within: req.Within(), targets: v.Targets.table()}
	if e.within != "" {
		label := m.Rule.Label(objects.Namespace())
		if label == "" {
			return nil, Absent(OutcomeNoSeries, "%s, which serves %s, has no label for namespaces", m.Rule, m.Series)
		}
		e.Scope = append(e.Scope, rules.Equal(label, e.within))
	}
	return e, nil
}

// values looks for the objects' own label first, and then for the pods behind the objects.
func (e *Evaluation) values(ctx context.Context) (values map[string]Value, err error) {
	kind, rule := e.Request.Kind, e.Mapping.Rule
	label := rule.Label(kind)
	if !e.implies(label) {
		if _, err := e.LabelNames(ctx); err != nil {
			return nil, err
		}
	}
	if label != "" {
		values, err = e.byLabel(ctx, label)
		if err != nil || len(values) > 0 && (kind.IsPod() || len(values) >= len(e.Request.Names)) {
			return values, err
		}
	}
	names, err := e.LabelNames(ctx)
	if err != nil {
		return nil, err
	}
	podLabel := rule.Label(objects.Pod())
	switch {
	case e.Request.Namespace != "" && !kind.IsPod() && podLabel != "" && slices.Contains(names, podLabel) && !rule.AllPods:
		return e.byPods(ctx, podLabel, values)
	case len(values) > 0:
		return values, nil
	case label != "" && slices.Contains(names, label):
		return nil, e.noResult()
	default:
		return nil, Absent(OutcomeNoSeries, "%s carries no label that names %s", e.Mapping.Series, kind.GroupResource)
	}
}

// implies reports whether the request already guarantees the rule's matchers, by the label
// that names objects: most rules only want the labels that are asked for.
func (e *Evaluation) implies(label string) bool {
	for _, m := range e.Mapping.Rule.Matchers {
		switch {
		case m.Name == model.MetricNameLabel:
		case len(e.Scope) > 0 && m.Name == e.Scope[0].Name && m.Matches(e.within):
		case m.Name == label && !slices.ContainsFunc(e.Request.Names, func(name string) bool { return !m.Matches(name) }):
		default:
			return false
		}
	}
	return true
}

// LabelNames returns the label names of the series that the request is about; an Absence
// where there are no such series.
func (e *Evaluation) LabelNames(ctx context.Context) ([]string, error) {
	req, m := &e.Request, e.Mapping
	namespace, known := e.within, e.Scope
	label := m.Rule.Label(objects.Namespace())
	switch {
	case m.Rule.AllNamespaces: // the query need not be about the request's namespace
		namespace, known = "", nil
	case req.Kind.IsNamespace() && len(req.Names) == 1 && label != "":
		namespace, known = req.Names[0], []rules.Matcher{rules.Equal(label, req.Names[0])}
	}
	names, err := e.evaluator.Catalog.LabelNames(ctx, m, rules.Plain(known)...)
	if err == nil && len(names) == 0 {
		err = Absent(OutcomeNoSeries, "%s has no series%s that %s selects", m.Series, InNamespace(namespace), m.Rule)
	}
	return names, err
}

// noResult is why a query over series that exist gave no result.
func (e *Evaluation) noResult() error {
	if e.brief > 0 {
		return e.tooBrief()
	}
	of := " for it"
	if e.Request.Metric.API == rules.ExternalAPI {
		of = InNamespace(e.Request.Namespace)
	}
	if window := e.Mapping.Rule.Window; window > 0 {
		return Absent(OutcomeTooFewSamples, "%s has no rate%s over the last %s: that needs two samples", e.Mapping.Series, of, model.Duration(window))
	}
	return Absent(OutcomeNoSamples, "%s has no current sample%s", e.Mapping.Series, of)
}

// byLabel asks for all objects at once by the label that names them.
func (e *Evaluation) byLabel(ctx context.Context, label string) (map[string]Value, error) {
	expr, vector, err := e.query(ctx, label, e.Request.Matchers, e.Scope, []rules.Matcher{rules.OneOf(label, e.Request.Names)})
	if err != nil {
		return nil, err
	}
	values := make(map[string]Value, len(vector))
	for _, sample := range vector {
		name := sample.Labels.Get(label)
		if _, twice := values[name]; twice {
			return nil, fmt.Errorf("%s gives several samples for %s %q: aggregate by (<<.GroupBy>>)", expr, label, name)
		}
		values[name] = e.value(sample)
	}
	return values, nil
}

// byPods asks for each object that has no value by the pods that are behind it now.
func (e *Evaluation) byPods(ctx context.Context, podLabel string, values map[string]Value) (map[string]Value, error) {
	if values == nil {
		values = make(map[string]Value, len(e.Request.Names))
	}
	var absences reasons
	for _, name := range e.Request.Names {
		if _, known := values[name]; known {
			continue
		}
		pods, err := e.evaluator.Objects.Pods(e.Request.Kind, e.Request.Namespace, name)
		if err != nil {
			return nil, err
		}
		if len(pods) == 0 {
			absences.add(&Absence{Outcome: OutcomeNoSeries, Reason: "no series names it, and it has no pods" + InNamespace(e.Request.Namespace)})
			continue
		}
		expr, vector, err := e.query(ctx, e.Scope[0].Name, e.Request.Matchers, e.Scope, []rules.Matcher{rules.OneOf(podLabel, pods)})
		switch {
		case err != nil:
			return nil, err
		case len(vector) > 1:
			return nil, fmt.Errorf("%s gives %d samples, not one: aggregate by (<<.GroupBy>>)", expr, len(vector))
		case len(vector) == 1:
			values[name] = e.value(vector[0])
		case e.brief > 0:
			return nil, e.tooBrief()
		default:
			absences.add(&Absence{Outcome: OutcomeNoSamples, Reason: fmt.Sprintf("%s has no value yet for its pods %s", e.Mapping.Series, strings.Join(pods, ", "))})
		}
	}
	if len(values) == 0 {
		return nil, absences.err()
	}
	return values, nil
}

// external returns all results of the query.
func (e *Evaluation) external(ctx context.Context) ([]Value, error) {
	_, vector, err := e.query(ctx, "", e.Request.Matchers, e.Scope)
	switch {
	case err != nil:
		return nil, err
	case e.brief > 0: // the HPA adds the values up: without one of them the sum would be too small
		return nil, e.tooBrief()
	case len(vector) == 0:
		if _, err := e.LabelNames(ctx); err != nil {
			return nil, err
		}
		return nil, e.noResult()
	}
	values := make([]Value, len(vector))
	for i, sample := range vector {
		if values[i] = e.value(sample); values[i].Err != nil {
			of := ""
			if !sample.Labels.IsEmpty() {
				of = ", of " + sample.Labels.String()
			}
			return nil, complete(OutcomeNotANumber, "%v%s", values[i].Err, of)
		}
	}
	return values, nil
}

// query evaluates the rule for the series that matchers select, grouped by a label; ""
// keeps all results. As in prometheus-adapter, results without the label, such as that
// of `or vector(0)`, are left out; it is an Absence when no result has it. Rates that have
// been observed for too short a time are left out, too.
func (e *Evaluation) query(ctx context.Context, groupBy string, matchers ...[]rules.Matcher) (string, tsdb.Vector, error) {
	v := e.evaluator
	expr, err := e.Mapping.Rule.Expand(e.Mapping.Series, slices.Concat(matchers...), groupBy)
	if err != nil {
		return "", nil, err
	}
	known, isNew := v.Catalog.Evaluated(e.Mapping, groupBy, expr)
	if isNew {
		v.Demand.Wake()
	}
	v.Logger.Debug("evaluate", "metric", e.Mapping.Series, "rule", e.Mapping.Rule, "query", expr)
	query := e.instantQuery(expr)
	query.Grouping = known.Grouping
	vector, err := e.instant(ctx, query)
	if err != nil {
		return "", nil, err // it names the expression
	}
	kept := vector
	if groupBy != "" {
		kept = without(kept, func(s tsdb.Sample) bool { return s.Labels.Get(groupBy) == "" })
		if len(kept) == 0 && len(vector) > 0 {
			return "", nil, complete(OutcomeNoSeries, "%s keeps no label %s: aggregate by (<<.GroupBy>>)", expr, groupBy)
		}
	}
	e.brief = 0
	return expr, without(kept, e.isBrief), nil
}

// without returns a vector without some of its samples. It does not change the vector, which others read as well.
func without(vector tsdb.Vector, leaveOut func(tsdb.Sample) bool) tsdb.Vector {
	if !slices.ContainsFunc(vector, leaveOut) {
		return vector
	}
	return slices.DeleteFunc(slices.Clone(vector), leaveOut)
}

func (e *Evaluation) instantQuery(expr string) tsdb.Query {
	return e.evaluator.instantQuery(expr, e.Mapping.Rule, e.targets)
}

// Lookback returns the greatest age of a sample that an instant selector still finds.
func (e *Evaluation) Lookback() time.Duration { return e.targets.lookback() }

// EvaluatePart evaluates a part of the rule's query, to explain the query's result. promlet's metrics do not count it.
func (e *Evaluation) EvaluatePart(ctx context.Context, expr string) (tsdb.Vector, error) {
	return e.evaluator.Querier.Instant(ctx, e.instantQuery(expr))
}

// instant evaluates a query, and notes the result in the metrics and the Trace. A Trace is of queries that were evaluated
// for it.
func (e *Evaluation) instant(ctx context.Context, q tsdb.Query) (tsdb.Vector, error) {
	v := e.evaluator
	trace := traceOf(ctx)
	if trace == nil {
		return v.shared(ctx, q, e.Mapping.Rule, e.targets)
	}
	traced := TracedQuery{Evaluator: v, Evaluation: e, Expr: q.Expr}
	q.Warned = func(warning string) { traced.Warnings = append(traced.Warnings, warning) }
	traced.Results, traced.Err = v.instant(ctx, q)
	trace.Queries = append(trace.Queries, traced)
	return traced.Results, traced.Err
}

// isBrief calls IsBrief, and keeps in e.brief for how long the longest such rate was observed.
func (e *Evaluation) isBrief(s tsdb.Sample) bool {
	if !IsBrief(s) {
		return false
	}
	e.brief = max(e.brief, s.Window)
	return true
}

func (e *Evaluation) tooBrief() error {
	return complete(OutcomeTooFewSamples, "%s has been observed for %s so far: its rate takes a scrape interval, or %d events",
		e.Mapping.Series, e.brief.Round(100*time.Millisecond), briefRateEvents)
}

func (e *Evaluation) value(sample tsdb.Sample) Value {
	q, err := quantity(sample.Value)
	v := Value{Quantity: q, Last: sample.Last, Window: sample.Window, Labels: sample.Labels, Err: err}
	if e.evaluator.Engine != nil {
		v.Window = e.Mapping.Rule.Window // the engine does not return how much of it was observed
	}
	if v.Last.IsZero() {
		v.Last = e.evaluator.Now() // computed from no sample, as vector(1) is
	}
	return v
}
