package explain

import (
	"cmp"
	"context"
	"errors"
	"time"

	apilabels "k8s.io/apimachinery/pkg/labels"

	"github.com/promlet/promlet/adapter/catalog"
	"github.com/promlet/promlet/adapter/engine"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/resourcemetrics"
	"github.com/promlet/promlet/adapter/values"
)

// Options are what explanations look at beside the database, the targets and the objects.
type Options struct {
	// Service and Pod return which monitors select an object. Without Service explanations
	// say less; with it, Pod and ExposedBy are required.
	Service, Pod func(namespace, name string) Reach
	// ExposedBy returns the series names that the targets of a job expose, nil for a
	// job that has not been scraped.
	ExposedBy func(job string) []catalog.Exposed
	// Dropped returns how many samples the metricRelabelings of a job dropped in the last scrapes of its targets, and how many
	// samples the targets exposed. It may be nil.
	Dropped func(job string) (dropped, of int)
	// NotStored returns why series of a job that somebody reads are not stored, "" if they
	// are. It may be nil.
	NotStored func(job string) string
	// OutOfBounds returns a timestamp with which a target of a job exposes samples of a series name
	// and which is too old or too far in the future to be stored; false if there is none. It may be
	// nil.
	OutOfBounds func(job, series string) (time.Time, bool)
	// OtherShards returns the targets that other shards of promlet scrape. It may be nil.
	OtherShards func() []values.Target
	// EngineTargets returns the targets of pods that an engine behind a URL scrapes, none if they are not known. It
	// may be nil.
	EngineTargets func(ctx context.Context, namespace string, pods []string) []engine.Target
	// ListProblem returns why the list of an engine's series is missing or old, "" if it is neither. It may be nil.
	ListProblem func() string
	// Resources gives what pods and nodes use, for explanations of metrics.k8s.io. Nil: promlet does not serve that API.
	Resources resourcemetrics.Source
	// Unreachable returns why the kubelet of a node is not scraped, nil if it is or the reason is not known. It may be nil.
	Unreachable func(node string) error
	// Problems returns what keeps promlet from knowing the objects, such as a missing
	// permission. It may be nil.
	Problems func() []string
}

// Reach is which monitors select an object.
type Reach struct {
	Monitors []Reaching
	// Nearest is the monitor of the object's namespace that comes closest to selecting it,
	// and why it does not; empty where one does, or none comes close.
	Nearest string
	// Labels are the object's, if its namespace has monitors and none comes close.
	Labels string
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

// Explainer explains what an Evaluator answers.
type Explainer struct {
	opts   Options
	values *values.Evaluator

	findings findings
}

// New returns an Explainer.
func New(opts Options, v *values.Evaluator) *Explainer { return &Explainer{opts: opts, values: v} }

// Explain follows the chain of a question. The error is that of an invalid question.
func (x *Explainer) Explain(ctx context.Context, q Question) (*Explanation, error) {
	if q.Metric == "" || !q.External && q.Object.Resource == "" {
		return nil, errors.New("explain: name the metric and the object")
	}
	if q.Usage && x.opts.Resources == nil {
		return nil, errors.New("explain: promlet does not serve metrics.k8s.io")
	}
	if q.Selector == nil {
		q.Selector = apilabels.Everything()
	}
	q.Object = objects.LongName(q.Object)
	c := &chain{x: x, withPods: q.Pods, told: Explanation{Metric: q.Metric, Namespace: q.Namespace, Object: q.Object.String()}}
	if q.Name != "" && !q.External {
		c.told.Object += "/" + q.Name
	}
	switch {
	case q.External:
		c.told.Object = "external"
		if req, err := values.ExternalRequest(q.Metric, q.Namespace, q.MetricSelector); err != nil {
			c.broken(LinkRule, "%v", err)
		} else {
			c.external(ctx, req)
		}
	case !c.ask(q):
	case c.asksForUsage(ctx, q):
		c.usage(ctx, q)
	case q.Name == "":
		c.all(ctx, q.Selector)
	default:
		c.one(ctx, q.Name)
	}
	return &c.told, nil
}

// Value returns the value of a metric of one object. The error is an Absence with the first
// broken link, or a fault.
func (x *Explainer) Value(ctx context.Context, req values.Request, name string) (values.Value, error) {
	if err := req.Permit(name); err != nil {
		return values.Value{}, err
	}
	req.Names = []string{name}
	missing, err := x.values.Objects.Missing(req.Kind, req.Namespace, name)
	if err != nil {
		return values.Value{}, err
	}
	if missing {
		return values.Value{}, x.Why(ctx, req, name, values.Absent(values.OutcomeNoObject, "there is no such object%s", values.InNamespace(req.Namespace)))
	}
	found, err := x.values.Values(ctx, req)
	if err != nil {
		return values.Value{}, x.Why(ctx, req, name, err)
	}
	v, ok := found[name]
	switch {
	case !ok:
		err = values.Absent(values.OutcomeNoSamples, "no value")
	case v.Err != nil:
		err = x.Why(ctx, req, name, values.Absent(values.OutcomeNotANumber, "%v", v.Err))
	}
	return v, err
}

// External returns the values of an external metric, likewise.
func (x *Explainer) External(ctx context.Context, req values.Request) ([]values.Value, error) {
	found, err := x.values.External(ctx, req)
	absent, ok := errors.AsType[*values.Absence](err)
	if !ok || absent.Outcome == values.OutcomeStarting || !x.knowsMore() {
		return found, err
	}
	c := &chain{x: x, reasonOnly: true}
	c.external(ctx, req)
	return found, c.absence(absent)
}

// Why replaces the reason that an evaluation found by the first broken link, where that
// says more. Other errors than an Absence stay.
func (x *Explainer) Why(ctx context.Context, req values.Request, name string, found error) error {
	absent, ok := errors.AsType[*values.Absence](found)
	if !ok || !x.knowsMore() {
		return found
	}
	c := &chain{x: x, req: req, reasonOnly: true}
	c.one(ctx, name)
	return c.absence(absent)
}

// NoObjects adds a reason to the error of a selector that picks no objects, if an HPA has scaled its target to zero. It
// returns other errors unchanged.
func (x *Explainer) NoObjects(req values.Request, found error) error {
	absent, ok := errors.AsType[*values.Absence](found)
	if !ok || absent.Outcome != values.OutcomeNoObject {
		return found
	}
	c := &chain{x: x, req: req}
	return values.Absent(absent.Outcome, "%s%s", absent.Reason, c.podsScaledToZero())
}

// knowsMore reports whether an explanation can find more than the evaluation: from monitors, or from an engine behind a
// URL.
func (x *Explainer) knowsMore() bool {
	return x.opts.Service != nil || x.values.Engine != nil || x.values.Next != nil
}

// absence returns what was found, with the reason of the explanation if it has one.
func (c *chain) absence(found *values.Absence) error {
	if c.told.Reason == "" {
		return found
	}
	return values.Absent(cmp.Or(c.told.outcome, found.Outcome), "%s", c.told.Reason)
}

// mappings returns what makes the metric of what exists, best first.
func (x *Explainer) mappings(ctx context.Context, req *values.Request) ([]catalog.Mapping, error) {
	return x.values.Catalog.MappingsOf(ctx, req.Metric, req.TypesWithin())
}
