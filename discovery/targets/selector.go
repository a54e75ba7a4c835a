package targets

import (
	"fmt"
	"maps"
	"slices"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Selector is a monitor's selector under either of its mechanisms. RelabelConfig, the
// default, is how the operator's relabelings understand a selector: values are regular
// expressions and label names are compared sanitized. RoleSelector is how Kubernetes
// understands it.
type Selector struct {
	requirements []Requirement
	byRole       bool // RoleSelector
}

// Requirement is one requirement of a Selector, on one label.
type Requirement struct {
	Label    string
	Operator metav1.LabelSelectorOperator
	Values   []Pattern
}

// NewSelector returns the selector of a monitor. Errors name the field.
func NewSelector(sel *metav1.LabelSelector, mechanism *monitoringv1.SelectorMechanism) (Selector, error) {
	if _, err := metav1.LabelSelectorAsSelector(sel); err != nil {
		return Selector{}, fmt.Errorf("spec.selector: %w", err)
	}
	var s Selector
	switch {
	case mechanism == nil || *mechanism == monitoringv1.SelectorMechanismRelabel:
	case *mechanism == monitoringv1.SelectorMechanismRole:
		s.byRole = true
	default:
		return s, fmt.Errorf("spec.selectorMechanism: %q is neither %s nor %s", *mechanism,
			monitoringv1.SelectorMechanismRelabel, monitoringv1.SelectorMechanismRole)
	}
	for _, key := range slices.Sorted(maps.Keys(sel.MatchLabels)) {
		if err := s.add(key, metav1.LabelSelectorOpIn, []string{sel.MatchLabels[key]}); err != nil {
			return s, fmt.Errorf("spec.selector.matchLabels[%s]: %w", key, err)
		}
	}
	for i, e := range sel.MatchExpressions {
		if err := s.add(e.Key, e.Operator, e.Values); err != nil {
			return s, fmt.Errorf("spec.selector.matchExpressions[%d]: %w", i, err)
		}
	}
	return s, nil
}

func (s *Selector) add(label string, op metav1.LabelSelectorOperator, values []string) error {
	r := Requirement{Label: label, Operator: op}
	for _, v := range values {
		p := Pattern{literal: v}
		if !s.byRole {
			var err error
			if p, err = newPattern(v); err != nil {
				return err
			}
		}
		r.Values = append(r.Values, p)
	}
	s.requirements = append(s.requirements, r)
	return nil
}

// Matches reports whether an object with these labels is selected.
func (s *Selector) Matches(set map[string]string) bool {
	for i := range s.requirements {
		if !s.meets(set, &s.requirements[i]) {
			return false
		}
	}
	return true
}

// Unmet returns the requirements that an object with these labels does not meet.
func (s *Selector) Unmet(set map[string]string) []Requirement {
	var out []Requirement
	for i := range s.requirements {
		if !s.meets(set, &s.requirements[i]) {
			out = append(out, s.requirements[i])
		}
	}
	return out
}

// Len returns the number of requirements.
func (s *Selector) Len() int { return len(s.requirements) }

// Value returns the value of the label that a Requirement of this name is about.
func (s *Selector) Value(set map[string]string, label string) (value string, ok bool) {
	if s.byRole {
		value, ok = set[label]
		return value, ok
	}
	return lookup(set, label)
}

func (s *Selector) meets(set map[string]string, r *Requirement) bool {
	value, present := s.Value(set, r.Label)
	switch r.Operator {
	case metav1.LabelSelectorOpExists:
		return present
	case metav1.LabelSelectorOpDoesNotExist:
		return !present
	case metav1.LabelSelectorOpNotIn:
		return !present || !r.oneOf(value)
	default:
		return present && r.oneOf(value)
	}
}

func (r *Requirement) oneOf(value string) bool {
	return slices.ContainsFunc(r.Values, func(p Pattern) bool { return p.Matches(value) })
}
