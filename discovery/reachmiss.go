package discovery

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	operators "k8s.io/apimachinery/pkg/selection"
)

// Miss is a monitor that does not select an object, and why.
type Miss struct {
	Kind, Namespace, Name string
	// Reason is a text for people: labels or a namespaceSelector that do not fit, or
	// the option that leaves the monitor out.
	Reason string
}

// maxDifferences is how many of a monitor's requirements a reason tells of.
const maxDifferences = 3

// maxMeasured bounds how many monitors, all with as many differences, are compared
// letter by letter.
const maxMeasured = 200

// candidate is a monitor that does not select an object, and how far it is from it.
type candidate struct {
	kind, namespace, name string

	leftOut string   // why it does not count
	err     error    // why it is not known what it selects
	named   []string // the namespaces it names, if the object's is none of them
	unmet   []unmetRequirement
}

// newCandidate compares a monitor of the namespace of an object with it. err is why it
// is not known what the monitor selects.
func newCandidate(kind string, monitor metav1.Object, scope *selection, err error, of reachable) *candidate {
	c := &candidate{kind: kind, namespace: monitor.GetNamespace(), name: monitor.GetName(), err: err}
	if err != nil {
		return c
	}
	if !scope.looksInto(c.namespace) {
		c.named = scope.namespaces
	}
	c.unmet = scope.objects.unmet(of.labels())
	return c
}

// leftOutCandidates are the monitors of a namespace that the options leave out.
func (d *Discoverer) leftOutCandidates(kind, namespace string, of reachable) []*candidate {
	var out []*candidate
	add := func(m metav1.Object) {
		reason := d.leftOut(m)
		if reason == "" {
			return
		}
		scope, err := scopeOf(m)
		c := newCandidate(kind, m, &scope, err, of)
		c.leftOut = reason
		out = append(out, c)
	}
	if kind == monitoringv1.PodMonitorsKind {
		for _, m := range inNamespaces[monitoringv1.PodMonitor](d.objects.podMonitors, []string{namespace}) {
			add(m)
		}
		return out
	}
	for _, m := range inNamespaces[monitoringv1.ServiceMonitor](d.objects.serviceMonitors, []string{namespace}) {
		add(m)
	}
	return out
}

// nearest picks the one that comes closest: the one with the fewest differences; then
// that with the smallest; then the first by name.
func nearest(all []*candidate, of reachable) *Miss {
	if len(all) == 0 {
		return nil
	}
	order := func(a, b *candidate) int { return cmp.Compare(a.differences(), b.differences()) }
	slices.SortStableFunc(all, func(a, b *candidate) int { return cmp.Or(order(a, b), cmp.Compare(a.name, b.name)) })
	var best *candidate
	closest := 0
	for _, c := range all[:min(len(all), maxMeasured)] {
		if order(c, all[0]) != 0 {
			break
		}
		if distance := c.distance(of.labels()); best == nil || distance < closest {
			best, closest = c, distance
		}
	}
	return &Miss{Kind: best.kind, Namespace: best.namespace, Name: best.name, Reason: best.reason(of)}
}

// differences is how many things would have to change for the monitor to select the
// object. What is not known counts as one; so does being left out.
func (c *candidate) differences() int {
	n := len(c.unmet)
	if c.leftOut != "" {
		n++
	}
	if c.named != nil || c.err != nil {
		n++
	}
	return n
}

// distance is how much would have to change about labels, in characters.
func (c *candidate) distance(set map[string]string) int {
	if c.err != nil {
		return math.MaxInt
	}
	sum := 0
	for i := range c.unmet {
		sum += c.unmet[i].distance(set)
	}
	return sum
}

func (c *candidate) reason(of reachable) string {
	var parts []string
	if c.leftOut != "" {
		parts = append(parts, c.leftOut)
	}
	if c.err != nil {
		parts = append(parts, "it is rejected: "+c.err.Error())
	}
	if c.named != nil {
		parts = append(parts, fmt.Sprintf("its namespaceSelector leaves out namespace %s (it names %s)", c.namespace, enumerate(c.named)))
	}
	for i := range c.unmet {
		if i == maxDifferences {
			parts = append(parts, fmt.Sprintf("and %d more", len(c.unmet)-i))
			break
		}
		parts = append(parts, c.unmet[i].reason(of))
	}
	return strings.Join(parts, "; ")
}

// unmetRequirement is a requirement of a selector that an object does not meet.
type unmetRequirement struct {
	label    string
	operator metav1.LabelSelectorOperator
	values   []string
	has      bool // the object has the label
	value    string
}

// unmet lists the requirements that an object with these labels does not meet.
func (s *objectSelector) unmet(set map[string]string) []unmetRequirement {
	var out []unmetRequirement
	if !s.role {
		for _, rule := range s.rules {
			if rule.matches(set) {
				continue
			}
			u := unmetRequirement{label: rule.label, operator: rule.operator}
			for _, v := range rule.values {
				u.values = append(u.values, v.String())
			}
			u.value, u.has = lookup(set, rule.label)
			out = append(out, u)
		}
		return out
	}
	requirements, _ := s.exact.Requirements()
	for i := range requirements {
		r := &requirements[i]
		if r.Matches(labels.Set(set)) {
			continue
		}
		u := unmetRequirement{label: r.Key(), operator: operatorOf(r.Operator()), values: r.ValuesUnsorted()}
		u.value, u.has = set[u.label]
		out = append(out, u)
	}
	return out
}

func operatorOf(op operators.Operator) metav1.LabelSelectorOperator {
	switch op {
	case operators.NotIn, operators.NotEquals:
		return metav1.LabelSelectorOpNotIn
	case operators.Exists:
		return metav1.LabelSelectorOpExists
	case operators.DoesNotExist:
		return metav1.LabelSelectorOpDoesNotExist
	}
	return metav1.LabelSelectorOpIn
}

// reason writes what is wanted and what there is.
func (u *unmetRequirement) reason(of reachable) string {
	wanted := "it wants the label " + u.label
	switch u.operator {
	case metav1.LabelSelectorOpExists:
		wanted = "it wants a label " + u.label
	case metav1.LabelSelectorOpDoesNotExist:
		wanted = "it wants no label " + u.label
	case metav1.LabelSelectorOpNotIn:
		wanted += oneOrIn(u.values, "!=", " not in ")
	default:
		wanted += oneOrIn(u.values, "=", " in ")
	}
	if u.has {
		return fmt.Sprintf("%s, %s has %s", wanted, of.noun(), labelText(u.label, u.value))
	}
	reason := fmt.Sprintf("%s, which %s has not", wanted, of.noun())
	if key, ok := u.alike(of.labels()); ok {
		reason += fmt.Sprintf(" (it has %s)", labelText(key, of.labels()[key]))
	}
	return reason
}

// oneOrIn writes values as a label selector does.
func oneOrIn(values []string, one, in string) string {
	if len(values) == 1 {
		return one + valueText(values[0])
	}
	return in + "(" + enumerate(values) + ")"
}

func labelText(key, value string) string { return key + "=" + valueText(value) }

// valueText makes the empty value visible.
func valueText(value string) string {
	if value == "" {
		return `""`
	}
	return value
}

// distance is how many characters of labels are to be changed, added or taken away.
func (u *unmetRequirement) distance(set map[string]string) int {
	switch {
	case u.operator == metav1.LabelSelectorOpNotIn:
		return 1
	case u.operator == metav1.LabelSelectorOpDoesNotExist:
		return len(u.label) + len(u.value)
	case u.has:
		return u.fromValue(u.value)
	}
	best := len(u.label) + u.fromValue("")
	for key, value := range set {
		best = min(best, editDistance(u.label, key)+u.fromValue(value))
	}
	return best
}

// fromValue is the distance from a value to the nearest of those wanted; 0 when every
// one is good.
func (u *unmetRequirement) fromValue(value string) int {
	if u.operator == metav1.LabelSelectorOpExists || len(u.values) == 0 {
		return 0
	}
	best := math.MaxInt
	for _, v := range u.values {
		best = min(best, editDistance(v, value))
	}
	return best
}

// alike finds the label that may be meant to be one that is missing: one whose name is
// a slip away, or else one that has the value.
func (u *unmetRequirement) alike(set map[string]string) (key string, ok bool) {
	const slip = 2
	keys := sortedKeys(set)
	for _, key := range keys {
		if editDistance(u.label, key) <= min(slip, len(u.label)/2) {
			return key, true
		}
	}
	for _, key := range keys {
		if u.operator == metav1.LabelSelectorOpIn && slices.Contains(u.values, set[key]) {
			return key, true
		}
	}
	return "", false
}

// maxCompared bounds the work of comparing two texts, in bytes: a label's value is not
// longer.
const maxCompared = 63

// editDistance is the number of characters to be changed, added or taken away to make
// one text of another.
func editDistance(a, b string) int {
	return levenshtein.ComputeDistance(a[:min(len(a), maxCompared)], b[:min(len(b), maxCompared)])
}
