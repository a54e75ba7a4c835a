package rules

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	corev1 "k8s.io/api/core/v1"

	"github.com/promlet/promlet/adapter/internal/boundedtemplate"
	"github.com/promlet/promlet/adapter/objects"
	"github.com/promlet/promlet/tsdb/querycost"
)

// defaultResourceWindow is the window of answers where neither the configuration nor the
// queries have one. prometheus-adapter's generated configuration has it.
const defaultResourceWindow = time.Minute

// ResourceQueries are compiled ResourceRules. They do not change.
type ResourceQueries struct {
	// Pods and Nodes are the queries for their usage.
	Pods, Nodes ResourcePair
	// Window is the time over which values are measured.
	Window time.Duration
}

// ResourcePair has the queries for CPU and memory. A query that the configuration lacks is nil.
type ResourcePair struct{ CPU, Memory *ResourceQuery }

// All returns the queries that the configuration has.
func (p ResourcePair) All() []*ResourceQuery {
	return slices.DeleteFunc([]*ResourceQuery{p.CPU, p.Memory}, func(q *ResourceQuery) bool { return q == nil })
}

// Reads returns, for each selector of the queries, its matchers on the metric name.
func (p ResourcePair) Reads() (all [][]*labels.Matcher) {
	for _, q := range p.All() {
		all = append(all, q.reads...)
	}
	return all
}

// ResourceQuery is a query for one resource of pods or nodes.
type ResourceQuery struct {
	// Resource is CPU, in cores, or memory, in bytes.
	Resource corev1.ResourceName
	// Of is what the query is about: pods or nodes.
	Of objects.Kind
	// ContainerLabel is the label with the container's name. Empty for nodes.
	ContainerLabel string

	windows
	*association // between labels and kinds of objects

	field    string // such as containerQuery
	text     string
	template *boundedtemplate.Template
	reads    [][]*labels.Matcher
}

// String returns the query's place in the configuration, such as resourceRules.cpu.nodeQuery.
func (q *ResourceQuery) String() string {
	return fmt.Sprintf("resourceRules.%s.%s", q.Resource, q.field)
}

// Compile returns the queries, nil if there are none. The error names all invalid keys.
func (r *ResourceRules) Compile(kinds *objects.Kinds) (*ResourceQueries, error) {
	if r == nil {
		return nil, nil
	}
	compiled := &ResourceQueries{}
	var errs []error
	if r.Window != "" {
		window, err := model.ParseDuration(r.Window)
		if err != nil {
			errs = append(errs, fmt.Errorf("resourceRules.window: %w", err))
		}
		compiled.Window = time.Duration(window)
	}
	var cpuErr, memoryErr error
	compiled.Pods.CPU, compiled.Nodes.CPU, cpuErr = r.CPU.compile(corev1.ResourceCPU, kinds)
	compiled.Pods.Memory, compiled.Nodes.Memory, memoryErr = r.Memory.compile(corev1.ResourceMemory, kinds)
	if err := errors.Join(append(errs, cpuErr, memoryErr)...); err != nil {
		return nil, err
	}
	all := compiled.all()
	if len(all) == 0 {
		return nil, nil
	}
	if r.Window == "" {
		for _, q := range all {
			compiled.Window = max(compiled.Window, q.Window)
		}
		compiled.Window = cmp.Or(compiled.Window, defaultResourceWindow)
	}
	return compiled, nil
}

func (r *ResourceRule) compile(resource corev1.ResourceName, kinds *objects.Kinds) (containers, nodes *ResourceQuery, err error) {
	labels, err := newAssociation(r.Resources, kinds)
	if err != nil {
		return nil, nil, fmt.Errorf("resourceRules.%s.%w", resource, err)
	}
	var errs []error
	if r.ContainerQuery != "" {
		containers = &ResourceQuery{Resource: resource, Of: objects.Pod(), ContainerLabel: r.ContainerLabel, association: labels, field: "containerQuery", text: r.ContainerQuery}
		errs = append(errs, containers.compile())
	}
	if r.NodeQuery != "" {
		nodes = &ResourceQuery{Resource: resource, Of: objects.Node(), association: labels, field: "nodeQuery", text: r.NodeQuery}
		errs = append(errs, nodes.compile())
	}
	return containers, nodes, errors.Join(errs...)
}

func (q *ResourceQuery) compile() (err error) {
	rule := fmt.Sprintf("resourceRules.%s", q.Resource)
	needed := []objects.Kind{q.Of}
	if q.Of.IsPod() {
		if q.ContainerLabel == "" {
			return fmt.Errorf("%s.containerLabel is empty: give the label with the container's name, such as container", rule)
		}
		needed = append(needed, objects.Namespace())
	}
	for _, kind := range needed {
		if q.Label(kind) == "" {
			return fmt.Errorf("%s.resources: no label is associated with %s, which %s needs: add %s: {resource: %s} to overrides", rule, kind.GroupResource, q.field, kind.Singular, kind.Singular)
		}
	}
	if q.template, err = boundedtemplate.Parse(q.field, q.text); err != nil {
		return fmt.Errorf("%s: %w", q, err)
	}
	return q.probe()
}

// probe expands the template with placeholders, and parses the result. It returns an error if
// that is invalid, and otherwise notes the ranges and names that the query reads.
func (q *ResourceQuery) probe() error {
	expr, err := q.Expand("x", []string{"x"})
	if err != nil {
		return err
	}
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return fmt.Errorf("%s gives no PromQL: %w (it gave %s)", q, err, expr)
	}
	if t := parsed.Type(); t != parser.ValueTypeVector {
		return fmt.Errorf("%s gives a %s, not an instant vector (it gave %s)", q, t, expr)
	}
	q.read(parsed)
	if err := querycost.Check(parsed, querycost.DefaultMaxSamples); err != nil {
		return fmt.Errorf("%s: %w", q, err)
	}
	q.reads = NameMatchers(parsed)
	if len(q.reads) == 0 || slices.ContainsFunc(q.reads, func(on []*labels.Matcher) bool { return len(on) == 0 }) {
		return fmt.Errorf("%s selects series without a name: <<.Series>> is empty here, so write the name (it gave %s)", q, expr)
	}
	if other, err := q.Expand("y", []string{"x"}); q.Of.IsPod() && (err != nil || other == expr) {
		return fmt.Errorf("%s is the same for all namespaces, so pods would have the values of others: add <<.LabelMatchers>>", q)
	}
	return nil
}

// Expand returns the query for pods of a namespace, or for nodes. All names are quoted and
// escaped. The matchers in more limit the series further.
func (q *ResourceQuery) Expand(namespace string, names []string, more ...Matcher) (string, error) {
	label := q.Label(q.Of)
	matchers, groupBy := []Matcher{OneOf(label, names)}, []string{label}
	if q.Of.IsPod() {
		matchers = []Matcher{Equal(q.Label(objects.Namespace()), namespace), matchers[0]}
		groupBy = append(groupBy, q.ContainerLabel)
	}
	return expand(q.String(), q.template, newQueryArgs(append(matchers, more...), groupBy...))
}

// IsCPU reports whether the results are cores. Otherwise they are bytes.
func (q *ResourceQuery) IsCPU() bool { return q.Resource == corev1.ResourceCPU }

// Series returns the names of the series that the query reads, as a text for people.
func (q *ResourceQuery) Series() string {
	var series []string
	for _, on := range q.reads {
		name, one := OneName(on)
		if !one {
			name = "{" + on[0].String() + "}"
		}
		if !slices.Contains(series, name) {
			series = append(series, name)
		}
	}
	return strings.Join(series, ", ")
}

func (r *ResourceQueries) all() []*ResourceQuery {
	if r == nil {
		return nil
	}
	return append(r.Pods.All(), r.Nodes.All()...)
}

// Oddities returns warnings about valid resourceRules. compiled is what Compile returned.
func (r *ResourceRules) Oddities(compiled *ResourceQueries) (odd []string) {
	switch {
	case r == nil:
		return nil
	case compiled == nil:
		return []string{"resourceRules have no query, so they have no effect"}
	}
	for _, of := range []struct{ objects, field, cpu, memory string }{
		{"pod", "containerQuery", r.CPU.ContainerQuery, r.Memory.ContainerQuery},
		{"node", "nodeQuery", r.CPU.NodeQuery, r.Memory.NodeQuery},
	} {
		for resource, query := range map[corev1.ResourceName]string{corev1.ResourceCPU: of.cpu, corev1.ResourceMemory: of.memory} {
			if query == "" {
				odd = append(odd, fmt.Sprintf("resourceRules.%s.%s is empty, so no %s has a value", resource, of.field, of.objects))
			}
		}
	}
	slices.Sort(odd)
	for _, q := range compiled.all() {
		odd = append(odd, q.odditiesOfLabels()...)
	}
	return odd
}

func (q *ResourceQuery) odditiesOfLabels() (odd []string) {
	odd = oddBraces(q.String(), q.text)
	expr, err := q.Expand("x", []string{"x"})
	if err != nil {
		return odd
	}
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return odd
	}
	if label := q.Label(q.Of); !mayKeep(parsed, label) {
		odd = append(odd, fmt.Sprintf("%s keeps no label %s, so no %s has a value: aggregate by (<<.GroupBy>>)", q, label, q.Of.Singular))
	} else if q.ContainerLabel != "" && !mayKeep(parsed, q.ContainerLabel) {
		odd = append(odd, fmt.Sprintf("%s keeps no label %s, so no container has a value of its own: aggregate by (<<.GroupBy>>)", q, q.ContainerLabel))
	}
	return odd
}

// OddWindows returns warnings about the ranges of resourceRules, as the function OddWindows does for rules.
func (r *ResourceQueries) OddWindows(interval, retention time.Duration) (odd []string) {
	for _, q := range r.all() {
		odd = append(odd, q.odd(q.String(), interval, retention)...)
	}
	return odd
}

// Summaries returns the Summary of each query.
func (r *ResourceQueries) Summaries() (all []Summary) {
	for _, q := range r.all() {
		all = append(all, Summary{
			Rule: q.String(), Series: q.Series(), Metric: string(q.Resource),
			Objects: []string{q.Of.GroupResource.String()}, Value: cmp.Or(strings.Join(q.over, " and "), "last values"),
		})
	}
	return all
}
