package adapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/promlet/promlet/tsdb"
)

// value is a metric's value for one object.
type value struct {
	quantity resource.Quantity
	last     time.Time     // of the last sample used
	window   time.Duration // 0 for an instant value
	err      error         // why there is no value although there is a sample
}

// windowSeconds is nil for an instant value.
func (v value) windowSeconds() *int64 {
	if v.window == 0 {
		return nil
	}
	seconds := max(1, int64(v.window.Round(time.Second)/time.Second))
	return &seconds
}

// evaluate returns the values of the objects asked for that have one, by name.
// When none has, the error is an absence that says why.
func (p *Provider) evaluate(ctx context.Context, req request) (values map[string]value, err error) {
	err = p.firstCandidate(ctx, req, func(cand candidate) (bool, error) {
		values, err = p.evaluateCandidate(ctx, req, cand)
		return len(values) > 0, err
	})
	return values, err
}

// firstCandidate tries the series that make a metric until one answers. When none
// does, the error is an absence that says why.
func (p *Provider) firstCandidate(ctx context.Context, req request, try func(candidate) (answered bool, err error)) error {
	candidates, err := p.catalog.candidates(ctx, req.metric)
	if err != nil {
		return err
	}
	if len(candidates) == 0 {
		return &absence{reason: "no series has been collected that a rule serves under that name", unknownMetric: true}
	}
	if ctx.Value(unreadKey{}) == nil {
		p.demand.read(req.metric)
	}
	var reasons reasons
	for _, cand := range candidates {
		answered, err := try(cand)
		var gone *absence
		switch {
		case errors.As(err, &gone):
			reasons.addAs(gone.as, gone.reason)
			reasons.settled = reasons.settled || gone.settled
		case err != nil:
			return err
		case answered:
			return nil
		}
	}
	if wait := p.demand.starting(req.metric); wait > 0 {
		return &absence{starting: true, reason: fmt.Sprintf("collection of %s has started, first value in about %s", candidates[0].series, wait.Round(time.Second))}
	}
	return reasons.err()
}

// evaluation is a request to be answered out of one series name.
type evaluation struct {
	*Provider
	request
	cand  candidate
	scope []matcher     // on the namespace
	table scrapeTable   // of all targets
	brief time.Duration // how little has been observed of what has no value for that reason, 0: nothing has none
}

// evaluateCandidate looks for the objects' own label first, and then for the
// pods behind the objects.
func (p *Provider) evaluateCandidate(ctx context.Context, req request, cand candidate) (map[string]value, error) {
	e, err := p.prepare(req, cand)
	if err != nil {
		return nil, err
	}
	label := cand.assoc.label(req.kind)
	if !e.implies(label) {
		if _, err := e.labelNames(ctx); err != nil {
			return nil, err
		}
	}
	var values map[string]value
	if label != "" {
		values, err = e.byLabel(ctx, label)
		if err != nil || len(values) > 0 && (req.kind.GroupResource == podResource || len(values) >= len(req.names)) {
			return values, err
		}
	}
	names, err := e.labelNames(ctx)
	if err != nil {
		return nil, err
	}
	podLabel := cand.assoc.label(podKind())
	switch {
	case req.namespace != "" && req.kind.GroupResource != podResource && podLabel != "" && slices.Contains(names, podLabel) && !cand.allPods:
		return e.byPods(ctx, podLabel, values)
	case len(values) > 0:
		return values, nil
	case label != "" && slices.Contains(names, label):
		return nil, e.nothing()
	default:
		return nil, absent("%s carries no label that names %s", cand.series, req.kind.GroupResource)
	}
}

func (p *Provider) prepare(req request, cand candidate) (*evaluation, error) {
	e := &evaluation{Provider: p, request: req, cand: cand, table: p.scrapes.current()}
	if req.namespace != "" {
		label := cand.assoc.label(namespaceKind())
		if label == "" {
			return nil, absent("%s, which serves %s, has no label for namespaces", cand.rule, cand.series)
		}
		e.scope = append(e.scope, equal(label, req.namespace))
	}
	return e, nil
}

// implies tells whether all series that can answer, by the label that names objects,
// are such as the rule takes: most rules only want the labels that are asked for.
func (e *evaluation) implies(label string) bool {
	for _, m := range e.cand.matchers {
		switch {
		case m.Name == model.MetricNameLabel:
		case len(e.scope) > 0 && m.Name == e.scope[0].Name && m.Matches(e.namespace):
		case m.Name == label && !slices.ContainsFunc(e.names, func(name string) bool { return !m.Matches(name) }):
		default:
			return false
		}
	}
	return true
}

// within is where the series of a metric are. A query need not be about the namespace
// that it is asked for in.
func (e *evaluation) within() (namespace string, known []*labels.Matcher) {
	label := e.cand.assoc.label(namespaceKind())
	switch {
	case e.cand.allNamespaces:
		return "", nil
	case e.kind.GroupResource == namespaceResource && len(e.names) == 1 && label != "":
		return e.names[0], []*labels.Matcher{equal(label, e.names[0]).Matcher}
	}
	return e.namespace, promMatchers(e.scope)
}

// labelNames returns those of the series, which there are, or else an absence.
func (e *evaluation) labelNames(ctx context.Context) ([]string, error) {
	within, known := e.within()
	names, err := e.catalog.labelNames(ctx, e.cand, known...)
	if err == nil && len(names) == 0 {
		err = absent("%s has no series%s that %s takes", e.cand.series, inNamespace(within), e.cand.rule)
	}
	return names, err
}

// nothing is why a query over series that are there gave nothing.
func (e *evaluation) nothing() error {
	if e.brief > 0 {
		return e.tooBrief()
	}
	of := " for it"
	if e.cand.api == externalAPI {
		of = inNamespace(e.namespace)
	}
	if e.cand.window > 0 {
		return absentAs(answerTooFewSamples, "%s has no rate%s over the last %s: that needs two samples", e.cand.series, of, model.Duration(e.cand.window))
	}
	return absentAs(answerNoSamples, "%s has no current sample%s", e.cand.series, of)
}

// byLabel asks for all objects at once by the label that names them.
func (e *evaluation) byLabel(ctx context.Context, label string) (map[string]value, error) {
	matchers := slices.Concat(e.matchers, e.scope, []matcher{namesMatcher(label, e.names)})
	expr, vector, err := e.query(ctx, matchers, label)
	if err != nil {
		return nil, err
	}
	vector, err = e.named(expr, vector, label)
	if err != nil {
		return nil, err
	}
	values := make(map[string]value, len(vector))
	for _, sample := range vector {
		name := sample.Labels.Get(label)
		if _, twice := values[name]; twice {
			return nil, fmt.Errorf("%s gives several samples for %s %q: aggregate by (<<.GroupBy>>)", expr, label, name)
		}
		values[name] = e.value(sample)
	}
	return values, nil
}

// named returns the results that have the label by which objects are told apart: as in
// prometheus-adapter the others, such as that of `or vector(0)`, are left out. It is an
// absence when none has it.
func (e *evaluation) named(expr string, vector tsdb.Vector, label string) (tsdb.Vector, error) {
	named := slices.DeleteFunc(slices.Clone(vector), func(s tsdb.Sample) bool { return s.Labels.Get(label) == "" })
	if len(named) == 0 && len(vector) > 0 {
		return nil, settled("", "%s keeps no label %s: aggregate by (<<.GroupBy>>)", expr, label)
	}
	return e.withoutBrief(named), nil
}

// byPods asks for each object by the pods that are behind it now, but for those that
// have a value.
func (e *evaluation) byPods(ctx context.Context, podLabel string, values map[string]value) (map[string]value, error) {
	if values == nil {
		values = make(map[string]value, len(e.names))
	}
	var reasons reasons
	for _, name := range e.names {
		if _, known := values[name]; known {
			continue
		}
		pods, err := e.objects.pods(e.kind, e.namespace, name)
		if err != nil {
			return nil, err
		}
		if len(pods) == 0 {
			reasons.add(fmt.Sprintf("no series names it, and it has no pods%s", inNamespace(e.namespace)))
			continue
		}
		matchers := slices.Concat(e.matchers, e.scope, []matcher{namesMatcher(podLabel, pods)})
		expr, vector, err := e.query(ctx, matchers, e.scope[0].Name)
		if err == nil {
			vector, err = e.named(expr, vector, e.scope[0].Name)
		}
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
			reasons.addAs(answerNoSamples, fmt.Sprintf("%s has no value yet for its pods %s", e.cand.series, strings.Join(pods, ", ")))
		}
	}
	if len(values) == 0 {
		return nil, reasons.err()
	}
	return values, nil
}

// query evaluates the rule for the series that matchers select.
func (e *evaluation) query(ctx context.Context, matchers []matcher, groupBy string) (string, tsdb.Vector, error) {
	e.brief = 0
	expr, err := e.cand.expand(e.cand.series, matchers, groupBy)
	if err != nil {
		return "", nil, err
	}
	known, isNew := e.catalog.evaluated(e.cand, groupBy, expr)
	if isNew {
		e.demand.wake()
	}
	e.logger.Debug("evaluate", "metric", e.cand.series, "rule", e.cand.rule, "query", expr)
	query := tsdb.Query{
		Expr: expr, At: e.now(), Grouping: known.grouping, Lookback: max(tsdb.DefaultLookbackDelta, tsdb.FreshIntervals*e.table.longest),
		Source: e.source, Object: e.object, Interval: e.scrapes.interval, LongestInterval: e.table.longest,
	}
	start := time.Now()
	vector, err := e.db.Instant(ctx, query)
	e.metrics.queried(start, len(vector), err)
	return expr, vector, err // the error names the expression
}

// object reports since when there has been the pod that a series is about, and whether
// it is gone, or the target that it is of.
func (e *evaluation) object(series labels.Labels) (since time.Time, gone bool) {
	pod, namespace := e.cand.assoc.label(podKind()), e.cand.assoc.label(namespaceKind())
	if pod == "" || namespace == "" || !series.Has(pod) {
		return time.Time{}, e.table.gone(series)
	}
	since, gone, err := e.objects.since(podKind(), series.Get(namespace), series.Get(pod))
	if err != nil {
		return time.Time{}, false // it is not known
	}
	return since, gone || e.table.gone(series)
}

// enoughMoved is by how much counters must have moved for a rate over less than a scrape
// interval to count: that many events err by a fifth. Three seconds, after which a target
// is scraped for the second time, would say 0 or 0.33 of a counter that moves once in five.
const enoughMoved = 25

// withoutBrief leaves out the rates that have been observed for too short a time to be
// right, and keeps the longest such time in e.brief. A rate waits until all targets have
// been scraped twice, and until the counters have moved enough or have been observed for a
// scrape interval.
func (e *evaluation) withoutBrief(vector tsdb.Vector) tsdb.Vector {
	return slices.DeleteFunc(vector, func(s tsdb.Sample) bool {
		if !s.Brief || !s.Waiting && (s.Moved >= enoughMoved || s.Moved == 0) {
			return false
		}
		e.brief = max(e.brief, s.Window)
		return true
	})
}

func (e *evaluation) tooBrief() error {
	return settled(answerTooFewSamples, "%s has been observed for %s so far: its rate takes a scrape interval, or %d events",
		e.cand.series, e.brief.Round(100*time.Millisecond), enoughMoved)
}

func (p *Provider) value(sample tsdb.Sample) value {
	q, err := quantity(sample.Value)
	v := value{quantity: q, last: sample.Last, window: sample.Window, err: err}
	if v.last.IsZero() {
		v.last = p.now() // computed from no sample: vector(1)
	}
	return v
}

func promMatchers(matchers []matcher) []*labels.Matcher {
	plain := make([]*labels.Matcher, len(matchers))
	for i, m := range matchers {
		plain[i] = m.Matcher
	}
	return plain
}

// reasons collects why there is no value, each once and in order. They count as the
// first.
type reasons struct {
	all     []string
	as      answer
	settled bool // see absence
}

func (r *reasons) add(reason string) { r.addAs("", reason) }

func (r *reasons) addAs(as answer, reason string) {
	if len(r.all) == 0 {
		r.as = as
	}
	if !slices.Contains(r.all, reason) {
		r.all = append(r.all, reason)
	}
}

func (r *reasons) err() error {
	const most = 3 // an HPA's condition has room for a few
	if len(r.all) > most {
		r.all = append(r.all[:most:most], "…")
	}
	return &absence{reason: strings.Join(r.all, "; "), as: r.as, settled: r.settled}
}
