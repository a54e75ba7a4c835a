package rules

import "cmp"

// Config is prometheus-adapter's MetricsDiscoveryConfig: files written for it
// load unchanged. Keys it does not have belong to promlet itself and are read
// elsewhere.
type Config struct {
	// Rules map series to custom metrics. Rules apply independently; where two
	// give the same metric for the same resource, the later one wins, as in
	// prometheus-adapter.
	Rules []Rule `json:"rules,omitempty"`
	// ResourceRules give the values of the resource metrics API (metrics.k8s.io),
	// where promlet serves it. Without them, kubelets give the values.
	ResourceRules *ResourceRules `json:"resourceRules,omitempty"`
	// ExternalRules map series to external metrics, likewise. Their queries are not
	// about an object: GroupBy is empty, and the matchers are those of the metric
	// selector and, unless Resources.Namespaced is false, of the namespace.
	ExternalRules []Rule `json:"externalRules,omitempty"`
}

// ResourceRules give the usage of pods and nodes. A pod or node has a value if the
// queries for both resources have a result.
type ResourceRules struct {
	// CPU has the queries for cores.
	CPU ResourceRule `json:"cpu"`
	// Memory has the queries for bytes.
	Memory ResourceRule `json:"memory"`
	// Window is the time over which values are measured, as answers give it, such as 5m.
	// Empty means the longest range of the queries, or 1m if they have none.
	Window string `json:"window,omitempty"`
}

// Any reports whether there is any query. It may be called on nil.
func (r *ResourceRules) Any() bool {
	return r != nil && cmp.Or(r.CPU.ContainerQuery, r.CPU.NodeQuery, r.Memory.ContainerQuery, r.Memory.NodeQuery) != ""
}

// ResourceRule has the queries for one resource. They are templates like MetricsQuery,
// with the same fields, but Series is empty.
type ResourceRule struct {
	// ContainerQuery gives the usage of each container of the pods asked for. GroupBy
	// has the labels of pods and containers. LabelMatchers select the namespace and
	// the pods.
	ContainerQuery string `json:"containerQuery,omitempty"`
	// NodeQuery gives the usage of each node asked for. GroupBy has the label of nodes.
	NodeQuery string    `json:"nodeQuery,omitempty"`
	Resources Resources `json:"resources"`
	// ContainerLabel is the label with the container's name. A result without it is
	// about the whole pod.
	ContainerLabel string `json:"containerLabel,omitempty"`
}

// Rule says which series it takes, which Kubernetes objects their labels
// mean, what the metric is called in the API and how its value is computed.
type Rule struct {
	// SeriesQuery is a PromQL series selector.
	SeriesQuery string `json:"seriesQuery"`
	// SeriesFilters must all hold for the series name.
	SeriesFilters []Filter  `json:"seriesFilters,omitempty"`
	Resources     Resources `json:"resources"`
	Name          Name      `json:"name,omitempty"`
	// MetricsQuery is a Go template between << and >> that gives PromQL. Its
	// fields are Series, LabelMatchers, LabelValuesByName, GroupBy and
	// GroupBySlice.
	MetricsQuery string `json:"metricsQuery"`

	only seriesType // of Defaults: no configuration has it
}

// ByDefault reports whether the rule is one of Defaults.
func (r *Rule) ByDefault() bool { return r.only != anyType }

// Filter holds exactly one unanchored regular expression.
type Filter struct {
	// Is must match the series name.
	Is string `json:"is,omitempty"`
	// IsNot must not match it.
	IsNot string `json:"isNot,omitempty"`
}

// Resources associates labels with Kubernetes resources.
type Resources struct {
	// Template is a Go template between << and >> that gives the label of a
	// resource from its singular .Resource and its .Group.
	Template string `json:"template,omitempty"`
	// Overrides map a label to a resource and come before the template.
	Overrides map[string]GroupResource `json:"overrides,omitempty"`
	// Namespaced false leaves the namespace out of external queries.
	Namespaced *bool `json:"namespaced,omitempty"`
}

// GroupResource names a resource, singular or plural: {group: apps, resource: deployment}.
type GroupResource struct {
	// Group is the API group, empty for Kubernetes's first.
	Group string `json:"group,omitempty"`
	// Resource is singular or plural.
	Resource string `json:"resource"`
}

// Name turns a series name into the metric's name in the API.
type Name struct {
	// Matches is an unanchored regular expression that the series name must
	// match; empty is ".*".
	Matches string `json:"matches,omitempty"`
	// As is expanded as regexp.Expand does; empty is $0, or $1 when Matches
	// has one group.
	As string `json:"as,omitempty"`
}
