package explain

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/internal/diagnosis"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
	"github.com/promlet/promlet/adapter/values"
	"github.com/promlet/promlet/tsdb"
)

// lastQuery returns the last evaluated query whose results satisfy a condition, nil for none.
func (c *chain) lastQuery(is func(tsdb.Vector) bool) *values.TracedQuery {
	for _, q := range slices.Backward(c.trace.Queries) {
		if q.Evaluator == c.trace.By && q.Err == nil && is(q.Results) {
			return &q
		}
	}
	return nil
}

const (
	// findingTTL is how long a finding is the reason of further answers to HPAs.
	findingTTL = time.Minute
	// maxFindings is the maximum number of findings that are kept.
	maxFindings = 1000
)

// findings keeps findings for answers to HPAs, which ask every 15 seconds: a diagnosis evaluates up to 16 parts.
type findings struct {
	mtx sync.Mutex
	all map[string]datedFinding
}

type datedFinding struct {
	diagnosis.Finding
	at time.Time
}

// found returns the finding of a query. An explanation that somebody asked for makes it anew.
func (c *chain) found(query string, diagnose func() (diagnosis.Finding, error)) (diagnosis.Finding, error) {
	kept, now := &c.x.findings, c.x.values.Now()
	if c.reasonOnly {
		kept.mtx.Lock()
		known, ok := kept.all[query]
		kept.mtx.Unlock()
		if ok && now.Sub(known.at) < findingTTL {
			return known.Finding, nil
		}
	}
	finding, err := diagnose()
	if err != nil {
		return finding, err
	}
	kept.mtx.Lock()
	defer kept.mtx.Unlock()
	if kept.all == nil || len(kept.all) >= maxFindings {
		kept.all = map[string]datedFinding{}
	}
	kept.all[query] = datedFinding{finding, now}
	return finding, nil
}

// mayDiagnose reports whether to evaluate the parts of a query. The answer to an HPA does not send them to an engine behind
// a URL: HPAs ask every 15 seconds, and a slow part would make promlet pause all queries.
func (c *chain) mayDiagnose() bool { return !c.reasonOnly || c.trace.By.Engine == nil }

// whyEmpty explains why the rule's query returns nothing, "" if that is not known. interval is the longest scrape interval
// of the series, 0 if it is not known.
func (c *chain) whyEmpty(ctx context.Context, interval time.Duration) string {
	q := c.lastQuery(func(results tsdb.Vector) bool { return len(results) == 0 })
	if q == nil || !c.mayDiagnose() {
		return ""
	}
	found, err := c.found("empty "+q.Expr, func() (diagnosis.Finding, error) { return diagnosis.OfEmpty(ctx, q.Evaluation.EvaluatePart, q.Expr) })
	if err != nil {
		return "" // without it the explanation says less
	}
	rule := q.Evaluation.Mapping.Rule.Origin()
	switch found.Kind {
	case diagnosis.NoSeries:
		return fmt.Sprintf("the query of %s returns nothing for it: %s", rule, c.noSeries(found.Selector))
	case diagnosis.ShortRange:
		scraped := ""
		if interval > 0 {
			scraped = ", and its series are scraped every " + model.Duration(interval).String()
		}
		return fmt.Sprintf("the query of %s looks back over %s only%s: most of the time that holds no sample; make the range at least twice the interval",
			rule, model.Duration(found.Range), scraped)
	case diagnosis.TooFewSamples:
		return fmt.Sprintf("the query of %s needs two samples of %s within %s", rule, nameOf(found.Selector), model.Duration(found.Range))
	case diagnosis.NotJoined:
		return fmt.Sprintf("the query of %s returns nothing for it: the two sides of %s have results, but %s", rule, clipped(found.Part), labelMismatch(found.Left, found.Right))
	case diagnosis.FalseComparison:
		return fmt.Sprintf("the query of %s returns nothing for it: no result satisfies the comparison %s", rule, clipped(found.Part))
	case diagnosis.Removed:
		return fmt.Sprintf("the query of %s returns nothing for it: the right side of %s removes all results", rule, clipped(found.Part))
	}
	return ""
}

// noSeries explains why a selector of the query matches no series.
func (c *chain) noSeries(of *parser.VectorSelector) string {
	name := nameOf(of)
	exposed := c.exposedBy(c.ownJobs())
	isName := func(e catalog.Exposed) bool { return e.Name == name }
	everywhere := c.x.values.Catalog.Exposure()
	if _, known := everywhere.Labels[name]; c.trace.By.Engine == nil && everywhere.Known && name != "" && !known && !slices.ContainsFunc(exposed, isName) {
		names := make([]string, len(exposed))
		for i, e := range exposed {
			names[i] = e.Name
		}
		return fmt.Sprintf("it reads %s, which no target exposes%s", name, closestOf(names, name))
	}
	return "no series matches " + clipped(of.String())
}

// nameOf returns the only series name that a selector matches, "" if it may match several.
func nameOf(of *parser.VectorSelector) string {
	name, _ := rules.OneName(rules.OnName(of.LabelMatchers))
	return cmp.Or(of.Name, name)
}

// labelMismatch explains why results with the label names left and right do not match.
func labelMismatch(left, right []string) string {
	if slices.Equal(left, right) {
		return fmt.Sprintf("different values of the labels (%s)", strings.Join(left, ", "))
	}
	return fmt.Sprintf("different labels, (%s) and (%s): match them with on() or ignoring()", strings.Join(left, ", "), strings.Join(right, ", "))
}

// whyNotANumber returns text, which says that a value is NaN or infinite, and appends the reason if that is known.
func (c *chain) whyNotANumber(ctx context.Context, text string) string {
	isNotANumber := func(s tsdb.Sample) bool { return math.IsNaN(s.Value) || math.IsInf(s.Value, 0) }
	q := c.lastQuery(func(results tsdb.Vector) bool { return slices.ContainsFunc(results, isNotANumber) })
	if q == nil || !c.mayDiagnose() {
		return text
	}
	result := q.Results[slices.IndexFunc(q.Results, isNotANumber)]
	found, err := c.found(fmt.Sprintf("%g %s", result.Value, q.Expr), func() (diagnosis.Finding, error) {
		return diagnosis.OfNumber(ctx, q.Evaluation.EvaluatePart, q.Expr, result.Value)
	})
	if err != nil {
		return text // without it the explanation says less
	}
	switch found.Kind {
	case diagnosis.SeriesValue:
		if result.Labels.Has(model.MetricNameLabel) {
			return text // the result is a series, and text names it
		}
		return fmt.Sprintf("%s: %s is %g", text, c.firstSeries(q.Evaluation, found.Series), result.Value)
	case diagnosis.ZeroByZero:
		return fmt.Sprintf("%s: 0 divided by 0 in %s", text, clipped(found.Part))
	case diagnosis.DivisionByZero:
		return fmt.Sprintf("%s: a division by 0 in %s", text, clipped(found.Part))
	case diagnosis.NoObservations:
		return fmt.Sprintf("%s: the histogram has no observations in %s", text, clipped(found.Part))
	case diagnosis.AddedInfinities:
		return fmt.Sprintf("%s: +Inf and -Inf are added in %s", text, clipped(found.Part))
	}
	return text
}

// firstSeries names the first of several series, with its pod and the labels that its target does not have. Of a series
// of another namespace it returns only the name.
func (c *chain) firstSeries(e *values.Evaluation, all []labels.Labels) string {
	rule := e.Mapping.Rule
	inNamespace := func(s labels.Labels) bool {
		label := rule.Label(objects.Namespace())
		return label != "" && c.within() != "" && s.Get(label) == c.within()
	}
	at := slices.IndexFunc(all, inNamespace)
	if at < 0 {
		return all[0].Get(model.MetricNameLabel)
	}
	series := all[at]
	text := series.Get(model.MetricNameLabel)
	if own := labels.NewBuilder(series).Del(model.MetricNameLabel, rule.Label(objects.Namespace()), rule.Label(objects.Pod())).Del(targetLabels()...).Labels(); !own.IsEmpty() {
		text += own.String()
	}
	if pod := series.Get(cmp.Or(rule.Label(objects.Pod()), "pod")); pod != "" {
		text += " of pod " + pod
	}
	if n := len(all) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return text
}

// targetLabels returns the names of the labels that discovery adds to series.
func targetLabels() []string {
	return []string{"namespace", "pod", "container", "service", "endpoint", "job", "instance"}
}

// clipped shortens a query to maxQueryText.
func clipped(expr string) string {
	if len(expr) > maxQueryText {
		return strings.ToValidUTF8(expr[:maxQueryText], "") + "…"
	}
	return expr
}
