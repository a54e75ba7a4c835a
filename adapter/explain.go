package adapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
)

// Explaining is what explanations look at beside the database, the targets and the
// objects. Each may be nil: then they know less.
type Explaining struct {
	// Service and Pod tell which monitors select an object.
	Service, Pod func(namespace, name string) Reach
	// ExposedBy returns the series names that the targets of a job expose, nil for a
	// job that has not been scraped.
	ExposedBy func(job string) []Exposed
	// Problems tells what keeps promlet from knowing the objects, such as a missing
	// permission.
	Problems func() []string
}

// Reach tells which monitors select an object.
type Reach struct {
	Monitors []Reaching
	// Nearest is the monitor of the object's namespace that comes closest to it, and
	// why it does not select it; where none selects it.
	Nearest string
	// Counted is how many monitors there are for objects of the namespace.
	Counted int
}

// Reaching is a monitor that selects an object.
type Reaching struct {
	Kind, Namespace, Name string
	// Err is why it is rejected.
	Err error
	// Jobs are made of its endpoints.
	Jobs []ReachedJob
}

// ReachedJob is what an endpoint of a monitor makes of an object.
type ReachedJob struct {
	Name    string
	Targets int
	Missing string // why there are none
}

// Question is a request for a metric that is to be explained.
type Question struct {
	Metric string
	// Object is what has the metric, without a name when it is about those that
	// Selector picks. It is empty for an external metric.
	Object    schema.GroupResource
	Namespace string
	Name      string
	Selector  apilabels.Selector // nil: everything
	// MetricSelector picks series. nil: all.
	MetricSelector apilabels.Selector
	External       bool
}

// Explanation is the way from a request to its value, or to the first thing that is
// missing. It tells of nothing in other namespaces than the one asked about.
type Explanation struct {
	Metric    string `json:"metric"`
	Object    string `json:"object"` // services/x, pods, or external
	Namespace string `json:"namespace,omitempty"`
	// Value is empty when there is none; then Reason says why.
	Value  string `json:"value,omitempty"`
	Reason string `json:"reason,omitempty"`
	Steps  []Step `json:"steps"`

	as answer // of Reason, where it says more than what was found before
}

// Step is a link of the chain.
type Step struct {
	Link  Link   `json:"link"`
	State State  `json:"state"`
	Text  string `json:"text"`
}

// Link names what a step is about, in the order of the chain.
type Link string

// State is what was found.
type State string

// The links, from the one who asks to the answer.
const (
	LinkObject     Link = "object"
	LinkAutoscaler Link = "autoscaler"
	LinkRule       Link = "rule"
	LinkMonitor    Link = "monitor"
	LinkEndpoints  Link = "endpoints"
	LinkTargets    Link = "targets"
	LinkSeries     Link = "series"
	LinkSamples    Link = "samples"
	LinkValue      Link = "value"

	StateOK     State = "ok"
	StateBroken State = "broken" // at most one: the rest hangs on it
	StateNote   State = "note"   // neither good nor bad
)

// Explain walks the way of a request. The error is that of a question that is none.
func (p *Provider) Explain(ctx context.Context, q Question) (*Explanation, error) {
	if q.Metric == "" || !q.External && q.Object.Resource == "" {
		return nil, errors.New("explain: name the metric and the object")
	}
	t := &trail{Provider: p}
	t.told.Metric, t.told.Namespace = q.Metric, q.Namespace
	if q.Selector == nil {
		q.Selector = apilabels.Everything()
	}
	switch {
	case q.External:
		t.told.Object = "external"
		t.walkExternal(ctx, q)
	case q.Name == "":
		t.told.Object = q.Object.String()
		t.walkAll(ctx, q)
	default:
		t.told.Object = q.Object.String() + "/" + q.Name
		if t.ask(q) {
			t.req.names = []string{q.Name}
			t.walk(ctx, q.Name)
		}
	}
	return &t.told, nil
}

// why is the reason that an object has no value, for the message of a 404: the first
// broken link, or what evaluation has found.
func (p *Provider) why(ctx context.Context, req request, name string, found error) error {
	var gone *absence
	if !errors.As(found, &gone) || p.explaining.Service == nil { // nothing more is known
		return found
	}
	t := &trail{Provider: p, req: req}
	t.walk(ctx, name)
	if t.told.Reason == "" {
		return found
	}
	return &absence{reason: t.told.Reason, unknownMetric: gone.unknownMetric, starting: gone.starting, as: cmp.Or(t.told.as, gone.as)}
}

// trail is an explanation in the making.
type trail struct {
	*Provider
	req  request
	told Explanation

	pods   []string // behind the object
	jobs   []string // that scrape them
	source string   // series that they expose, of which the metric is made

	targets []Target // all, once they were asked for
}

func (t *trail) add(link Link, state State, format string, args ...any) {
	t.told.Steps = append(t.told.Steps, Step{Link: link, State: state, Text: fmt.Sprintf(format, args...)})
}

func (t *trail) ok(link Link, format string, args ...any)   { t.add(link, StateOK, format, args...) }
func (t *trail) note(link Link, format string, args ...any) { t.add(link, StateNote, format, args...) }

// broken ends the walk.
func (t *trail) broken(link Link, format string, args ...any) bool {
	t.add(link, StateBroken, format, args...)
	t.told.Reason = t.told.Steps[len(t.told.Steps)-1].Text
	t.told.as = answerOfLink(link)
	return false
}

// ask resolves the question.
func (t *trail) ask(q Question) bool {
	info := provider.CustomMetricInfo{GroupResource: q.Object, Metric: q.Metric, Namespaced: q.Namespace != ""}
	req, err := t.request(info, q.Namespace, q.MetricSelector)
	if err != nil {
		return t.broken(LinkObject, "%v", err)
	}
	if err := req.own(q.Name); q.Name != "" && err != nil {
		return t.broken(LinkObject, "%v", err)
	}
	t.req = req
	return true
}

// walk goes from the object to its value.
func (t *trail) walk(ctx context.Context, name string) {
	if !t.object(name) {
		return
	}
	t.autoscalers(name)
	if t.req.metric.api == customAPI {
		values, err := t.evaluate(ctx, t.req)
		if v, ok := values[name]; ok && v.err == nil {
			t.arrive(ctx, name, v)
			return
		} else if ok {
			if t.rule(ctx, name) {
				t.reached(name)
				t.broken(LinkValue, "%v", v.err)
			}
			return
		}
		var gone *absence
		if err != nil && !errors.As(err, &gone) {
			t.broken(LinkValue, "%v", err)
			return
		}
		if gone != nil && gone.settled {
			if t.rule(ctx, name) {
				t.reached(name)
				t.broken(LinkSamples, "%s", gone.reason)
				t.told.as = gone.as
			}
			return
		}
	}
	t.search(ctx, name)
}

// arrive tells of what led to a value.
func (t *trail) arrive(ctx context.Context, name string, v value) {
	t.told.Value = v.quantity.String()
	found, err := t.stored(ctx, name)
	if err == nil && found.series > 0 {
		t.ok(LinkRule, "made by %s of %s", found.cand.origin(), found.cand.series)
	} else {
		t.rule(ctx, name)
	}
	t.reached(name)
	if several := found.severalTargets(); several != "" {
		t.note(LinkTargets, "%s", several)
	}
	over := "the last sample of each series"
	if v.window > 0 {
		over = fmt.Sprintf("a window of %s", v.window.Round(1e6))
	}
	t.ok(LinkValue, "%s, over %s, last sample %s ago", t.told.Value, over, t.now().Sub(v.last).Round(1e8))
}

// search looks for the first broken link on the way to an object without a value.
func (t *trail) search(ctx context.Context, name string) {
	found, err := t.stored(ctx, name)
	if err != nil {
		t.broken(LinkSamples, "%v", err)
		return
	}
	if !t.rule(ctx, name) {
		return
	}
	if found.series > 0 { // whoever scrapes them, they are there
		t.samples(found)
		return
	}
	switch {
	case t.req.metric.api == externalAPI && !t.ofNamespace(ctx):
		// Its series may be of any namespace; evaluating it has found a reason.
	case t.req.metric.api == customAPI && !t.req.kind.Namespaced && t.req.kind.GroupResource != namespaceResource:
		t.broken(LinkSeries, "no series of the metric names %s %s", t.req.kind.Singular, name)
	case t.monitors(name) && t.endpoints(name) && t.targetsUp(name) && t.series(name):
		t.uncollected()
	}
}

// ofNamespace tells whether the metric is made of series of the namespace only.
func (t *trail) ofNamespace(ctx context.Context) bool {
	sources, err := t.sources(ctx)
	return err == nil && !slices.ContainsFunc(sources, func(c candidate) bool { return !c.namespaced() || c.allNamespaces })
}

// walkExternal goes from the rule to the values.
func (t *trail) walkExternal(ctx context.Context, q Question) {
	matchers, err := selectorMatchers(q.MetricSelector)
	if err != nil {
		t.broken(LinkRule, "%v", err)
		return
	}
	k := namespaceKind()
	k.GVK.Kind = "Namespace"
	t.req = request{kind: k, namespace: q.Namespace, names: []string{q.Namespace}, metric: metricKey{externalAPI, q.Metric}, matchers: matchers}
	t.autoscalers("")
	list, err := t.external(ctx, q.Namespace, q.MetricSelector, q.Metric)
	var gone *absence
	switch {
	case errors.As(err, &gone) && gone.settled:
		if t.rule(ctx, q.Namespace) {
			t.broken(LinkValue, "%v", err)
		}
		return
	case err != nil:
		t.search(ctx, q.Namespace)
		if t.told.Reason == "" {
			t.broken(LinkValue, "%v", err)
		}
		return
	}
	t.rule(ctx, q.Namespace)
	var values []string
	for _, item := range list.Items {
		values = append(values, item.Value.String())
		t.ok(LinkValue, "%s of %s, last sample %s ago", item.Value.String(), labels.FromMap(item.MetricLabels), t.now().Sub(item.Timestamp.Time).Round(1e8))
	}
	t.told.Value = strings.Join(values, ", ")
}

// whyExternal is why for an external metric.
func (p *Provider) whyExternal(ctx context.Context, namespace string, sel apilabels.Selector, metric string, found error) error {
	var gone *absence
	if !errors.As(found, &gone) || gone.starting || p.explaining.Service == nil {
		return found
	}
	told, err := p.Explain(ctx, Question{Metric: metric, Namespace: namespace, MetricSelector: sel, External: true})
	if err != nil || told.Reason == "" {
		return found
	}
	return absentAs(cmp.Or(told.as, gone.as), "%s", told.Reason)
}

// walkAll explains for the first object without a value among several.
func (t *trail) walkAll(ctx context.Context, q Question) {
	if !t.ask(q) {
		return
	}
	names, err := t.picked(t.req, q.Selector)
	if err != nil {
		t.broken(LinkObject, "%v", err)
		return
	}
	if len(names) == 0 {
		t.broken(LinkObject, "the selector %q matches no %s%s", q.Selector, t.req.kind.GroupResource, inNamespace(t.req.namespace))
		return
	}
	t.ok(LinkObject, "%s%s: %s", t.req.kind.GroupResource, inNamespace(t.req.namespace), listed(names))
	t.req.names = names
	values, _ := t.evaluate(ctx, t.req) // why one has none is found out below
	for _, name := range names {
		if v, ok := values[name]; !ok || v.err != nil {
			t.note(LinkObject, "%d of %d have a value; %s has none:", len(values), len(names), name)
			t.req.names = []string{name}
			t.walk(ctx, name)
			return
		}
	}
	t.told.Value = fmt.Sprintf("%d values", len(names))
	t.arriveAll(values, names)
}

func (t *trail) arriveAll(values map[string]value, names []string) {
	for _, name := range names {
		v := values[name]
		t.ok(LinkValue, "%s: %s, last sample %s ago", name, v.quantity.String(), t.now().Sub(v.last).Round(1e8))
	}
}

// listed names a few of many.
func listed(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d others", strings.Join(names[:most], ", "), len(names)-most)
}
