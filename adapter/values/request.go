package values

import (
	"errors"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apilabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/adapter/rules"
)

// Request is a question for values, with its resource resolved.
type Request struct {
	Metric    rules.Metric
	Kind      objects.Kind
	Namespace string // "" for a cluster-scoped kind
	Names     []string
	Matchers  []rules.Matcher       // of the metric selector
	Selector  *metav1.LabelSelector // the metric selector as asked for, nil when empty

	through string // the namespace that it was asked for in, "" for none
}

// Request returns the question for a custom metric of objects of a resource. Names are not
// set.
func (v *Evaluator) Request(metric string, of schema.GroupResource, namespace string, sel apilabels.Selector) (Request, error) {
	k, err := v.Kinds.Resolve(of)
	if err != nil {
		return Request{}, err
	}
	if k.Namespaced && namespace == "" {
		return Request{}, Absent(OutcomeRefused, "%s are namespaced: ask under namespaces/NAMESPACE/%s", k.GroupResource, k.GroupResource)
	}
	req := Request{Metric: rules.Metric{API: rules.CustomAPI, Name: metric}, Kind: k, Namespace: namespace, through: namespace, Selector: rules.LabelSelector(sel)}
	if !k.Namespaced {
		req.Namespace = ""
	}
	req.Matchers, err = rules.SelectorMatchers(sel)
	return req, err
}

// ExternalRequest returns the question for an external metric.
func ExternalRequest(metric, namespace string, sel apilabels.Selector) (Request, error) {
	matchers, err := rules.SelectorMatchers(sel)
	return Request{Metric: rules.Metric{API: rules.ExternalAPI, Name: metric}, Namespace: namespace, Matchers: matchers}, err
}

// Within returns the namespace whose series may answer, "" for those of all. The HPA asks
// for nodes and the like through its own namespace, and who may read a namespace may not
// know what others say of a node.
func (r *Request) Within() string {
	if r.Namespace == "" && !r.Kind.IsNamespace() {
		return r.through
	}
	return r.Namespace
}

// TypesWithin returns the namespace with the types by which default rules select series, ""
// for all namespaces together. For a request about several namespaces it is the first.
func (r *Request) TypesWithin() string {
	if r.Kind.IsNamespace() && r.Namespace == "" && len(r.Names) > 0 {
		return r.Names[0]
	}
	return r.Within()
}

// Permit refuses a question about another namespace than it was asked for in: the caller
// may not be allowed to know about it.
func (r *Request) Permit(name string) error {
	if r.Kind.IsNamespace() && r.through != "" && r.through != name {
		return Absent(OutcomeRefused, "a request in namespace %s cannot read metrics of another namespace: ask under namespaces/%s/metrics", r.through, name)
	}
	return nil
}

// Picked returns the names of the objects that a selector picks.
func (v *Evaluator) Picked(req Request, selector apilabels.Selector) ([]string, error) {
	names, err := v.Objects.Names(req.Kind, req.Namespace, selector)
	if errors.Is(err, objects.ErrUnlabelled) {
		err = Absent(OutcomeRefused, "%v", err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return req.Permit(name) != nil })
	switch {
	case err != nil || len(names) > 0:
	case !v.Objects.Watched(req.Kind):
		err = Absent(OutcomeNoObject, "%s are not watched, so only those that own pods are known, and there are none%s: ask for one by name", req.Kind.GroupResource, InNamespace(req.Namespace))
	case selector.Empty():
		err = Absent(OutcomeNoObject, "there are no %s%s", req.Kind.GroupResource, InNamespace(req.Namespace))
	default:
		err = Absent(OutcomeNoObject, "the selector %q matches no %s%s", selector, req.Kind.GroupResource, InNamespace(req.Namespace))
	}
	return names, err
}

// InNamespace returns " in namespace x", "" for none.
func InNamespace(namespace string) string {
	if namespace == "" {
		return ""
	}
	return " in namespace " + namespace
}
