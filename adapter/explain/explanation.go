package explain

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/promlet/promlet/adapter/values"
)

// Parameter is the parameter of a request for a metric that asks, with any value, for its
// Explanation instead. Who may read the metric may ask. The value UsageParameter asks about metrics.k8s.io.
const Parameter = "explain"

// UsageParameter is the value of Parameter that asks for Question.Usage.
const UsageParameter = "usage"

// Question is a request for a metric that is to be explained.
type Question struct {
	Metric string
	// Object is the resource that has the metric. Name is empty when the question is about
	// the objects that Selector picks. Both are empty for an external metric.
	Object    schema.GroupResource
	Namespace string
	Name      string
	Selector  apilabels.Selector // nil: everything
	// MetricSelector picks series. nil: all.
	MetricSelector apilabels.Selector
	External       bool
	// Usage asks about the cpu or memory of metrics.k8s.io even if a custom metric has that name. Otherwise the question is
	// about the custom metric if there is one. The caller checks the permission: that for a custom metric of the name is
	// enough.
	Usage bool
	// Pods also requests the value of each pod behind the object. The caller checks the permission:
	// a user who may read the metric of the object may not be allowed to read that of pods.
	Pods bool
}

// Explanation is the chain from a question to its value, or to the first broken link.
type Explanation struct {
	Metric    string `json:"metric"`
	Object    string `json:"object"` // services/x, pods, or external
	Namespace string `json:"namespace,omitempty"`
	// Value is empty when there is none; then Reason says why.
	Value  string `json:"value,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Unit is the unit of a Value of metrics.k8s.io, "" for other values.
	Unit  Unit   `json:"unit,omitempty"`
	Steps []Step `json:"steps"`
	// Of counts the objects that a selector picks, and With those of them that have a value. Lacking is the first without one:
	// Reason is about it.
	Of      int    `json:"of,omitempty"`
	With    int    `json:"with,omitempty"`
	Lacking string `json:"lacking,omitempty"`
	// Query is the last evaluated PromQL, empty if none was evaluated.
	Query string `json:"query,omitempty"`
	// Window is the range of the samples behind the value. WindowAsked is the rule's range. Both
	// are 0 for an instant value.
	Window      time.Duration `json:"windowNanoseconds,omitempty"`
	WindowAsked time.Duration `json:"windowAskedNanoseconds,omitempty"`
	// Pods has the values that Question.Pods requests. MorePods is the number of pods left out.
	Pods     []PodValue `json:"pods,omitempty"`
	MorePods int        `json:"morePods,omitempty"`

	outcome values.Outcome // of Reason, "" where the evaluation's is as good
}

// Counted says how many of the objects that a selector picks have a value. It is empty if none has, or if the question names
// the object.
func (e *Explanation) Counted() string {
	if e.With == 0 {
		return ""
	}
	noun, _, _ := strings.Cut(e.Object, ".")
	return fmt.Sprintf("has a value for %d of %d %s", e.With, e.Of, noun)
}

// ValueText returns the value for people.
func (e *Explanation) ValueText() string {
	q, err := resource.ParseQuantity(e.Value)
	switch {
	case err == nil && e.Unit == UnitCores:
		return values.Cores(q.MilliValue())
	case err == nil && e.Unit == UnitBytes:
		return values.Bytes(q.Value())
	}
	return values.DecimalText(e.Value)
}

// Verdict says in words what there is: the value, or the reason.
func (e *Explanation) Verdict() string {
	counted := e.Counted()
	switch {
	case counted != "" && e.Reason != "":
		return counted + "; " + e.Lacking + " has none: " + e.Reason
	case counted != "":
		return counted
	case e.Reason != "":
		return "has no value: " + e.Reason
	default:
		return "is " + e.ValueText()
	}
}

// Unit is the unit of a value of metrics.k8s.io.
type Unit string

// The units.
const (
	UnitCores Unit = "cores"
	UnitBytes Unit = "bytes"
)

// Step is a link of the chain.
type Step struct {
	Link  Link   `json:"link"`
	State State  `json:"state"`
	Text  string `json:"text"`
}

// Link names what a step is about.
type Link string

// State is what was found.
type State string

// The links, in the order of the chain.
const (
	LinkObject     Link = "object"
	LinkAutoscaler Link = "autoscaler"
	LinkRule       Link = "rule"
	LinkMonitor    Link = "monitor"
	LinkEndpoints  Link = "endpoints"
	LinkTargets    Link = "targets"
	LinkQuery      Link = "query" // of an engine behind a URL
	LinkSeries     Link = "series"
	LinkSamples    Link = "samples"
	LinkKubelet    Link = "kubelet" // of metrics.k8s.io
	LinkContainer  Link = "container"
	LinkValue      Link = "value"

	StateOK     State = "ok"
	StateBroken State = "broken" // at most one: the rest hangs on it
	StateNote   State = "note"   // neither good nor bad
)

// outcomeOf returns the outcome of a request whose first broken link this is, "" where the
// link does not decide it.
func outcomeOf(link Link) values.Outcome {
	return map[Link]values.Outcome{
		LinkObject:    values.OutcomeNoObject,
		LinkRule:      values.OutcomeNoMetric,
		LinkMonitor:   values.OutcomeNoMonitor,
		LinkEndpoints: values.OutcomeNoEndpoints,
		LinkTargets:   values.OutcomeTargetDown,
		LinkSeries:    values.OutcomeNoSeries,
		LinkSamples:   values.OutcomeNoSamples,
	}[link]
}
