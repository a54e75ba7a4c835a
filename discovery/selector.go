package discovery

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/model/relabel"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// pattern is an anchored regular expression as relabelings have them. Nearly all
// are plain words, for which no automaton is kept.
type pattern struct {
	literal string
	regex   *relabel.Regexp // nil: compare with literal
}

func newPattern(s string) (pattern, error) {
	if regexp.QuoteMeta(s) == s {
		return pattern{literal: s}, nil
	}
	re, err := relabel.NewRegexp(s)
	if err != nil {
		return pattern{}, fmt.Errorf("parse regular expression %q: %w", s, err)
	}
	return pattern{regex: &re}, nil
}

func (p pattern) matches(s string) bool {
	if p.regex == nil {
		return p.literal == s
	}
	return p.regex.MatchString(s)
}

// String is the pattern as it was written.
func (p pattern) String() string {
	if p.regex == nil {
		return p.literal
	}
	return p.regex.String()
}

// objectSelector is a monitor's selector under either of its mechanisms.
type objectSelector struct {
	// exact is the selector as Kubernetes understands it. It decides when the
	// mechanism is RoleSelector.
	exact labels.Selector
	role  bool
	// rules decide when the mechanism is RelabelConfig, the default.
	rules []labelRule
}

// labelRule is one of the keep or drop rules that the operator writes for a
// selector.
type labelRule struct {
	label    string
	operator metav1.LabelSelectorOperator
	values   []pattern
}

func newObjectSelector(sel *metav1.LabelSelector, mechanism *monitoringv1.SelectorMechanism) (objectSelector, error) {
	exact, err := metav1.LabelSelectorAsSelector(sel)
	if err != nil {
		return objectSelector{}, fmt.Errorf("spec.selector: %w", err)
	}
	s := objectSelector{exact: exact}
	switch {
	case mechanism == nil || *mechanism == monitoringv1.SelectorMechanismRelabel:
	case *mechanism == monitoringv1.SelectorMechanismRole:
		s.role = true
		return s, nil
	default:
		return s, fmt.Errorf("spec.selectorMechanism: %q is neither %s nor %s", *mechanism,
			monitoringv1.SelectorMechanismRelabel, monitoringv1.SelectorMechanismRole)
	}
	for _, key := range sortedKeys(sel.MatchLabels) {
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

func (s *objectSelector) add(label string, op metav1.LabelSelectorOperator, values []string) error {
	rule := labelRule{label: label, operator: op}
	for _, v := range values {
		p, err := newPattern(v)
		if err != nil {
			return err
		}
		rule.values = append(rule.values, p)
	}
	s.rules = append(s.rules, rule)
	return nil
}

// matches tells whether an object with these labels is selected.
func (s *objectSelector) matches(set map[string]string) bool {
	if s.role {
		return s.exact.Matches(labels.Set(set))
	}
	for _, rule := range s.rules {
		if !rule.matches(set) {
			return false
		}
	}
	return true
}

func (r *labelRule) matches(set map[string]string) bool {
	value, present := lookup(set, r.label)
	switch r.operator {
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

func (r *labelRule) oneOf(value string) bool {
	for _, p := range r.values {
		if p.matches(value) {
			return true
		}
	}
	return false
}

// labelKey is a label name from a monitor, with an underscore for each character
// that no label has.
func labelKey(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf {
			return '_'
		}
		return r
	}, name)
}

func labelKeys(names []string) []string {
	var out []string
	for _, name := range names {
		out = append(out, labelKey(name))
	}
	return out
}

// lookup finds an object's label by name the way a relabeling does, to which
// app.kubernetes.io/name and app_kubernetes_io_name are the same. The exact name
// is preferred, then the first in order, where Prometheus takes any.
func lookup(set map[string]string, name string) (value string, ok bool) {
	if value, ok = set[name]; ok {
		return value, true
	}
	found := ""
	for key := range set {
		if sameSanitized(key, name) && (!ok || key < found) {
			found, ok = key, true
		}
	}
	return set[found], ok
}

func sameSanitized(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if sanitizeByte(a[i]) != sanitizeByte(b[i]) {
			return false
		}
	}
	return true
}

// sanitize makes a Kubernetes label name a Prometheus one.
func sanitize(name string) string {
	out := []byte(name)
	for i := range out {
		out[i] = sanitizeByte(out[i])
	}
	return string(out)
}

func sanitizeByte(c byte) byte {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_':
		return c
	}
	return '_'
}
